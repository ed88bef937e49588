"""Redis by the published sync client: what the async one does not have."""

import threading
from concurrent.futures import ThreadPoolExecutor

from conformance import names
from conformance.case import between, cases, eventually, holds, same
from conformance.cases.redis_published import TEXT, key
from conformance.world import World

case = cases("redis", "sync")


@case("LIndex", "LTrim")
def list_ends(w: World) -> None:
    w.engine.rpush(key(w, "l"), *"abcde")
    same(w.client.lindex("l", 0), "a")
    same(w.client.lindex("l", -1), "e")
    same(w.client.lindex("l", 9), None)
    same(w.client.ltrim("l", 1, 3), True)
    same(w.engine.lrange(key(w, "l"), 0, -1), ["b", "c", "d"])
    same(w.client.ltrim("absent", 0, 1), True)


@case("HKeys", "HValues", "HIncrement")
def hash_contents(w: World) -> None:
    w.engine.hset(key(w, "h"), mapping={"a": "1", TEXT: "2"})
    fields, values = w.client.hkeys("h"), w.client.hvalues("h")
    same(dict(zip(fields, values, strict=True)), {"a": "1", TEXT: "2"})
    same(w.client.hincrement("h", "a", 10), 11)
    same(w.client.hincrement("h", "new"), 1)
    same(w.engine.hget(key(w, "h"), "a"), "11")
    w.engine.hset(key(w, "h"), "word", "x")
    same(w.client.hincrement("h", "word"), None, "not a number")
    same(w.client.hkeys("absent"), [])
    same(w.client.hvalues("absent"), [])


@case("SUnion", "SInter", "SDiff")
def set_algebra(w: World) -> None:
    w.engine.sadd(key(w, "a"), "1", "2", "3")
    w.engine.sadd(key(w, "b"), "2", "3", "4")
    same(sorted(w.client.sunion(["a", "b"])), ["1", "2", "3", "4"])
    same(sorted(w.client.sinter(["a", "b"])), ["2", "3"])
    same(w.client.sdiff(["a", "b"]), ["1"])
    same(w.client.sinter(["a", "absent"]), [])
    same(sorted(w.client.sdiff(["a", "absent"])), ["1", "2", "3"])


@case("ZRangeByScore", "ZIncrement", "ZRange", "ZRemove")
def scores(w: World) -> None:
    w.engine.zadd(key(w, "z"), {"a": 1, "b": 2, "c": 3, "d": 4})
    same(w.client.zrange_by_score("z", 2, 3), [("b", 2), ("c", 3)])
    same(w.client.zrange_by_score("z", 1, 9, offset=1, count=2), [("b", 2), ("c", 3)])
    same(len(w.client.zrange_by_score("z", float("-inf"), float("inf"))), 4, "open ends")
    same(w.client.zincrement("z", "a", 2.5), 3.5)
    same(w.client.zincrement("z", "new"), 1)
    same(w.engine.zscore(key(w, "z"), "a"), 3.5)
    same(w.client.zremrangebyrank("z", 0, 1), 2)
    same(w.engine.zrange(key(w, "z"), 0, -1), ["c", "a", "d"])


@case("UpdateSession", "ListSessions")
def sessions_changed(w: World) -> None:
    first = w.client.create_session({"a": "1", "b": "2"}, ttl_seconds=1000)
    second = w.client.create_session({"n": "2"}, ttl_seconds=50)
    same(w.client.update_session(first, {"a": "new", "b": "", "c": TEXT}, extend_ttl=False), True)
    same(w.client.get_session(first), {"a": "new", "c": TEXT}, "an empty value removes the entry")
    same(w.client.update_session("no-such-session", {"a": "1"}), False)
    found = w.client.list_sessions()
    same([s["session_id"] for s in found], [second, first], "newest first")
    same(found[1]["user_id"], w.user)
    same(found[1]["data"], {"a": "new", "c": TEXT})
    between(found[0]["expires_at"].seconds - found[0]["created_at"].seconds, 49, 51, "lifetime")
    same(w.client.delete_session(first), True)
    same([s["session_id"] for s in w.client.list_sessions()], [second])


@case("UpdateSession")
def session_prolonged(w: World) -> None:
    session = w.client.create_session({"a": "1"}, ttl_seconds=100)
    stored = list(w.engine.scan_iter(match=f"*{session}*", count=1000))
    for k in stored:
        w.engine.expire(k, 20)
    same(w.client.update_session(session, {"a": "2"}), True)
    between(max(w.engine.ttl(k) for k in stored), 90, 100, "the TTL begins anew")


@case("GetKeyInfo")
def key_info(w: World) -> None:
    w.engine.set(key(w, "s"), "x" * 1000, ex=100)
    w.engine.zadd(key(w, "z"), {"a": 1})
    found = w.client.get_key_info("s")
    same((found["exists"], found["type"]), (True, 0))
    between(found["ttl_seconds"], 90, 100, "ttl_seconds")
    between(found["size_bytes"], 1000, 2000, "size_bytes")
    found = w.client.get_key_info("z")
    same((found["type"], found["ttl_seconds"]), (4, -1))
    same(w.client.get_key_info("absent"), {"exists": False})


@case("Subscribe", "Unsubscribe")
def subscribe_while_publishing(w: World) -> None:
    got: list[tuple[str, str]] = []
    client = w.client
    reader = threading.Thread(
        target=client.subscribe,
        args=(["a", "b"], lambda channel, message, at: got.append((channel, message))),
        daemon=True,
    )
    reader.start()
    channel = names.redis_channel(w.tenant, "b")
    eventually("the engine has the subscription", lambda: w.engine.pubsub_numsub(channel)[0][1] == 1)
    sent = [("ab"[i % 2], f"{TEXT}{i}") for i in range(200)]
    for name, message in sent:
        same(client.publish(name, message), 1)
    eventually("all messages", lambda: len(got) >= len(sent))
    same(got, sent)
    same(client.unsubscribe(["a"]), True)
    same(client.publish("b", "still"), 1)
    eventually("a message of the other channel", lambda: ("b", "still") in got)
    same(client.unsubscribe(["b"]), True)
    reader.join(5)
    holds(not reader.is_alive(), "the stream did not end with its last channel")
    eventually("the engine's subscription ends", lambda: w.engine.pubsub_numsub(channel)[0][1] == 0)


@case("Increment", "RPush", "ZAdd")
def twenty_threads(w: World) -> None:
    def work(thread: int) -> None:
        for i in range(25):
            holds(w.client.incr("n"), "an increment was lost")
            same(w.client.set(f"{thread}:{i}", f"{thread} {i}"), True)
            same(w.client.get(f"{thread}:{i}"), f"{thread} {i}")
            holds(w.client.rpush("l", [f"{thread}:{i}"]), "a push was lost")
            same(w.client.zadd("z", {f"{thread}:{i}": i}), 1)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(work, range(20)))
    same(w.engine.get(key(w, "n")), "500")
    same(w.engine.llen(key(w, "l")), 500)
    same(w.engine.zcard(key(w, "z")), 500)
