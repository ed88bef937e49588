"""Redis by the published async client: streams, and what it runs at once."""

import asyncio

from conformance import names
from conformance.case import cases, same
from conformance.cases.redis_published import TEXT, key
from conformance.world import World

case = cases("redis", "async")


async def subscribed(w: World, channel: str) -> None:
    while w.engine.pubsub_numsub(names.redis_channel(w.tenant, channel))[0][1] == 0:
        await asyncio.sleep(0.02)


@case("Subscribe", "Publish")
async def subscribe_while_publishing(w: World) -> None:
    async def read() -> list[tuple[str, str]]:
        got: list[tuple[str, str]] = []
        async for message in w.raw.subscribe(["a", "b"]):
            got.append((message["channel"], message["message"]))
            if len(got) == 200:
                break
        return got

    reader = asyncio.create_task(read())
    await subscribed(w, "b")
    sent = [("ab"[i % 2], f"{TEXT}{i}") for i in range(200)]
    for channel, message in sent:
        same(await w.raw.publish(channel, message), 1)
    same(await reader, sent)


@case("Get", "SetWithExpiration")
async def many_at_once(w: World) -> None:
    values = {f"k{i}": f"v{i}" for i in range(300)}
    same(await w.raw.set_many_concurrent(values, ttl_seconds=100), dict.fromkeys(values, True))
    same(w.engine.mget([key(w, k) for k in values]), list(values.values()))
    same(await w.raw.get_many_concurrent([*values, "absent"]), {**values, "absent": None})


@case("Increment")
async def one_counter_at_once(w: World) -> None:
    found = await asyncio.gather(*(w.raw.incr("n") for _ in range(300)))
    same(sorted(found), list(range(1, 301)))
    same(w.engine.get(key(w, "n")), "300")


@case("GetMultiple")
async def automatic_batches(w: World) -> None:
    w.engine.mset({key(w, f"k{i}"): f"v{i}" for i in range(150)})
    client = w.make(enable_auto_batching=True)
    found = await asyncio.gather(*(client.get(f"k{i}") for i in range(151)))
    same(found, [*(f"v{i}" for i in range(150)), None])


@case("HealthCheck")
async def deep_health(w: World) -> None:
    same((await w.raw.health_check(deep_check=True))["healthy"], True)
