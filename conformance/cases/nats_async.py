"""NATS by the published async client: streams, policies, and what it runs at once."""

import asyncio
from typing import Any

from conformance.case import cases, same
from conformance.cases.nats_published import TEXT, stream, subject
from conformance.world import World

case = cases("nats", "async")


@case("Subscribe", "Publish")
async def subscribe_while_publishing(w: World) -> None:
    got: list[dict[str, Any]] = []
    arrived = asyncio.Event()

    async def read() -> None:
        async for message in w.raw.subscribe("news.*"):
            if message["data"] == b"probe":
                arrived.set()
                continue
            got.append(message)
            if len(got) == 300:
                break

    reader = asyncio.create_task(read())
    while not arrived.is_set():
        await w.raw.publish("news.probe", b"probe")
        await asyncio.sleep(0.02)
    for i in range(300):
        same((await w.raw.publish("news.a", TEXT + str(i).encode()))["success"], True)
    await reader
    same([m["data"] for m in got], [TEXT + str(i).encode() for i in range(300)])
    same(got[0]["subject"], "news.a")


@case("Publish")
async def many_at_once(w: World) -> None:
    got: list[bytes] = []

    async def keep(message: Any) -> None:
        got.append(message.data)

    await w.engine.client.subscribe(subject(w, "many.*"), cb=keep)
    await w.engine.client.flush()
    sent = [{"subject": f"many.{i}", "data": str(i).encode()} for i in range(300)]
    found = await w.raw.publish_many_concurrent(sent)
    same([f["success"] for f in found], [True] * 300)
    while len(got) < 300:
        await asyncio.sleep(0.02)
    same(sorted(got), sorted(m["data"] for m in sent))


@case("CreateConsumer", "PullMessages")
async def delivery_policies(w: World) -> None:
    await w.raw.create_stream("S", ["s"])
    for i in range(1, 4):
        await w.raw.publish_to_stream("S", "s", str(i).encode())
    for policy in ("all", "last", "new"):
        same((await w.raw.create_consumer("S", policy, delivery_policy=policy))["success"], True)
    await w.raw.publish_to_stream("S", "s", b"4")
    for policy, expected in (("all", [1, 2, 3, 4]), ("last", [3, 4]), ("new", [4])):
        same([m["sequence"] for m in await w.raw.pull_messages("S", policy)], expected, policy)


@case("PublishToStream")
async def many_to_a_stream(w: World) -> None:
    await w.raw.create_stream("S", ["s"])
    found = await asyncio.gather(*(w.raw.publish_to_stream("S", "s", b"x") for _ in range(200)))
    same(sorted(f["sequence"] for f in found), list(range(1, 201)))
    info = await w.engine.stream.stream_info(await asyncio.to_thread(stream, w, "S"))
    same(info.state.messages, 200)
