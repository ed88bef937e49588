"""NATS by the published sync client: what the async one does not have."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from conformance.case import between, cases, eventually, holds, same
from conformance.cases.nats_published import TEXT, stream, subject, value
from conformance.world import World

case = cases("nats", "sync")


def listening(w: World, got: list[dict[str, Any]], name: str, probe: str, **more: Any) -> threading.Thread:
    """A subscription that is known to get messages, which go to `got`."""
    arrived = threading.Event()

    def keep(message: dict[str, Any]) -> None:
        if message["data"] == b"probe":
            arrived.set()
        else:
            got.append(message)

    reader = threading.Thread(target=w.client.subscribe, args=(name, keep), kwargs=more, daemon=True)
    reader.start()

    def probed() -> bool:
        w.engine.publish(subject(w, probe), b"probe")
        return arrived.wait(0.05)

    eventually("the subscription gets a message", probed)
    return reader


@case("Subscribe", "Unsubscribe")
def subscribe_while_publishing(w: World) -> None:
    got: list[dict[str, Any]] = []
    reader = listening(w, got, "news.>", "news.probe", timeout_seconds=30)
    for i in range(300):
        same(w.client.publish(f"news.{i % 3}", TEXT + str(i).encode(), headers={"N": str(i)})["success"], True)
    eventually("all messages", lambda: len(got) >= 300)
    same([m["data"] for m in got], [TEXT + str(i).encode() for i in range(300)])
    same((got[7]["subject"], got[7]["headers"]), ("news.1", {"N": "7"}))
    same([m["sequence"] - got[0]["sequence"] for m in got], list(range(300)))
    w.engine.publish(subject(w, "news.r"), b"reply?", reply=subject(w, "back"))
    eventually("the message with a reply", lambda: len(got) > 300)
    same(got[-1]["reply_to"], "back")
    same(w.client.unsubscribe("news.0"), {"success": True}, "another subject")
    same(reader.is_alive(), True)
    same(w.client.unsubscribe("news.>"), {"success": True})
    reader.join(5)
    holds(not reader.is_alive(), "Unsubscribe did not end the stream")


@case("Subscribe")
def subscription_with_a_deadline(w: World) -> None:
    began = time.monotonic()
    w.client.subscribe("quiet", lambda message: None, timeout_seconds=1)
    between(time.monotonic() - began, 0.9, 3, "seconds")


@case("Subscribe")
def queue_group(w: World) -> None:
    a: list[dict[str, Any]] = []
    b: list[dict[str, Any]] = []
    listening(w, a, "jobs.>", "jobs.probe", queue_group="workers", timeout_seconds=30)
    both = threading.Thread(
        target=w.client.subscribe,
        args=("jobs.*", b.append),
        kwargs={"queue_group": "workers2", "timeout_seconds": 30},
        daemon=True,
    )
    both.start()

    def joined() -> bool:
        w.engine.publish(subject(w, "jobs.x"), b"probe")
        return len(b) > 0

    eventually("the second group gets a message", joined)
    seen = len(b)
    for i in range(50):
        w.client.publish("jobs.y", str(i).encode())
    eventually("each group gets each message", lambda: len(a) >= 50 and len(b) >= seen + 50)
    same([m["data"] for m in a], [str(i).encode() for i in range(50)])


@case("PublishToStream", "KVPut", "KVGet")
def twenty_threads(w: World) -> None:
    w.client.create_stream("ALL", ["all.>"])

    def work(thread: int) -> list[int]:
        sequences = []
        for i in range(10):
            data = f"{thread} {i}".encode()
            sequences.append(w.client.publish_to_stream("ALL", f"all.{thread}", data)["sequence"])
            holds(w.client.kv_put("state", f"k{thread}", data), "KVPut")
            same(w.client.kv_get("state", f"k{thread}")["value"], data)
        return sequences

    with ThreadPoolExecutor(20) as pool:
        found = [n for part in pool.map(work, range(20)) for n in part]
    same(sorted(found), list(range(1, 201)))
    same(w.engine.info(stream(w, "ALL")).state.messages, 200)
    same(value(w, "state", "k7").value, b"7 9")
