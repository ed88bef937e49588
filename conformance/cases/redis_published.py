"""Redis by the published client: what its sync and async form have in common."""

from conformance import names
from conformance.case import between, cases, eventually, has, holds, same
from conformance.plain import MIB
from conformance.world import World

case = cases("redis", "sync", "async")
TEXT = "größer als 🦀 \n\t\" ' {} 漢字"
KEY = "ключ:🔑 with space"


def key(w: World, name: str) -> str:
    return names.redis_key(w.tenant, name)


@case("HealthCheck")
def health(w: World) -> None:
    found = w.client.health_check()
    same(found["healthy"], True)
    same(found["redis_status"], "connected")
    holds(found["connected_clients"] >= 1, "no client is connected")
    memory = w.engine.info("memory")["used_memory"]
    between(found["used_memory_bytes"], memory / 4, memory * 4, "used_memory_bytes")


@case("Set", "Get")
def set_and_get(w: World) -> None:
    same(w.client.set(KEY, TEXT), True)
    same(w.engine.get(key(w, KEY)), TEXT, "the engine's value")
    w.engine.set(key(w, KEY), "by the engine", ex=100)
    same(w.client.get(KEY), "by the engine")
    same(w.client.set(KEY, ""), True)
    same(w.client.get(KEY), "", "an empty value")
    same(w.engine.ttl(key(w, KEY)), -1, "Set removes the expiry")
    same(w.client.get("absent"), None)


