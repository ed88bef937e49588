"""NATS by plain gRPC, key-value buckets."""

import time
from datetime import timedelta

from grpc import StatusCode

from conformance.case import between, cases, eventually, refused, same
from conformance.cases.nats_published import TEXT, bucket, value
from conformance.world import World

case = cases("nats", "plain")
INVALID = StatusCode.INVALID_ARGUMENT
NOT_FOUND = StatusCode.NOT_FOUND


@case("KVPut", "KVGet", "KVDelete", "KVKeys")
def key_value(w: World) -> None:
    same(w.call("KVPut", bucket="b", key="k", value=TEXT).revision, 1)
    found = w.call("KVGet", bucket="b", key="k")
    same((found.found, found.value, found.revision), (True, TEXT, 1))
    between(found.created.seconds - time.time(), -5, 5, "created")
    same(value(w, "b", "k").value, TEXT)
    same(w.call("KVGet", bucket="absent", key="k").found, False)
    same(w.call("KVDelete", bucket="b", key="k").success, True)
    same(w.call("KVGet", bucket="b", key="k").found, False)
    same(list(w.call("KVKeys", bucket="b").keys), [])
    same(w.other().call("KVGet", bucket="b", key="k").found, False)
    refused(INVALID, lambda: w.call("KVPut", bucket="b", key=""), "key")
    refused(INVALID, lambda: w.call("KVGet", bucket="a.b", key="k"), "bucket")


@case("KVPut")
def only_over_what_was_read(w: World) -> None:
    put = {"bucket": "b", "key": "k"}
    same(w.call("KVPut", **put, value=b"1", expected_revision=0).revision, 1, "where there is none")
    refused(StatusCode.ABORTED, lambda: w.call("KVPut", **put, value=b"2", expected_revision=0))
    same(w.call("KVPut", **put, value=b"2", expected_revision=1).revision, 2)
    refused(StatusCode.ABORTED, lambda: w.call("KVPut", **put, value=b"3", expected_revision=1))
    same(value(w, "b", "k").value, b"2")
    w.call("KVDelete", **put)
    same(w.call("KVPut", **put, value=b"4", expected_revision=0).success, True, "a deleted key is absent")


@case("KVCreateBucket", "KVHistory")
def history(w: World) -> None:
    config = {"bucket": "b", "history": 3, "ttl": timedelta(hours=1), "max_bytes": 100_000}
    same(w.call("KVCreateBucket", **config).success, True)
    status = w.engine.run(w.engine.key_value(bucket(w, "b")).status())
    same((status.history, status.ttl, status.stream_info.config.max_bytes), (3, 3600, 100_000))
    for n in range(1, 5):
        w.call("KVPut", bucket="b", key="k", value=str(n).encode())
    w.call("KVDelete", bucket="b", key="k")
    found = w.call("KVHistory", bucket="b", key="k").entries
    same([(e.key, e.value, e.revision, e.deleted) for e in found], [
        ("k", b"3", 3, False), ("k", b"4", 4, False), ("k", b"", 5, True),
    ])  # fmt: skip
    same(w.call("KVCreateBucket", **config).success, True, "the same once more")
    refused(StatusCode.ALREADY_EXISTS, lambda: w.call("KVCreateBucket", **{**config, "history": 4}))
    refused(NOT_FOUND, lambda: w.call("KVHistory", bucket="b", key="absent"))
    refused(NOT_FOUND, lambda: w.call("KVHistory", bucket="absent", key="k"))
    refused(INVALID, lambda: w.call("KVCreateBucket", bucket="c", history=65), "history")
    refused(INVALID, lambda: w.call("KVCreateBucket", bucket=""), "bucket")


@case("KVCreateBucket")
def values_that_expire_and_buckets_that_fill(w: World) -> None:
    w.call("KVCreateBucket", bucket="short", ttl=timedelta(seconds=1))
    w.call("KVPut", bucket="short", key="k", value=b"v")
    same(w.call("KVGet", bucket="short", key="k").found, True)
    eventually("the value expires", lambda: not w.call("KVGet", bucket="short", key="k").found, 10)
    w.call("KVCreateBucket", bucket="small", max_bytes=10_000, storage="STORAGE_MEMORY")
    w.call("KVPut", bucket="small", key="a", value=b"x" * 6000)
    refused(StatusCode.RESOURCE_EXHAUSTED, lambda: w.call("KVPut", bucket="small", key="b", value=b"x" * 6000))


@case("KVWatch")
def watch(w: World) -> None:
    w.call("KVCreateBucket", bucket="b", history=5)
    for key, data in (("a.x", b"1"), ("b.x", b"2"), ("a.x", b"3"), ("a.gone", b"4")):
        w.call("KVPut", bucket="b", key=key, value=data)
    w.call("KVDelete", bucket="b", key="a.gone")
    everything = w.stream("KVWatch", bucket="b").confirmed()
    first = everything.take(2)
    same([(e.key, e.value, e.revision) for e in first], [("b.x", b"2", 2), ("a.x", b"3", 3)])
    end = everything.next()
    if end.deleted:
        # Whether a deleted key is something that stands there is not said.
        end = everything.next()
    same((end.caught_up, end.key), (True, ""))
    some = w.stream("KVWatch", bucket="b", key_filter="a.*", updates_only=True).confirmed()
    other = w.other()
    other.call("KVPut", bucket="b", key="a.x", value=b"of another organization")
    w.call("KVPut", bucket="b", key="b.x", value=b"5")
    for n in range(100):
        w.call("KVPut", bucket="b", key="a.x", value=str(n).encode())
    w.call("KVDelete", bucket="b", key="a.x")
    changes = [e for e in (everything.next() for _ in range(102)) if not e.caught_up]
    same([e.value for e in changes[:-1]], [b"5", *(str(n).encode() for n in range(100))])
    same((changes[-1].key, changes[-1].deleted, changes[-1].value), ("a.x", True, b""))
    found = some.next()
    if found.caught_up:
        found = some.next()
    same((found.key, found.value), ("a.x", b"0"), "the filter")
    some.cancel()
    later = w.stream("KVWatch", bucket="b", from_revision=changes[99].revision).confirmed()
    same(later.next().revision, changes[99].revision, "from a revision")
    later.cancel()
    everything.cancel()
    refused(NOT_FOUND, lambda: w.stream("KVWatch", bucket="absent").status())
    refused(INVALID, lambda: w.stream("KVWatch", bucket="a b").status(), "bucket")
