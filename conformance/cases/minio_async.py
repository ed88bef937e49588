"""Objects by the published async client: what it runs at once."""

from conformance.case import cases, same
from conformance.cases.minio_published import keys, stored
from conformance.world import World

case = cases("minio", "async")


@case("PutObject", "GetObject", "DeleteObject")
async def many_at_once(w: World) -> None:
    b = (await w.raw.create_bucket("many"))["bucket"]
    data = {f"k{i}": f"content {i}".encode() * 1000 for i in range(40)}
    found = await w.raw.upload_many_concurrent([{"bucket": b, "key": k, "data": d} for k, d in data.items()])
    same([f["size"] for f in found], [len(d) for d in data.values()])
    same(stored(w, b, "k7"), data["k7"])
    same(await w.raw.download_many_concurrent([{"bucket": b, "key": k} for k in data]), list(data.values()))
    same(await w.raw.delete_many_concurrent([{"bucket": b, "key": k} for k in data]), [True] * 40)
    same(keys(w, b), [])


@case("GetObject")
async def download_stream(w: World) -> None:
    b = (await w.raw.create_bucket("stream"))["bucket"]
    await w.raw.upload_object(b, "k", b"0123456789" * 100_000)
    parts = [part async for part in w.raw.download_stream(b, "k")]
    same(b"".join(parts), b"0123456789" * 100_000)
    same(len(parts) > 1, True, "in parts")