@case("Set", "Get")
def one_megabyte(w: World) -> None:
    value = "ab€\n" * (MIB // 6)
    same(w.client.set("big", value), True)
    same(w.engine.get(key(w, "big")), value)
    same(w.client.get("big"), value)


@case("SetWithExpiration", "GetTTL")
def set_with_expiration(w: World) -> None:
    same(w.client.set_with_ttl("k", "v", 100), True)
    between(w.engine.pttl(key(w, "k")), 90_000, 100_000, "the engine's TTL")
    between(w.client.ttl("k"), 90, 100, "ttl")
    same(w.client.set("short", "v", ttl_seconds=1), True)
    same(w.client.get("short"), "v")
    eventually("the key expires", lambda: not w.engine.exists(key(w, "short")), 5)
    same(w.client.get("short"), None)
    same(w.client.ttl("short"), -2, "ttl of an absent key")


@case("Expire", "GetTTL")
def expire(w: World) -> None:
    w.engine.set(key(w, "k"), "v")
    same(w.client.ttl("k"), -1, "ttl without an expiry")
    same(w.client.expire("k", 50), True)
    between(w.engine.ttl(key(w, "k")), 45, 50, "the engine's TTL")
    same(w.client.expire("absent", 50), False)
    same(w.client.expire("k", 0), True)
    same(w.engine.exists(key(w, "k")), 0, "an expiry of zero removes the key")


@case("Delete", "Exists")
def delete_and_exists(w: World) -> None:
    w.engine.set(key(w, "k"), "v")
    same(w.client.exists("k"), True)
    same(w.client.delete("k"), True)
    same(w.engine.exists(key(w, "k")), 0)
    same(w.client.exists("k"), False)
    same(w.client.delete("k"), True, "deleting an absent key is no error")


@case("DeleteMultiple")
def delete_multiple(w: World) -> None:
    w.engine.mset({key(w, "a"): "1", key(w, "b"): "2", key(w, "c"): "3"})
    same(w.client.delete_multiple(["a", "b", "absent"]), 2)
    same(w.engine.exists(key(w, "a"), key(w, "b"), key(w, "c")), 1)


@case("Append")
def append(w: World) -> None:
    same(w.client.append("k", "ab"), 2)
    same(w.client.append("k", "€"), 5, "the length is in bytes")
    same(w.engine.get(key(w, "k")), "ab€")


@case("Increment", "Decrement")
def counters(w: World) -> None:
    same(w.client.incr("n"), 1)
    same(w.client.incr("n", 41), 42)
    same(w.client.decr("n"), 41)
    same(w.client.decr("n", 100), -59)
    same(w.engine.get(key(w, "n")), "-59")
    w.engine.set(key(w, "n"), str(2**63 - 1))
    same(w.client.decr("n", 1), 2**63 - 2, "64 bits are exact")
    same(w.client.incr("n", 2), None, "past 64 bits")
    w.engine.set(key(w, "word"), "abc")
    same(w.client.incr("word"), None, "not a number")
    same(w.engine.get(key(w, "word")), "abc")


@case("ExecuteBatch", "GetMultiple")
def mset_and_mget(w: World) -> None:
    values = {f"k{i}": f"{TEXT}{i}" for i in range(200)}
    same(w.client.mset(values), True)
    same(w.engine.mget([key(w, name) for name in values]), list(values.values()))
    same(w.client.mget([*values, "absent"]), values)
    same(w.client.mset({"t": "1", "u": "2"}, ttl_seconds=30), True)
    between(w.engine.ttl(key(w, "t")), 25, 30, "TTL of a batch")
    same(w.client.mget(["absent"]), {})


@case("ExecuteBatch")
def execute_batch(w: World) -> None:
    found = w.client.execute_batch(
        [
            {"operation": "SET", "key": "s", "value": "1", "expiration": 60},
            {"operation": "incr", "key": "s", "value": "4"},
            {"operation": "RPUSH", "key": "l", "value": "a"},
            {"operation": "LPUSH", "key": "l", "value": "b"},
            {"operation": "SADD", "key": "m", "value": "x"},
            {"operation": "SREM", "key": "m", "value": "y"},
            {"operation": "APPEND", "key": "s", "value": "0"},
            {"operation": "DECR", "key": "s"},
        ]
    )
    same(found, {"success": True, "executed_count": 8, "errors": []})
    same(w.engine.get(key(w, "s")), "49")
    same(w.engine.lrange(key(w, "l"), 0, -1), ["b", "a"])
    same(w.engine.smembers(key(w, "m")), {"x"})


@case("ExecuteBatch")
def execute_batch_with_a_failure(w: World) -> None:
    w.engine.rpush(key(w, "list"), "a")
    found = w.client.execute_batch(
        [
            {"operation": "SET", "key": "a", "value": "1"},
            {"operation": "INCR", "key": "list"},
            {"operation": "SET", "key": "b", "value": "2"},
        ]
    )
    same(found["success"], False)
    same(found["executed_count"], 2)
    same(len(found["errors"]), 1, "errors")
    has(found["errors"][0], "1", "incr")
    same(w.engine.get(key(w, "b")), "2", "commands after a failed one run")
    same(w.client.execute_batch([{"operation": "GET", "key": "a"}]), None, "reads are refused")


@case("Rename")
def rename(w: World) -> None:
    w.engine.set(key(w, "old"), "v", ex=100)
    w.engine.set(key(w, "new"), "over this")
    same(w.client.rename("old", "new"), True)
    same(w.engine.get(key(w, "new")), "v")
    between(w.engine.ttl(key(w, "new")), 95, 100, "the expiry moves too")
    same(w.engine.exists(key(w, "old")), 0)
    same(w.client.rename("absent", "new"), False)


@case("ListKeys")
def list_keys(w: World) -> None:
    mine = [f"user:{i}" for i in range(30)] + [KEY, "a*b"]
    w.engine.mset({key(w, name): "v" for name in mine})
    w.engine.rpush(key(w, "list"), "a")
    same(sorted(w.client.list_keys()), sorted([*mine, "list"]))
    same(sorted(w.client.list_keys("user:2?")), [f"user:2{i}" for i in range(10)])
    same(w.client.list_keys("a\\*b"), ["a*b"], "an escaped star")
    same(w.client.list_keys("ключ*"), [KEY])
    same(len(w.client.list_keys("user:*", limit=7)), 7, "limit")
    same(w.client.list_keys("nothing*"), [])


@case("LPush", "RPush", "LRange", "LPop", "RPop", "LLen")
def lists(w: World) -> None:
    same(w.client.rpush("l", ["c", "d"]), 2)
    same(w.client.lpush("l", ["b", TEXT]), 4)
    same(w.engine.lrange(key(w, "l"), 0, -1), [TEXT, "b", "c", "d"])
    same(w.client.lrange("l"), [TEXT, "b", "c", "d"])
    same(w.client.lrange("l", 1, -2), ["b", "c"])
    same(w.client.llen("l"), 4)
    same(w.client.lpop("l"), TEXT)
    same(w.client.rpop("l"), "d")
    same(w.engine.lrange(key(w, "l"), 0, -1), ["b", "c"])
    same(w.client.lpop("absent"), None)
    same(w.client.rpop("absent"), None)
    same(w.client.lrange("absent"), [])
    same(w.client.llen("absent"), 0)


@case("HSet", "HGet", "HGetAll", "HDelete", "HExists")
def hashes(w: World) -> None:
    same(w.client.hset("h", TEXT, "1"), True)
    same(w.client.hset("h", "b", TEXT), True)
    same(w.engine.hgetall(key(w, "h")), {TEXT: "1", "b": TEXT})
    same(w.client.hget("h", "b"), TEXT)
    same(w.client.hget("h", "absent"), None)
    same(w.client.hgetall("h"), {TEXT: "1", "b": TEXT})
    same(w.client.hgetall("absent"), {})
    same(w.client.hexists("h", "b"), True)
    same(w.client.hexists("h", "absent"), False)
    same(w.client.hdelete("h", ["b", "absent"]), 1)
    same(w.engine.hkeys(key(w, "h")), [TEXT])


@case("SAdd", "SRemove", "SMembers", "SIsMember", "SCard")
def sets(w: World) -> None:
    same(w.client.sadd("s", ["a", "b", TEXT]), 3)
    same(w.client.sadd("s", ["a", "c"]), 1, "only new members count")
    same(w.engine.smembers(key(w, "s")), {"a", "b", "c", TEXT})
    same(sorted(w.client.smembers("s")), sorted(["a", "b", "c", TEXT]))
    same(w.client.sismember("s", TEXT), True)
    same(w.client.sismember("s", "absent"), False)
    same(w.client.scard("s"), 4)
    same(w.client.sremove("s", ["a", "absent"]), 1)
    same(w.engine.sismember(key(w, "s"), "a"), 0)
    same(w.client.smembers("absent"), [])
    same(w.client.scard("absent"), 0)


@case("ZAdd", "ZRange", "ZRemove", "ZRank", "ZScore", "ZCard")
def sorted_sets(w: World) -> None:
    same(w.client.zadd("z", {"a": 1.5, "b": -2, TEXT: 2**53}), 3)
    same(w.client.zadd("z", {"a": 0.1}), 0, "a moved member is not new")
    same(w.engine.zrange(key(w, "z"), 0, -1, withscores=True), [("b", -2), ("a", 0.1), (TEXT, 2**53)])
    same(w.client.zrange("z"), ["b", "a", TEXT])
    same(w.client.zrange("z", 0, 1, with_scores=True), [("b", -2), ("a", 0.1)])
    same(w.client.zrank("z", TEXT), 2)
    same(w.client.zrank("z", "b"), 0, "rank of the lowest")
    same(w.client.zrank("z", "absent"), None)
    same(w.client.zscore("z", "a"), 0.1)
    same(w.client.zscore("z", "absent"), None)
    same(w.client.zcard("z"), 3)
    same(w.client.zrem("z", ["b", "absent"]), 1)
    same(w.engine.zrange(key(w, "z"), 0, -1), ["a", TEXT])


@case("AcquireLock", "RenewLock", "ReleaseLock")
def locks(w: World) -> None:
    w.engine.set(key(w, "job"), "a key of the same name is another thing")
    holder = w.client.acquire_lock("job", ttl_seconds=10)
    holds(holder, "the lock was not got")

    def ttl() -> list[int]:
        """Of keys of this tenant that name the lock and expire; what counts its holdings lives longer."""
        found = [w.engine.pttl(k) for k in w.engine.scan_iter(match=f"*{w.slug}*job*", count=1000)]
        return [ms for ms in found if 0 < ms <= 60_000]

    same(len(ttl()), 1, "expiring keys for the lock on the engine")
    between(ttl()[0], 5_000, 10_000, "the lock's TTL")
    same(w.client.acquire_lock("job", ttl_seconds=10, wait_timeout_seconds=0), None, "a lock that is held")
    same(w.client.renew_lock("job", holder, ttl_seconds=60), True)
    between(ttl()[0], 55_000, 60_000, "the renewed lock's TTL")
    same(w.client.renew_lock("job", "not the holder"), False)
    same(w.client.release_lock("job", "not the holder"), False)
    same(len(ttl()), 1, "the lock stands")
    same(w.client.release_lock("job", holder), True)
    same(ttl(), [], "the lock on the engine")
    same(w.client.release_lock("job", holder), False, "released twice")
    second = w.client.acquire_lock("job", ttl_seconds=1, wait_timeout_seconds=0)
    holds(second and second != holder, "the free lock was not got, or its id is not new")
    holds(w.client.acquire_lock("job", ttl_seconds=5, wait_timeout_seconds=5), "the lock did not run out")


@case("Publish")
def publish(w: World) -> None:
    with w.engine.pubsub(ignore_subscribe_messages=True) as listener:
        channel = names.redis_channel(w.tenant, "news")
        listener.subscribe(channel)
        eventually("the engine counts a subscriber", lambda: w.engine.pubsub_numsub(channel)[0][1] == 1)
        same(w.client.publish("news", TEXT), 1)
        found = eventually("the message", lambda: listener.get_message(timeout=1))
        same(found["data"], TEXT)
    same(w.client.publish("nobody", "x"), 0)


@case("CreateSession", "GetSession", "DeleteSession")
def sessions(w: World) -> None:
    data = {"name": TEXT, "empty": "", "cart": "3"}
    session = w.client.create_session(data, ttl_seconds=100)
    holds(session, "no session id")
    stored = list(w.engine.scan_iter(match=f"*{session}*", count=1000))
    holds(stored, "the engine has no key with the session's id")
    between(max(w.engine.ttl(k) for k in stored), 90, 100, "the session's TTL on the engine")
    same(w.client.get_session(session), data)
    same(w.client.get_session("no-such-session"), None)
    same(w.other().client.get_session(session), None, "another user's session")
    w.renew()
    same(w.client.delete_session(session), True)
    same(w.client.get_session(session), None)
    same(w.client.delete_session(session), False, "deleted twice")
    same(list(w.engine.scan_iter(match=f"*{session}", count=1000)), [], "keys of the session on the engine")


@case("GetStatistics")
def statistics(w: World) -> None:
    w.engine.mset({key(w, f"s{i}"): "v" for i in range(5)})
    w.engine.hset(key(w, "h"), "f", "v")
    w.engine.zadd(key(w, "z"), {"m": 1})
    w.engine.sadd(key(w, "m"), "x")
    w.engine.rpush(key(w, "l"), "x")
    found = w.client.get_statistics()
    same(found["total_keys"], 9)
    types = {name: count for name, count in found["key_type_distribution"].items() if count}
    same(types, {"string": 5, "hash": 1, "zset": 1, "set": 1, "list": 1})
    holds(found["memory_used_bytes"] > 0 and found["commands_processed"] > 0, "figures of the server")
    holds(found["connections_received"] > 0, "connections_received")
    between(found["hit_rate"], 0, 1, "hit_rate")


@case()
def wrong_type(w: World) -> None:
    w.engine.rpush(key(w, "list"), "a")
    w.engine.set(key(w, "text"), "v")
    same(w.client.get("list"), None)
    same(w.client.append("list", "x"), None)
    same(w.client.lpush("text", ["a"]), None)
    same(w.client.hset("text", "f", "v"), False)
    same(w.client.hgetall("text"), {})
    same(w.client.sadd("text", ["a"]), None)
    same(w.client.zadd("text", {"a": 1}), None)
    same(w.client.mget(["list", "text"]), {"text": "v"}, "a key of another type is left out")
    same(w.engine.get(key(w, "text")), "v")


@case()
def bad_keys(w: World) -> None:
    same(w.client.set("", "v"), False, "an empty key")
    same(w.client.set("k" * 8193, "v"), False, "a key that is too long")
    same(w.client.set("k" * 8192, "v"), True, "a key of the greatest length")
    same(w.client.get("k" * 8192), "v")
    same(w.client.lpush("k", []), None, "no values")
    for name in ("../up", "*", "a\x00b", "}{", "{tag}:k", "\\"):
        same(w.client.set(name, name), True, f"key {name!r}")
        same(w.engine.get(key(w, name)), name)
        same(w.client.get(name), name)


@case()
def two_organizations(w: World) -> None:
    other = w.other()
    same(w.client.set("k", "mine"), True)
    same(other.client.get("k"), None)
    same(other.client.exists("k"), False)
    same(other.client.list_keys("*"), [])
    same(other.client.set("k", "theirs"), True)
    same(other.client.delete_multiple(["k", key(w, "k")]), 1, "only their own")
    same(w.engine.get(key(w, "k")), "mine")


@case()
def one_organization_of_two_users(w: World) -> None:
    same(w.client.set("k", "shared"), True)
    same(w.other(organization=w.organization).client.get("k"), "shared")


@case()
def nobody_in_particular(w: World) -> None:
    """Without an organization the client says `default-org`, without a user `default_user`. An open server believes the
    former; to one that wants tokens both are as good as nothing."""
    name, w.organization = w.user, ""
    for user in (w.user, ""):
        w.user = user
        w.renew()
        tenant = "org:default-org" if w.open else f"user:{user}" if user else w.default_tenant
        same(w.client.set(name, TEXT), True)
        same(w.engine.get(names.redis_key(tenant, name)), TEXT, tenant)
        same(w.client.delete(name), True)


@case()
def client_options(w: World) -> None:
    w.raw = w.make(lazy_connect=False, enable_compression=False, enable_retry=False)
    same(w.client.set("k", TEXT), True)
    same(w.client.get("k"), TEXT)
