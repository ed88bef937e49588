"""Qdrant by the published client: what its sync and async form have in common.

It says nothing of who calls, so all these cases share one tenant: collections have names of their own."""

import math
import uuid
from datetime import datetime
from typing import Any

from conformance import names
from conformance.case import between, cases, holds, same
from conformance.world import World

case = cases("qdrant", "sync", "async")
TEXT = "größer als 🦀 \n\t\" ' 漢字"
DEEP = {"a": {"b": [1, 2.5, None, TEXT, {"c": True}]}, "empty": [], "none": {}}


def full(w: World, name: str) -> str:
    """The collection's name on the engine."""
    return names.qdrant_collection(w.tenant, name)


def made(w: World, size: int = 2, distance: str = "Dot", suffix: str = "") -> str:
    """A new collection, made through the service."""
    name = f"c_{w.user}{suffix}"
    same(w.client.create_collection(name, size, distance), True, "create_collection")
    return name


def look(w: World, name: str, *ids: Any) -> list[Any]:
    """Points as the engine has them."""
    return w.engine.retrieve(full(w, name), list(ids), with_payload=True, with_vectors=True)


def written(operation: Any) -> None:
    holds(isinstance(operation, str) and operation.isdigit(), f"operation id {operation!r}")


def filled(w: World, **kinds: Any) -> str:
    """Nine points, 1 to 9, each along another direction."""
    name = made(w, **kinds)
    points = [
        {"id": i, "vector": [i, 10 - i], "payload": {"n": i, "odd": i % 2 == 1, "k": f"k{i}"}} for i in range(1, 10)
    ]
    written(w.client.upsert_points(name, points))
    return name


def found(results: Any) -> list[Any]:
    holds(results is not None, "no results")
    return [result["id"] for result in results]


@case("HealthCheck")
def health(w: World) -> None:
    same(w.client.health_check(), {"healthy": True, "version": w.engine.info().version})


@case("CreateCollection", "ListCollections", "GetCollectionInfo", "DeleteCollection")
def collections(w: World) -> None:
    for distance in ("Cosine", "Euclid", "Dot", "Manhattan"):
        name = made(w, 3, distance, f"_{distance} größe")
        params = w.engine.get_collection(full(w, name)).config.params.vectors
        same((params.size, params.distance.value), (3, distance))
        holds(name in w.client.list_collections(), f"{name} is not listed")
        info = w.client.get_collection_info(name)
        same((info["status"], info["points_count"]), ("green", 0))
        holds(info["segments_count"] >= 1, f"segments {info}")
    listed = w.client.list_collections()
    same(listed, sorted(listed), "sorted")
    same(w.client.create_collection(name, 3), None, "once more")
    same(w.client.delete_collection(name), True)
    holds(not w.engine.collection_exists(full(w, name)), "it is there")
    same(w.client.delete_collection(name), None, "absent")
    same(w.client.get_collection_info(name), None, "absent")
    for bad in ("", "..", "a/b", "a:b", "a\nb", "x" * 201):
        same(w.client.create_collection(bad, 3), None, f"name {bad!r}")
    for bad_size in (0, 65_537):
        same(w.client.create_collection(f"{w.user}_bad", bad_size), None, f"size {bad_size}")


@case("UpsertPoints", "Count", "DeletePoints")
def points(w: World) -> None:
    name = made(w)
    uid = str(uuid.uuid4())
    payload = {"text": TEXT, "whole": 7, "part": 0.25, "yes": True, "nothing": None, **DEEP}
    written(w.client.upsert_points(name, [
        {"id": 1, "vector": [1.0, -2.5], "payload": payload},
        {"id": uid.upper(), "vector": [0.5, 0.25]},
        {"id": 2**64 - 1, "vector": [0, 0]},
    ]))  # fmt: skip
    same(w.client.count_points(name), 3)
    one, two = sorted(look(w, name, 1, uid), key=lambda point: str(point.id) != "1")
    same((one.payload, one.vector), (payload, [1.0, -2.5]))
    holds(isinstance(one.payload["whole"], int) and isinstance(one.payload["part"], float), "numbers keep their kind")
    same((two.id, two.payload, two.vector), (uid, {}, [0.5, 0.25]))
    written(w.client.upsert_points(name, [{"id": 1, "vector": [0, 1], "payload": {"new": 1}}]))
    same((look(w, name, 1)[0].payload, look(w, name, 1)[0].vector), ({"new": 1}, [0, 1]), "replaced whole")
    written(w.client.delete_points(name, [1, uid, 404]))
    same(w.client.count_points(name), 1)
    same(look(w, name, 1, uid), [])


