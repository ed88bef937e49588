"""NATS by the published client: what its sync and async form have in common."""

import hashlib
import os
import threading
from typing import Any

from conformance import names
from conformance.case import cases, holds, same
from conformance.plain import MIB
from conformance.world import World

case = cases("nats", "sync", "async")
TEXT = "größer als 🦀 漢字".encode()


def subject(w: World, name: str) -> str:
    return names.nats_subject(w.tenant, name)


def stream(w: World, name: str) -> str:
    """The stream's name on the engine."""
    found = names.nats_stream(w.tenant, name, w.engine.streams())
    holds(found, f"the engine has no stream {name}: {w.engine.streams()}")
    return found or ""


def bucket(w: World, name: str) -> str:
    found = names.nats_kv_bucket(w.tenant, name, w.engine.streams())
    holds(found, f"the engine has no key-value bucket {name}: {w.engine.streams()}")
    return found or ""


def objects(w: World, name: str) -> str:
    found = names.nats_object_bucket(w.tenant, name, w.engine.streams())
    holds(found, f"the engine has no object bucket {name}: {w.engine.streams()}")
    return found or ""


def value(w: World, bucket_name: str, key: str) -> Any:
    """The newest entry of a key on the engine."""
    return w.engine.run(w.engine.key_value(bucket(w, bucket_name)).get(key))


@case("HealthCheck")
def health(w: World) -> None:
    for deep in (False, True):
        found = w.client.health_check(deep_check=deep)
        same((found["healthy"], found["nats_status"], found["jetstream_enabled"]), (True, "connected", True))
        holds(found["connections"] >= 1, "no connection to NATS")


@case("Publish")
def publish(w: World) -> None:
    listener = w.engine.subscribe(subject(w, "orders.>"))
    found = w.client.publish("orders.größe", TEXT, headers={"Trace": "1"}, reply_to="replies.here")
    same(found["success"], True)
    message = listener.next()
    same((message.subject, message.data), (subject(w, "orders.größe"), TEXT))
    same((message.headers, message.reply), ({"Trace": "1"}, subject(w, "replies.here")))
    same(w.client.publish("orders.empty", b"")["success"], True)
    same(listener.next().data, b"")
    big = os.urandom(MIB)
    same(w.client.publish("orders.big", big)["success"], True)
    same(listener.next().data == big, True, "1 MiB")
    for bad in ("", "a b", "a..b", ".a", "orders.*", "orders.>", "$SYS.x", "x" * 300):
        same(w.client.publish(bad, b"x"), None, f"subject {bad!r}")
    same(w.client.publish("orders.huge", b"x" * (8 * MIB + 1)), None, "beyond 8 MiB")


@case("PublishBatch")
def publish_batch(w: World) -> None:
    listener = w.engine.subscribe(subject(w, "batch.>"))
    sent = [{"subject": f"batch.{i}", "data": f"m{i}".encode(), "headers": {"N": str(i)}} for i in range(200)]
    same(w.client.publish_batch(sent), {"success": True, "published_count": 200, "errors": []})
    for i in range(200):
        message = listener.next()
        same((message.data, message.headers), (f"m{i}".encode(), {"N": str(i)}), "in order")
    same(w.client.publish_batch([{"subject": "batch.*", "data": b""}]), None, "all bad")
    same(w.client.publish_batch([]), None, "none")


@case("Request", "ListStreams")
def what_the_client_cannot_read(w: World) -> None:
    """It fails at the answers of these two, however right: nats_plain.py reads them."""
    asked: list[bytes] = []
    listener = w.engine.subscribe(subject(w, "ask"))

    def respond() -> None:
        question = listener.next()
        asked.append(question.data)
        w.engine.run(question.respond(b"answer"))

    threading.Thread(target=respond, daemon=True).start()
    same(w.client.request("ask", TEXT), None)
    same(asked, [TEXT], "the question")
    same(w.client.list_streams(), [])
    w.client.create_stream("S", ["s"])
    same(w.client.list_streams(), [])


