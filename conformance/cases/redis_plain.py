"""Redis by plain gRPC: statuses, and what the published client does not send or read."""

import time
from datetime import timedelta
from typing import Any

from grpc import StatusCode

from conformance import names
from conformance.case import between, cases, eventually, has, holds, refused, same
from conformance.cases.redis_published import KEY, TEXT, key
from conformance.world import World

case = cases("redis", "plain")
SECOND = timedelta(seconds=1)


@case("Set", "Get", "Exists", "Delete", "Append", "GetMultiple", "DeleteMultiple")
def strings(w: World) -> None:
    same((w.call("Set", key=KEY, value=TEXT).success, w.engine.get(key(w, KEY))), (True, TEXT))
    found = w.call("Get", key=KEY)
    same((found.found, found.value), (True, TEXT))
    found = w.call("Get", key="absent")
    same((found.found, found.value), (False, ""))
    same(w.call("Exists", key=KEY).exists, True)
    same(w.call("Append", key=KEY, value="!").length, len(TEXT.encode()) + 1)
    w.call("Set", key="b", value="2")
    found = w.call("GetMultiple", keys=["b", "absent", KEY, "b"])
    same([(kv.key, kv.value) for kv in found.values], [("b", "2"), (KEY, TEXT + "!")])
    same(w.call("Delete", key=KEY).deleted_count, 1)
    found = w.call("Delete", key=KEY)
    same((found.success, found.deleted_count), (True, 0))
    same(w.call("DeleteMultiple", keys=["b", KEY]).deleted_count, 1)
    same(w.engine.exists(key(w, "b")), 0)


@case("SetWithExpiration", "Expire", "GetTTL", "Rename")
def expiry(w: World) -> None:
    w.call("SetWithExpiration", key="k", value="v", expiration=timedelta(milliseconds=90_500))
    between(w.engine.pttl(key(w, "k")), 80_000, 90_500, "the engine's TTL")
    w.call("Rename", old_key="k", new_key="l")
    between(w.call("GetTTL", key="l").ttl_seconds, 80, 91, "ttl_seconds")
    same(w.call("Expire", key="l", expiration=timedelta(milliseconds=300)).success, True)
    same(w.call("GetTTL", key="l").ttl_seconds, 1, "rounded up")
    eventually("the key expires", lambda: not w.engine.exists(key(w, "l")), 5)
    w.call("Set", key="k", value="v")
    same(w.call("Expire", key="k", expiration=-SECOND).success, True)
    same(w.engine.exists(key(w, "k")), 0)
    same(w.call("Expire", key="k", expiration=SECOND).success, False)
    same(w.call("GetTTL", key="k").ttl_seconds, -2)


@case("Increment", "Decrement")
def counters(w: World) -> None:
    same(w.call("Increment", key="n", delta=0).value, 0)
    same(w.engine.get(key(w, "n")), "0", "a delta of zero makes the key")
    same(w.call("Increment", key="n", delta=2**63 - 1).value, 2**63 - 1)
    refused(StatusCode.OUT_OF_RANGE, lambda: w.call("Increment", key="n", delta=1))
    same(w.call("Decrement", key="n", delta=2**63 - 1).value, 0)
    same(w.call("Decrement", key="n", delta=-5).value, 5)
    w.call("Set", key="m", value="-1")
    same(w.call("Decrement", key="m", delta=2**63 - 1).value, -(2**63), "the least of 64 bits")
    w.call("Set", key="word", value="abc")
    refused(StatusCode.FAILED_PRECONDITION, lambda: w.call("Increment", key="word", delta=1))


@case("ListKeys")
def list_keys(w: World) -> None:
    w.engine.mset({key(w, f"k{i}"): "v" for i in range(250)})
    found = w.call("ListKeys", pattern="k1?")
    same((sorted(found.keys), found.total_count), ([f"k1{i}" for i in range(10)], 10))
    same(len(w.call("ListKeys").keys), 100, "no limit means 100")
    everything = w.call("ListKeys", limit=10_000).keys
    same(sorted(everything), sorted(f"k{i}" for i in range(250)), "each once")
    for pattern in ("../*", "*}:*", f"{{{w.slug}}}:*", "[^k]*", "\\"):
        same(list(w.call("ListKeys", pattern=pattern).keys), [], f"pattern {pattern!r}")
    refused(StatusCode.INVALID_ARGUMENT, lambda: w.call("ListKeys", limit=-1), "limit")