@case("UpsertPoints", "Search", "DeletePoints", "Count")
def bad_points(w: World) -> None:
    name = made(w)
    good = {"id": 1, "vector": [1.0, 2.0]}
    for bad in ([], [1.0], [1.0, 2.0, 3.0], [math.nan, 1.0], [math.inf, 1.0]):
        same(w.client.upsert_points(name, [good, {"id": 2, "vector": bad}]), None, f"vector {bad}")
        same(w.client.search(name, bad), None, f"vector {bad}")
    for bad_id in ("", "1", "word", None):
        same(w.client.upsert_points(name, [{"id": bad_id, "vector": [1.0, 2.0]}]), None, f"id {bad_id!r}")
    same(w.client.upsert_points(name, []), None, "none")
    same(w.client.upsert_points("absent", [good]), None, "absent")
    same(w.client.delete_points(name, []), None, "none")
    same(w.client.count_points(name), 0, "nothing was written")
    same(w.client.count_points("absent"), None, "absent")


@case("UpsertPoints", "Count")
def many_points(w: World) -> None:
    name = made(w, 64)
    for part in range(2):
        ids = range(part * 5000, part * 5000 + 5000)
        written(w.client.upsert_points(name, [{"id": i, "vector": [i % 7] * 64, "payload": {"n": i}} for i in ids]))
    same(w.client.count_points(name), 10_000)
    same(w.engine.count(full(w, name)).count, 10_000)
    same(w.client.upsert_points(name, [{"id": i, "vector": [0] * 64} for i in range(10_001)]), None, "too many")


@case("Search")
def search(w: World) -> None:
    name = filled(w)
    results = w.client.search(name, [1.0, 0.0], limit=3, with_vectors=True)
    same(found(results), [9, 8, 7])
    best = {"score": 9.0, "id": 9, "payload": {"n": 9, "odd": True, "k": "k9"}, "vector": [9.0, 1.0]}
    same(results[0], best)
    engine = w.engine.query_points(full(w, name), query=[1.0, 0.0], limit=3).points
    same([(point.id, point.score) for point in engine], [(r["id"], r["score"]) for r in results])
    bare = w.client.search(name, [0.0, 1.0], limit=1, with_payload=False)
    same(bare, [{"score": 9.0, "id": 1, "payload": None, "vector": None}])
    same(found(w.client.search(name, [0.0, 1.0], score_threshold=7.5)), [1, 2])
    same(len(w.client.search(name, [1.0, 0.0])), 9)
    same(w.client.search(name, [1.0, 0.0], limit=10_001), None, "too many")
    same(w.client.search("absent", [1.0, 0.0]), None)
    cosine = made(w, 2, "Cosine", "_cosine")
    w.client.upsert_points(cosine, [{"id": 1, "vector": [3.0, 4.0]}])
    result = w.client.search(cosine, [6.0, 8.0], with_vectors=True)[0]
    between(result["score"], 0.99999, 1.00001, "the score")
    between(math.hypot(*result["vector"]), 0.99999, 1.00001, "the length of the stored vector")


@case("Search")
def search_with_filter(w: World) -> None:
    name = made(w)
    berlin, paris = {"lat": 52.52, "lon": 13.4}, {"lat": 48.86, "lon": 2.35}
    points = [
        {
            "id": 1,
            "vector": [1, 0],
            "payload": {"city": "Berlin", "n": 1, "ok": True, "tags": ["a", "b"], "at": berlin},
        },
        {
            "id": 2,
            "vector": [2, 0],
            "payload": {"city": "Paris", "n": 2, "ok": False, "tags": ["b"], "at": paris, "o": {"p": 1}},
        },
        {"id": 3, "vector": [3, 0], "payload": {"city": "Rome", "n": 3, "ok": True}},
    ]
    written(w.client.upsert_points(name, points))

    def by(conditions: Any, **more: Any) -> list[Any]:
        return found(w.client.search_with_filter(name, [1.0, 0.0], filter_conditions=conditions, **more))

    def must(field: str, **condition: Any) -> dict[str, Any]:
        return {"must": [{"field": field, **condition}]}

    same(by(None), [3, 2, 1])
    same(by(must("city", match={"keyword": "Paris"})), [2])
    same(by(must("n", match={"integer": 3})), [3])
    same(by(must("ok", match={"boolean": True})), [3, 1])
    same(by(must("tags", match={"keyword": "b"})), [2, 1])
    same(by(must("o.p", match={"integer": 1})), [2])
    same(by(must("n", range={"gt": 1, "lte": 3})), [3, 2])
    same(by(must("n", range={"gte": 2, "lt": 3})), [2])
    circle = {"center": {"lat": 52.5, "lon": 13.4}, "radius_meters": 10_000.0}
    same(by(must("at", geo_radius=circle)), [1])
    box = {"top_left": {"lat": 50.0, "lon": 0.0}, "bottom_right": {"lat": 45.0, "lon": 5.0}}
    same(by(must("at", geo_bounding_box=box)), [2])
    rome = {"field": "city", "match": {"keyword": "Rome"}}
    berlin_is = {"field": "city", "match": {"keyword": "Berlin"}}
    same(by({"should": [rome, berlin_is]}), [3, 1])
    same(by({"must_not": [rome]}), [2, 1])
    same(by({"must": [{"field": "ok", "match": {"boolean": True}}], "must_not": [rome]}), [1])
    same(by(None, offset=1, limit=1), [2])
    same(by(None, score_threshold=2.5), [3])
    same(by(None, params={"exact": True, "hnsw_ef": 32}), [3, 2, 1])
    same(w.client.search_with_filter(name, [1.0, 0.0], params={"exactly": True}), None, "params")
    same(w.client.search_with_filter(name, [1.0, 0.0], filter_conditions=must("n")), None, "no condition")
    same(w.client.search_with_filter(name, [1.0, 0.0], filter_conditions=must("n", range={})), None, "no end")


