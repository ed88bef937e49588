"""The other way to make a published client: by the factory, in a `with` statement, for a user alone."""

from typing import Any

import isa_common

from conformance.case import cases, holds, same
from conformance.world import World


def made(w: World) -> Any:
    host, _, port = w.address.rpartition(":")
    return isa_common.get_client(w.service, host=host, port=int(port), user_id=w.user)


@cases("redis", "sync")()
def redis_by_factory(w: World) -> None:
    with made(w) as client:
        same(client.set(w.user, "v"), True)
        same(client.get(w.user), "v")
        holds(list(w.engine.scan_iter(match=f"*:{w.user}", count=1000)), "the engine has no such key")
        same(client.delete(w.user), True)


@cases("postgres", "sync")()
def postgres_by_factory(w: World) -> None:
    with made(w) as client:
        same(client.query("SELECT $1::int + 1 AS n", [41]), [{"n": 42}])


@cases("minio", "sync")()
def minio_by_factory(w: World) -> None:
    with made(w) as client:
        same(client.upload_object("by-factory", "k", b"v")["size"], 1)
        same(client.get_object("by-factory", "k"), b"v")


@cases("qdrant", "sync")()
def qdrant_by_factory(w: World) -> None:
    with made(w) as client:
        same(client.create_collection(w.user, 2), True)
        holds(w.user in client.list_collections(), "the collection is not listed")
        same(client.delete_collection(w.user), True)


@cases("nats", "sync")()
def nats_by_factory(w: World) -> None:
    with made(w) as client:
        same(client.kv_put(w.user, "k", b"v"), {"success": True, "revision": 1})
        same(client.kv_get(w.user, "k")["value"], b"v")
    (stream,) = (name for name in w.engine.streams() if name.endswith(w.user))
    w.engine.run(w.engine.stream.delete_stream(stream))


@cases("neo4j", "sync")()
def neo4j_by_factory(w: World) -> None:
    with made(w) as client:
        id = client.create_node([w.user], {"n": 1})
        same(client.get_node(id)["properties"]["n"], 1)
        same(dict(w.engine.node(id)), {"n": 1})
        same(client.delete_node(id), True)