@case("HSet", "HGet", "HGetAll", "HDelete", "HExists", "HKeys", "HValues", "HIncrement")
def hashes(w: World) -> None:
    fields = [{"field": "a", "value": "0"}, {"field": TEXT, "value": "2"}, {"field": "a", "value": "1"}]
    found = w.call("HSet", key="h", fields=fields)
    same((found.success, found.fields_set), (True, 2))
    same(w.engine.hgetall(key(w, "h")), {"a": "1", TEXT: "2"})
    same(w.call("HSet", key="h", fields=[{"field": "a", "value": ""}]).fields_set, 0)
    found = w.call("HGet", key="h", field="a")
    same((found.found, found.value), (True, ""))
    same({f.field: f.value for f in w.call("HGetAll", key="h").fields}, {"a": "", TEXT: "2"})
    same(sorted(w.call("HKeys", key="h").fields), sorted(["a", TEXT]))
    same(sorted(w.call("HValues", key="h").values), ["", "2"])
    same(w.call("HIncrement", key="h", field=TEXT, delta=-5).value, -3)
    same(w.call("HExists", key="h", field="a").exists, True)
    same(w.call("HDelete", key="h", fields=["a", TEXT, "absent"]).deleted_count, 2)
    same(w.engine.exists(key(w, "h")), 0, "a hash without fields is gone")
    refused(StatusCode.INVALID_ARGUMENT, lambda: w.call("HSet", key="h"), "fields")


@case("LPush", "RPush", "LPop", "RPop", "LRange", "LLen", "LIndex", "LTrim")
def lists(w: World) -> None:
    same(w.call("LPush", key="l", values=["b", "a"]).length, 2)
    same(w.call("RPush", key="l", values=["c", "d", "e"]).length, 5)
    same(w.engine.lrange(key(w, "l"), 0, -1), ["a", "b", "c", "d", "e"])
    same(list(w.call("LRange", key="l", start=-2, stop=100).values), ["d", "e"])
    same(list(w.call("LRange", key="l").values), ["a"], "0 to 0 is one value")
    found = w.call("LIndex", key="l", index=-1)
    same((found.found, found.value), (True, "e"))
    same(w.call("LIndex", key="l", index=5).found, False)
    found = w.call("LPop", key="l"), w.call("RPop", key="l")
    same([(f.found, f.value) for f in found], [(True, "a"), (True, "e")])
    same(w.call("LTrim", key="l", start=1, stop=-1).success, True)
    same(w.call("LLen", key="l").length, 2)
    w.call("LTrim", key="l", start=5, stop=9)
    same(w.engine.exists(key(w, "l")), 0)
    same(w.call("LPop", key="l").found, False)


@case("SAdd", "SRemove", "SMembers", "SIsMember", "SCard", "SUnion", "SInter", "SDiff")
def sets(w: World) -> None:
    same(w.call("SAdd", key="a", members=["1", "2", "2"]).added_count, 2)
    w.call("SAdd", key="b", members=["2", "3"])
    same(sorted(w.call("SMembers", key="a").members), ["1", "2"])
    same(w.call("SCard", key="a").count, 2)
    same(w.call("SIsMember", key="a", member="1").is_member, True)
    same(sorted(w.call("SUnion", keys=["a", "b", "absent"]).members), ["1", "2", "3"])
    same(list(w.call("SInter", keys=["a", "b"]).members), ["2"])
    same(list(w.call("SDiff", keys=["b", "a"]).members), ["3"])
    same(w.call("SRemove", key="a", members=["1", "9"]).removed_count, 1)
    same(w.engine.smembers(key(w, "a")), {"2"})
    refused(StatusCode.INVALID_ARGUMENT, lambda: w.call("SUnion"), "keys")


@case("ZAdd", "ZRemove", "ZRange", "ZRangeByScore", "ZRank", "ZScore", "ZCard", "ZIncrement")
def sorted_sets(w: World) -> None:
    members = [{"member": m, "score": s} for m, s in (("b", 1), ("a", 1), ("c", -0.5), ("c", 2))]
    same(w.call("ZAdd", key="z", members=members).added_count, 3)
    same(w.engine.zrange(key(w, "z"), 0, -1, withscores=True), [("a", 1), ("b", 1), ("c", 2)])
    found = w.call("ZRange", key="z", start=0, stop=-1).members
    same([(m.member, m.score) for m in found], [("a", 0), ("b", 0), ("c", 0)], "without scores")
    found = w.call("ZRange", key="z", start=1, stop=1, with_scores=True).members
    same([(m.member, m.score) for m in found], [("b", 1)])
    found = w.call("ZRangeByScore", key="z", min_score=-float("inf"), max_score=1, offset=1).members
    same([(m.member, m.score) for m in found], [("b", 1)])
    rank, score = w.call("ZRank", key="z", member="a"), w.call("ZScore", key="z", member="c")
    same((rank.found, rank.rank, score.found, score.score), (True, 0, True, 2))
    same(w.call("ZRank", key="z", member="absent").found, False)
    same(w.call("ZIncrement", key="z", member="a", delta=0.25).score, 1.25)
    same(w.call("ZRemove", key="z", members=["a", "absent"]).removed_count, 1)
    same(w.call("ZCard", key="z").count, 2)
    for bad in (float("nan"), float("inf")):
        refused(
            StatusCode.INVALID_ARGUMENT,
            lambda bad=bad: w.call("ZAdd", key="z", members=[{"member": "x", "score": bad}]),
            "score",
        )
    refused(StatusCode.INVALID_ARGUMENT, lambda: w.call("ZRangeByScore", key="z", offset=-1), "offset")