@case("Recommend")
def recommend(w: World) -> None:
    name = filled(w)
    same(found(w.client.recommend(name, [9], [1], limit=2)), [8, 7])
    same(found(w.client.recommend(name, [1], limit=1)), [2])
    odd = {"must": [{"field": "odd", "match": {"boolean": True}}]}
    same(found(w.client.recommend(name, [9], [1], filter_conditions=odd, limit=2)), [7, 5])
    same(w.client.recommend(name, [9], limit=1, with_vectors=True)[0]["vector"] is not None, True)
    same(w.client.recommend(name, [404]), None, "an absent point")
    same(w.client.recommend(name, []), None, "none")


@case("Scroll")
def scroll(w: World) -> None:
    name = filled(w)
    seen: list[Any] = []
    offset = None
    while True:
        page = w.client.scroll(name, limit=4, offset_id=offset, with_vectors=True)
        seen += page["points"]
        offset = page["next_offset"]
        if offset is None:
            break
    same([point["id"] for point in seen], list(range(1, 10)))
    same(seen[0], {"id": 1, "payload": {"n": 1, "odd": True, "k": "k1"}, "vector": [1.0, 9.0]})
    odd = {"must": [{"field": "odd", "match": {"boolean": True}}]}
    page = w.client.scroll(name, filter_conditions=odd, with_payload=False)
    same([point["id"] for point in page["points"]], [1, 3, 5, 7, 9])
    same(page["points"][0]["payload"], None)
    uid = "550e8400-e29b-41d4-a716-446655440000"
    written(w.client.upsert_points(name, [{"id": uid, "vector": [0, 0]}]))
    page = w.client.scroll(name, limit=1, offset_id=uid)
    same(([point["id"] for point in page["points"]], page["next_offset"]), ([uid], None))


@case("UpdatePayload", "DeletePayload", "ClearPayload")
def payloads(w: World) -> None:
    name = filled(w)
    written(w.client.update_payload(name, [1, 2], {"new": DEEP, "n": TEXT}))
    same(look(w, name, 1)[0].payload, {"n": TEXT, "odd": True, "k": "k1", "new": DEEP})
    same(look(w, name, 3)[0].payload["n"], 3)
    written(w.client.delete_payload_fields(name, [1], ["new", "odd", "absent"]))
    same(look(w, name, 1)[0].payload, {"n": TEXT, "k": "k1"})
    same(look(w, name, 2)[0].payload["odd"], False)
    written(w.client.clear_payload(name, [1, 2]))
    same([point.payload for point in look(w, name, 1, 2)], [{}, {}])
    same(w.client.update_payload(name, [], {"a": 1}), None, "no ids")
    same(w.client.delete_payload_fields(name, [1], []), None, "no keys")
    same(w.client.clear_payload("absent", [1]), None, "absent")


@case("CreateFieldIndex", "DeleteFieldIndex")
def indexes(w: World) -> None:
    name = filled(w)
    for kind in ("keyword", "integer", "float", "bool", "geo", "text", "datetime", "uuid"):
        written(w.client.create_field_index(name, f"f_{kind}", kind))
    schema = w.engine.get_collection(full(w, name)).payload_schema
    same({field: info.data_type.value for field, info in schema.items()}, {
        f"f_{kind}": kind for kind in ("keyword", "integer", "float", "bool", "geo", "text", "datetime", "uuid")
    })  # fmt: skip
    written(w.client.delete_field_index(name, "f_geo"))
    written(w.client.delete_field_index(name, "f_geo"))
    holds("f_geo" not in w.engine.get_collection(full(w, name)).payload_schema, "the index is there")
    same(w.client.create_field_index(name, "n", "number"), None, "an unknown type")
    same(w.client.create_field_index(name, ""), None, "no field")


@case("CreateSnapshot", "ListSnapshots", "DeleteSnapshot")
def snapshots(w: World) -> None:
    name = filled(w)
    same(w.client.list_snapshots(name), [])
    snapshot = w.client.create_snapshot(name)
    holds(snapshot and names.slug(w.tenant) not in snapshot, f"snapshot {snapshot!r}")
    (listed,) = w.client.list_snapshots(name)
    same(listed["name"], snapshot)
    holds(listed["size_bytes"] > 0 and isinstance(listed["created_at"], datetime), f"snapshot {listed}")
    same(len(w.engine.list_snapshots(full(w, name))), 1)
    same(w.client.delete_snapshot(name, snapshot), True)
    same(w.client.delete_snapshot(name, snapshot), None, "absent")
    same(w.engine.list_snapshots(full(w, name)), [])
    same(w.client.create_snapshot("absent"), None)