@case("CreateStream", "PublishToStream", "DeleteStream")
def streams(w: World) -> None:
    found = w.client.create_stream("ORDERS", ["orders.*", "returns.>"])
    same(found, {"success": True, "stream": {"name": "ORDERS", "subjects": ["orders.*", "returns.>"], "messages": 0}})
    name = stream(w, "ORDERS")
    config = w.engine.info(name).config
    same(sorted(config.subjects), sorted([subject(w, "orders.*"), subject(w, "returns.>")]))
    same(w.client.create_stream("ORDERS", ["orders.*", "returns.>"])["success"], True, "the same once more")
    same(w.client.create_stream("ORDERS", ["other"]), None, "another configuration")
    same(w.client.create_stream("OVERLAP", ["orders.new"]), None, "subjects of another stream")
    for i in range(1, 4):
        found = w.client.publish_to_stream("ORDERS", "orders.new", f"m{i}".encode())
        same(found, {"success": True, "sequence": i})
    same(w.client.publish("returns.by.core", TEXT)["success"], True)
    message = w.engine.message(name, sequence=3)
    same((message.subject, message.data), (subject(w, "orders.new"), b"m3"))
    same(w.engine.message(name, subject=subject(w, "returns.by.core")).data, TEXT, "Publish reaches streams too")
    same(w.client.publish_to_stream("ORDERS", "elsewhere", b"x"), None, "not a subject of the stream")
    same(w.client.publish_to_stream("ABSENT", "orders.new", b"x"), None)
    for bad in ("", "A.B", "A B", "A*", "A/B"):
        same(w.client.create_stream(bad, ["x"]), None, f"stream {bad!r}")
    same(w.client.create_stream("NONE", []), None, "no subjects")
    same(w.client.delete_stream("ORDERS"), {"success": True})
    same(names.nats_stream(w.tenant, "ORDERS", w.engine.streams()), None)
    same(w.client.delete_stream("ORDERS"), None, "deleted twice")


@case("CreateStream")
def stream_limits(w: World) -> None:
    same(w.client.create_stream("LIMITED", ["l"], max_msgs=2, max_bytes=100_000)["success"], True)
    config = w.engine.info(stream(w, "LIMITED")).config
    same((config.max_msgs, config.max_bytes), (2, 100_000))
    for i in range(5):
        w.client.publish_to_stream("LIMITED", "l", f"m{i}".encode())
    state = w.engine.info(stream(w, "LIMITED")).state
    same((state.messages, state.first_seq, state.last_seq), (2, 4, 5), "the oldest go")


@case("CreateConsumer", "PullMessages", "AckMessage")
def consumers(w: World) -> None:
    w.client.create_stream("WORK", ["work.>"])
    for i in range(1, 6):
        w.client.publish_to_stream("WORK", "work.a" if i % 2 else "work.b", f"m{i}".encode())
    same(w.client.create_consumer("WORK", "worker"), {"success": True, "consumer": "worker"})
    same(w.engine.consumer(stream(w, "WORK"), "worker").config.durable_name, "worker")
    found = w.client.pull_messages("WORK", "worker", batch_size=3)
    same([(m["subject"], m["data"], m["sequence"], m["num_delivered"]) for m in found], [
        ("work.a", b"m1", 1, 1), ("work.b", b"m2", 2, 1), ("work.a", b"m3", 3, 1),
    ])  # fmt: skip
    for sequence in (1, 3):
        same(w.client.ack_message("WORK", "worker", sequence), {"success": True})
    same(w.client.ack_message("WORK", "worker", 3), None, "acknowledged twice")
    same(w.client.ack_message("WORK", "worker", 5), None, "not delivered")
    state = w.engine.consumer(stream(w, "WORK"), "worker")
    same((state.num_ack_pending, state.num_pending, state.ack_floor.stream_seq), (1, 2, 1))
    same([m["data"] for m in w.client.pull_messages("WORK", "worker")], [b"m4", b"m5"])
    same(w.client.pull_messages("WORK", "worker"), [], "nothing is due")
    same(w.client.create_consumer("WORK", "only-b", filter_subject="work.b")["success"], True)
    same([m["sequence"] for m in w.client.pull_messages("WORK", "only-b")], [2, 4])
    same(w.client.create_consumer("ABSENT", "worker"), None)
    same(w.client.pull_messages("WORK", "absent"), [])


