"""Qdrant by the published async client: its calls for many searches and writes at once."""

from conformance.case import cases, same
from conformance.cases.qdrant_published import filled, found, full, written
from conformance.world import World

case = cases("qdrant", "async")


@case("Search", "UpsertPoints")
def at_once(w: World) -> None:
    name = filled(w)
    results = w.client.search_many_concurrent(name, [[1.0, 0.0], [0.0, 1.0]] * 20, limit=1)
    same([found(result)[0] for result in results], [9, 1] * 20)
    batches = [[{"id": 100 * part + i, "vector": [1, 1]} for i in range(50)] for part in range(1, 9)]
    for operation in w.client.upsert_points_concurrent(name, batches):
        written(operation)
    same(w.engine.count(full(w, name)).count, 9 + 8 * 50)
