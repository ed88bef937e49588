"""MQTT by the published async client: its streams, and what it runs at once."""

import asyncio
from typing import Any

from conformance.case import cases, same
from conformance.cases.mqtt_published import TEXT, topic
from conformance.world import World

case = cases("mqtt", "async")


async def connected(w: World) -> str:
    return (await w.raw.mqtt_connect("client"))["session_id"]


async def listening(w: World, probe: str, stream: Any, count: int) -> tuple[asyncio.Task, list[Any]]:
    """Reads a stream that is known to get messages, until it has so many."""
    got: list[Any] = []
    arrived = asyncio.Event()

    async def read() -> None:
        async for message in stream:
            if message["payload"] == b"probe":
                arrived.set()
                continue
            got.append(message)
            if len(got) == count:
                break

    reader = asyncio.create_task(read())
    while not arrived.is_set():
        await asyncio.to_thread(w.engine.publish, topic(w, probe), b"probe")
        await asyncio.sleep(0.02)
    return reader, got


@case("Subscribe", "Publish")
async def subscribe_while_publishing(w: World) -> None:
    session = await connected(w)
    reader, got = await listening(w, "news/probe", w.raw.subscribe(session, "news/#", qos=1), 300)
    for i in range(300):
        same((await w.raw.publish(session, "news/a", TEXT + str(i).encode()))["success"], True)
    await asyncio.wait_for(reader, 20)
    same([m["payload"] for m in got], [TEXT + str(i).encode() for i in range(300)])
    same((got[0]["topic"], got[0]["qos"], got[0]["retained"]), ("news/a", 1, False))


@case("SubscribeMultiple")
async def subscribe_multiple(w: World) -> None:
    session = await connected(w)
    filters = [{"topic_filter": "a/+", "qos": 1}, {"topic_filter": "a/#", "qos": 1}]
    reader, got = await listening(w, "a/probe", w.raw.subscribe_multiple(session, filters), 3)
    for i in range(3):
        await w.raw.publish(session, "a/b", str(i).encode())
    await asyncio.wait_for(reader, 20)
    same([m["payload"] for m in got], [b"0", b"1", b"2"], "each once")


@case("ListSubscriptions", "Unsubscribe", "Subscribe")
async def leaving(w: World) -> None:
    session = await connected(w)
    reader, _ = await listening(w, "a/probe", w.raw.subscribe(session, "a/#"), 1000)
    same(await w.raw.list_subscriptions(session), [{"topic_filter": "a/#", "qos": 1}])
    same(await w.raw.unsubscribe(session, ["a/#"]), 1)
    await asyncio.wait_for(reader, 10)
    same(await w.raw.list_subscriptions(session), [])


@case("SubscribeDeviceMessages")
async def device_messages(w: World) -> None:
    stream = w.raw.subscribe_device_messages(device_ids=["d"])
    reader, got = await listening(w, "devices/d/probe", stream, 1)
    await asyncio.to_thread(w.engine.publish, topic(w, "devices/e/telemetry"), b"of another")
    await asyncio.to_thread(w.engine.publish, topic(w, "devices/d/telemetry"), TEXT)
    await asyncio.wait_for(reader, 10)
    same((got[0]["device_id"], got[0]["message_type"], got[0]["payload"]), ("d", 1, TEXT))


@case("Publish", "RegisterDevice")
async def many_at_once(w: World) -> None:
    listener = await asyncio.to_thread(w.engine.subscribe, topic(w, "many/#"))
    session = await connected(w)
    sent = [{"topic": f"many/{i}", "payload": str(i).encode(), "qos": i % 3} for i in range(300)]
    found = await w.raw.publish_many_concurrent(session, sent)
    same([f["success"] for f in found], [True] * 300)
    got = [await asyncio.to_thread(listener.next) for _ in range(300)]
    same(sorted(m.payload for m in got), sorted(m["payload"] for m in sent))
    await asyncio.to_thread(listener.end)
    devices = [{"device_id": f"d-{i}", "device_name": f"Device {i}"} for i in range(20)]
    made = await w.raw.register_devices_concurrent(devices)
    same([m["success"] for m in made], [True] * 20)
    same((await w.raw.list_devices())["total_count"], 20)