@case("KVPut", "KVGet", "KVDelete", "KVKeys")
def key_value(w: World) -> None:
    same(w.client.kv_keys("config"), [], "a bucket that is absent is empty")
    same(w.client.kv_get("config", "a"), None)
    same(w.client.kv_put("config", "db/url=x.y", TEXT), {"success": True, "revision": 1})
    same(w.client.kv_put("config", "b", b"")["revision"], 2)
    same(w.client.kv_put("config", "b", b"\x00\xff")["revision"], 3)
    entry = value(w, "config", "b")
    same((entry.value, entry.revision), (b"\x00\xff", 3))
    w.engine.run(w.engine.key_value(bucket(w, "config")).put("a", b"by the engine"))
    same(w.client.kv_get("config", "a"), {"found": True, "value": b"by the engine", "revision": 4})
    same(w.client.kv_get("config", "db/url=x.y")["value"], TEXT)
    same(w.client.kv_keys("config"), ["a", "b", "db/url=x.y"])
    same(w.client.kv_delete("config", "a"), {"success": True})
    same(w.client.kv_get("config", "a"), None)
    same(w.client.kv_keys("config"), ["b", "db/url=x.y"])
    same(w.client.kv_delete("config", "a"), {"success": True}, "an absent key is no error")
    big = os.urandom(MIB)
    same(w.client.kv_put("config", "big", big)["success"], True)
    same(w.client.kv_get("config", "big")["value"] == big, True, "1 MiB")
    for bad in ("", "a b", "a*", ".a", "ä"):
        same(w.client.kv_put("config", bad, b"x"), None, f"key {bad!r}")
    same(w.client.kv_put("a.b", "k", b"x"), None, "a bucket's name")


@case("ObjectPut", "ObjectGet", "ObjectDelete", "ObjectList")
def object_store(w: World) -> None:
    same(w.client.object_list("files"), [])
    same(w.client.object_get("files", "a"), None)
    big = os.urandom(20 * MIB)
    first = w.client.object_put("files", "größe/a b", TEXT)
    same(first["success"], True)
    holds(first["object_id"], "no object id")
    same(w.client.object_put("files", "big", big)["success"], True)
    name = objects(w, "files")
    same(w.engine.object_data(name, "größe/a b"), TEXT)
    same(hashlib.sha256(w.engine.object_data(name, "big")).digest(), hashlib.sha256(big).digest())
    found = w.client.object_get("files", "big")
    same(hashlib.sha256(found["data"]).digest(), hashlib.sha256(big).digest())
    same(w.client.object_get("files", "größe/a b")["data"], TEXT)
    listed = [(o["name"], o["size"]) for o in w.client.object_list("files")]
    same(listed, [("big", 20 * MIB), ("größe/a b", len(TEXT))], "sorted")
    again = w.client.object_put("files", "big", b"")
    holds(again["object_id"] != first["object_id"], "object_id does not differ")
    same(w.client.object_get("files", "big")["data"], b"")
    same(w.client.object_delete("files", "big"), {"success": True})
    same(w.client.object_get("files", "big"), None)
    same(w.client.object_delete("files", "big"), None, "deleted twice")
    same([o["name"] for o in w.client.object_list("files")], ["größe/a b"])


@case("GetStatistics")
def statistics(w: World) -> None:
    w.client.create_stream("S", ["s"])
    w.client.create_consumer("S", "c")
    for _ in range(3):
        w.client.publish_to_stream("S", "s", b"12345")
    w.client.kv_put("b", "k", b"v")
    found = w.client.get_statistics()
    same((found["total_streams"], found["total_consumers"], found["total_messages"]), (2, 1, 4), "buckets included")
    size = sum(w.engine.info(name).state.bytes for name in w.engine.streams() if w.slug in name)
    same(found["total_bytes"], size)
    holds(found["connections"] >= 1 and found["in_msgs"] >= 3, f"{found}")


@case()
def two_organizations(w: World) -> None:
    other = w.other()
    w.client.create_stream("S", ["s.>"])
    w.client.publish_to_stream("S", "s.a", b"mine")
    w.client.kv_put("config", "k", b"mine")
    w.client.object_put("files", "o", b"mine")
    listener = w.engine.subscribe(subject(w, "s.b"))
    same(other.client.publish("s.b", b"x")["success"], True)
    same(other.client.kv_get("config", "k"), None)
    same(other.client.kv_keys("config"), [])
    same(other.client.object_get("files", "o"), None)
    same(other.client.delete_stream("S"), None)
    same(other.client.create_consumer("S", "c"), None)
    same(other.client.create_stream("S", ["s.>"])["stream"]["messages"], 0, "a stream of the same name")
    same(other.client.publish_to_stream("S", "s.a", b"theirs")["sequence"], 1)
    same(w.engine.message(stream(w, "S"), sequence=1).data, b"mine")
    same(w.engine.info(stream(w, "S")).state.messages, 1)
    w.engine.publish(subject(w, "s.b"), b"the first that comes")
    same(listener.next().data, b"the first that comes")


@case()
def client_options(w: World) -> None:
    w.raw = w.make(lazy_connect=False, enable_compression=True, enable_retry=False)
    same(w.client.kv_put("config", "k", TEXT * 1000)["revision"], 1)
    same(w.client.kv_get("config", "k")["value"], TEXT * 1000)