@case("AcquireLock", "RenewLock", "ReleaseLock")
def locks(w: World) -> None:
    first = w.call("AcquireLock", lock_key="job", ttl=10 * SECOND)
    same(first.acquired, True)
    between(first.expires_at.seconds - time.time(), 5, 11, "expires_at")
    began = time.monotonic()
    waited = w.call("AcquireLock", lock_key="job", ttl=SECOND, wait_timeout=timedelta(milliseconds=400))
    same((waited.acquired, waited.lock_id), (False, ""))
    between(time.monotonic() - began, 0.3, 3, "seconds waited")
    renewed = w.call("RenewLock", lock_key="job", lock_id=first.lock_id, ttl=100 * SECOND)
    same(renewed.renewed, True)
    between(renewed.expires_at.seconds - time.time(), 95, 101, "expires_at")
    same(w.call("ReleaseLock", lock_key="job", lock_id="x").released, False)
    same(w.call("ReleaseLock", lock_key="job", lock_id=first.lock_id).released, True)
    second = w.call("AcquireLock", lock_key="job", ttl=SECOND)
    holds(second.fencing_token > first.fencing_token, "fencing_token does not grow")
    third = w.call("AcquireLock", lock_key="job", ttl=SECOND, wait_timeout=10 * SECOND)
    same(third.acquired, True, "a waiter gets the lock when it runs out")
    holds(third.fencing_token > second.fencing_token, "fencing_token does not grow")
    same(w.call("RenewLock", lock_key="job", lock_id=second.lock_id, ttl=SECOND).renewed, False)
    same(w.other().call("AcquireLock", lock_key="job", ttl=SECOND).acquired, True, "another organization's lock")
    refused(StatusCode.INVALID_ARGUMENT, lambda: w.call("AcquireLock", lock_key="x"), "ttl")


@case("Publish", "Subscribe", "Unsubscribe")
def channels(w: World) -> None:
    messages = w.stream("Subscribe", channels=["a", "b"]).confirmed()
    w.engine.publish(names.redis_channel(w.tenant, "a"), "by the engine")
    first = messages.next()
    same((first.channel, first.message), ("a", "by the engine"))
    between(first.timestamp.seconds - time.time(), -5, 5, "timestamp")
    other = w.other()
    same(other.call("Publish", channel="a", message="x").subscriber_count, 0, "another organization's channel")
    for i in range(500):
        same(w.call("Publish", channel="b", message=f"{TEXT}{i}").subscriber_count, 1)
    same([m.message for m in messages.take(500)], [f"{TEXT}{i}" for i in range(500)])
    same(other.call("Unsubscribe").success, True)
    w.call("Publish", channel="a", message="still")
    same(messages.next().message, "still", "another's Unsubscribe is not ours")
    same(w.call("Unsubscribe").success, True)
    messages.status()
    channel = names.redis_channel(w.tenant, "a")
    eventually("the engine's subscription ends", lambda: w.engine.pubsub_numsub(channel)[0][1] == 0)
    refused(StatusCode.INVALID_ARGUMENT, lambda: w.stream("Subscribe").status(), "channels")


@case()
def a_subscriber_that_leaves(w: World) -> None:
    messages = w.stream("Subscribe", channels=["a"]).confirmed()
    channel = names.redis_channel(w.tenant, "a")
    same(w.engine.pubsub_numsub(channel)[0][1], 1)
    messages.cancel()
    eventually("the engine's subscription ends", lambda: w.engine.pubsub_numsub(channel)[0][1] == 0, 1)


@case("ExecuteBatch")
def batch(w: World) -> None:
    commands = [
        {"operation": "set", "key": "a", "value": "1", "expiration": timedelta(seconds=60)},
        {"operation": "EXPIRE", "key": "a", "expiration": timedelta(seconds=1000)},
        {"operation": "DEL", "key": "b"},
        {"operation": "Delete", "key": "b"},
    ]
    found = w.call("ExecuteBatch", commands=commands)
    same((found.success, found.executed_count, list(found.errors)), (True, 4, []))
    between(w.engine.ttl(key(w, "a")), 990, 1000, "the engine's TTL")
    bad = [*commands, {"operation": "FLUSHALL", "key": "a"}]
    w.engine.delete(key(w, "a"))
    refused(StatusCode.INVALID_ARGUMENT, lambda: w.call("ExecuteBatch", commands=bad), "operation")
    same(w.engine.exists(key(w, "a")), 0, "nothing runs of a batch with a bad command")
    refused(StatusCode.INVALID_ARGUMENT, lambda: w.call("ExecuteBatch"), "commands")


@case("CreateSession", "GetSession", "UpdateSession", "DeleteSession", "ListSessions")
def sessions(w: World) -> None:
    made = w.call("CreateSession", data={"a": "1"})
    between(made.expires_at.seconds - time.time(), 3590, 3601, "an hour where no ttl is given")
    found = w.call("GetSession", session_id=made.session_id)
    same((found.found, dict(found.session.data), found.session.user_id), (True, {"a": "1"}, w.user))
    between(found.session.created_at.seconds - time.time(), -5, 5, "created_at")
    same(w.call("GetSession", session_id=made.session_id, user_id=names.fresh("user")).found, False)
    same(w.call("UpdateSession", session_id=made.session_id, data={"b": "2"}).success, True)
    found = w.call("ListSessions").sessions
    same([(s.session_id, dict(s.data)) for s in found], [(made.session_id, {"a": "1", "b": "2"})])
    between(found[0].last_accessed.seconds - time.time(), -5, 5, "last_accessed")
    same(len(w.call("ListSessions", organization_id="").sessions), 1, "sessions are the user's")
    same(len(w.other().call("ListSessions").sessions), 0)
    same(w.call("DeleteSession", session_id=made.session_id).success, True)
    same(w.call("DeleteSession", session_id=made.session_id).success, False)
    short = w.call("CreateSession", data={}, ttl=SECOND)
    eventually("the session ends", lambda: not w.call("GetSession", session_id=short.session_id).found, 5)
    same(len(w.call("ListSessions").sessions), 0, "ended sessions are not listed")


@case("GetStatistics", "GetKeyInfo", "HealthCheck")
def monitoring(w: World) -> None:
    w.call("RPush", key="l", values=["a", "b"])
    found = w.call("GetStatistics")
    same((found.total_keys, {k: n for k, n in found.key_type_distribution.items() if n}), (1, {"list": 1}))
    for name, kind in (("l", 2), ("absent", 0)):
        found = w.call("GetKeyInfo", key=name)
        same((found.exists, found.type), (name == "l", kind))
    same(found.HasField("last_accessed"), False, "nothing is known of an absent key")
    found = w.call("HealthCheck", deep_check=True)
    same((found.healthy, found.redis_status, found.message), (True, "connected", ""))
    between(found.checked_at.seconds - time.time(), -5, 5, "checked_at")
    same(w.call("GetStatistics").total_keys, 1, "a deep check leaves nothing behind")


@case()
def wrong_type_is_a_failed_precondition(w: World) -> None:
    w.engine.rpush(key(w, "list"), "a")
    w.engine.set(key(w, "text"), "v")
    calls = [
        ("Get", {"key": "list"}),
        ("Append", {"key": "list", "value": "x"}),
        ("Increment", {"key": "list", "delta": 1}),
        ("LPush", {"key": "text", "values": ["a"]}),
        ("LRange", {"key": "text"}),
        ("HGet", {"key": "text", "field": "f"}),
        ("SAdd", {"key": "text", "members": ["a"]}),
        ("ZScore", {"key": "text", "member": "a"}),
        ("SUnion", {"keys": ["text"]}),
    ]
    for method, fields in calls:
        refused(StatusCode.FAILED_PRECONDITION, lambda m=method, f=fields: w.call(m, **f))
    refused(StatusCode.NOT_FOUND, lambda: w.call("Rename", old_key="absent", new_key="b"))


def filled(field: Any) -> Any:
    """Something right for a field of a request."""
    if field.message_type is None:
        value = {field.CPPTYPE_STRING: "a", field.CPPTYPE_BOOL: True}.get(field.cpp_type, 1)
        return [value] if field.is_repeated else value
    if field.message_type.name == "Duration":
        return SECOND
    return [{f.name: filled(f) for f in field.message_type.fields}]


@case()
def empty_and_long_keys_are_refused(w: World) -> None:
    """By every method that has a key, naming it."""
    for method in w.plain.descriptor.methods:
        fields = method.input_type.fields_by_name
        for name in {"key", "lock_key", "old_key", "new_key"} & set(fields):
            others = {f.name: filled(f) for f in fields.values() if f.name not in ("user_id", "organization_id", name)}
            for bad in ("", "k" * 8193):
                request = {**others, name: bad}
                refused(StatusCode.INVALID_ARGUMENT, lambda m=method.name, f=request: w.call(m, **f), name)


@case()
def text_that_is_none(w: World) -> None:
    w.engine.execute_command("SET", key(w, "k"), b"\xff\xfe")
    found = refused(StatusCode.FAILED_PRECONDITION, lambda: w.call("Get", key="k"))
    has(found.details(), "utf-8")
