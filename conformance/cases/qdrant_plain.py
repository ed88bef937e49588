"""Qdrant by plain gRPC: what the published client does not have, tenants, and statuses."""

from typing import Any

from grpc import StatusCode

from conformance import names
from conformance.case import cases, has, holds, refused, same
from conformance.world import World

case = cases("qdrant", "plain")
INVALID = StatusCode.INVALID_ARGUMENT
UUID = "550e8400-e29b-41d4-a716-446655440000"


def full(w: World, name: str) -> str:
    return names.qdrant_collection(w.tenant, name)


def point(number: int, *data: float, **payload: Any) -> dict[str, Any]:
    return {"num_id": number, "vector": {"data": list(data)}, "payload": payload}


def filled(w: World, name: str = "c") -> str:
    """Nine points, 1 to 9, each along another direction."""
    w.call("CreateCollection", collection_name=name, vector_params={"size": 2, "distance": "DISTANCE_DOT"})
    points = [point(i, i, 10 - i, n=i, odd=i % 2 == 1) for i in range(1, 10)]
    written = w.call("UpsertPoints", collection_name=name, points=points, wait=True, ordering="medium")
    same((written.status, written.operation_id.isdigit(), written.metadata.success), ("completed", True, True))
    return name


def ids(points: Any) -> list[Any]:
    return [found.num_id or found.str_id for found in points]


def numbers(*them: int) -> list[dict[str, Any]]:
    return [{"num": number} for number in them]


@case("CreateCollection", "GetCollectionInfo")
def settings(w: World) -> None:
    image = {
        "size": 4,
        "distance": "DISTANCE_EUCLID",
        "hnsw_config": {"m": 24, "ef_construct": 64},
        "quantization_config": {"scalar": {"type": "INT8", "quantile": 0.99, "always_ram": True}},
    }
    named = {"params": {"image": image, "text": {"size": 3, "distance": "DISTANCE_COSINE"}}}
    w.call(
        "CreateCollection",
        collection_name="n",
        named_vector_params=named,
        on_disk_payload=True,
        sparse_vectors=["words"],
    )
    params = w.engine.get_collection(full(w, "n")).config.params
    same((params.vectors["image"].size, params.vectors["image"].hnsw_config.m), (4, 24))
    same(params.vectors["image"].quantization_config.scalar.quantile is not None, True)
    same(("words" in params.sparse_vectors, params.on_disk_payload), (True, True))
    info = w.call("GetCollectionInfo", collection_name="n").info
    same(info.config["params"]["vectors"]["image"]["size"], 4)
    same(info.config["params"]["vectors"]["text"]["distance"], "Cosine")
    same(info.optimizer_status["status"], "ok")
    refused(
        StatusCode.ALREADY_EXISTS, lambda: w.call("CreateCollection", collection_name="n", named_vector_params=named)
    )
    refused(INVALID, lambda: w.call("CreateCollection", collection_name="x"), "vectors_config")
    bad = {"size": 4, "distance": "DISTANCE_UNKNOWN"}
    refused(INVALID, lambda: w.call("CreateCollection", collection_name="x", vector_params=bad), "distance")
    refused(StatusCode.NOT_FOUND, lambda: w.call("GetCollectionInfo", collection_name="x"), "x")


@case("UpdateCollection")
def update(w: World) -> None:
    name = filled(w)
    same(
        w.call(
            "UpdateCollection", collection_name=name, optimizers_config=5000, params={"hnsw_config": {"m": 32}}
        ).success,
        True,
    )
    config = w.engine.get_collection(full(w, name)).config
    same((config.optimizer_config.indexing_threshold, config.hnsw_config.m), (5000, 32))
    refused(
        INVALID, lambda: w.call("UpdateCollection", collection_name=name, params={"unknown": 1}), "params", "unknown"
    )
    refused(INVALID, lambda: w.call("UpdateCollection", collection_name=name), "params")


@case("CreateCollectionAlias", "Count", "ListCollections", "DeleteCollection")
def aliases(w: World) -> None:
    filled(w, "one")
    w.call("CreateCollection", collection_name="two", vector_params={"size": 2, "distance": "DISTANCE_DOT"})
    same(w.call("CreateCollectionAlias", collection_name="one", alias_name="now").success, True)
    same(w.call("Count", collection_name="now").count, 9)
    same(w.call("CreateCollectionAlias", collection_name="two", alias_name="now").success, True)
    same(w.call("Count", collection_name="now").count, 0)
    same([c.name for c in w.call("ListCollections").collections], ["one", "two"])
    aliases = [(alias.alias_name, alias.collection_name) for alias in w.engine.get_aliases().aliases]
    holds((full(w, "now"), full(w, "two")) in aliases, f"aliases {aliases}")
    refused(StatusCode.NOT_FOUND, lambda: w.call("CreateCollectionAlias", collection_name="x", alias_name="now"))
    refused(StatusCode.ALREADY_EXISTS, lambda: w.call("CreateCollectionAlias", collection_name="one", alias_name="two"))
    refused(INVALID, lambda: w.call("DeleteCollection", collection_name="now"), "alias")


@case("GetPoints", "UpsertPoints", "DeletePoints")
def points(w: World) -> None:
    name = filled(w)
    wanted = [{"num": 3}, {"num": 404}, {"num": 1}]
    found = w.call("GetPoints", collection_name=name, ids=wanted, with_vectors=True).points
    same(ids(found), [3, 1], "in the order asked")
    same((dict(found[0].payload), list(found[0].vector.data)), ({"n": 3, "odd": True}, [3, 7]))
    bare = w.call("GetPoints", collection_name=name, ids=numbers(1), with_payload=False).points[0]
    same((bare.HasField("payload"), bare.HasField("vector")), (False, False))
    odd = {"must": [{"field": "odd", "match": {"boolean": True}}]}
    w.call("DeletePoints", collection_name=name, filter=odd, wait=True)
    same(w.engine.count(full(w, name)).count, 4)
    for selector in ({}, {"ids": {"ids": []}}, {"filter": {}}, {"filter": {"must": [{"field": "n"}]}}):
        refused(INVALID, lambda selector=selector: w.call("DeletePoints", collection_name=name, **selector))
    same(w.engine.count(full(w, name)).count, 4)
    refused(
        INVALID,
        lambda: w.call("UpsertPoints", collection_name=name, points=[{"vector": {"data": [1, 2]}}]),
        "points.0.id",
    )
    refused(INVALID, lambda: w.call("UpsertPoints", collection_name=name, points=[point(1, 1)]), "points.0.vector", "2")
    refused(
        INVALID,
        lambda: w.call("UpsertPoints", collection_name=name, points=[point(1, 1, 2)], ordering="any"),
        "ordering",
    )
    same(
        w.call("UpsertPoints", collection_name=name, points=[point(1, 1, 2)]).status in ("acknowledged", "completed"),
        True,
    )


@case("UpdatePayload", "DeletePayload", "ClearPayload")
def payloads_by_filter(w: World) -> None:
    name = filled(w)
    odd = {"must": [{"field": "odd", "match": {"boolean": True}}]}
    w.call("UpdatePayload", collection_name=name, filter=odd, payload={"new": 1.5}, wait=True)
    w.call("DeletePayload", collection_name=name, filter=odd, keys=["n"], wait=True)
    (one, two) = w.engine.retrieve(full(w, name), [1, 2])
    same((one.payload, two.payload), ({"odd": True, "new": 1.5}, {"odd": False, "n": 2}))
    w.call("ClearPayload", collection_name=name, filter=odd, wait=True)
    (one, two) = w.engine.retrieve(full(w, name), [1, 2])
    same((one.payload, two.payload), ({}, {"odd": False, "n": 2}))


@case("SearchBatch", "Search")
def batch(w: World) -> None:
    name = filled(w)
    searches = [
        {"vector": {"data": [1, 0]}, "limit": 1},
        {"vector": {"data": [0, 1]}, "limit": 2, "with_payload": False},
    ]
    results = w.call("SearchBatch", collection_name=name, searches=searches).results
    same([ids(hit.point for hit in result.result) for result in results], [[9], [1, 2]])
    same([result.result[0].point.HasField("payload") for result in results], [True, False])
    refused(INVALID, lambda: w.call("SearchBatch", collection_name=name), "searches")
    refused(INVALID, lambda: w.call("SearchBatch", collection_name=name, searches=searches * 51), "searches", "100")
    searches[1]["vector"] = {"data": [1]}
    refused(INVALID, lambda: w.call("SearchBatch", collection_name=name, searches=searches), "searches.1.vector")
    refused(INVALID, lambda: w.call("Search", collection_name=name, vector={"data": [1, 0]}, limit=10_001), "limit")
    refused(
        INVALID, lambda: w.call("Search", collection_name=name, vector={"data": [1, 0]}, vector_name="x"), "vector_name"
    )


@case("Search", "UpsertPoints", "GetPoints")
def named_and_sparse(w: World) -> None:
    named = {"params": {"a": {"size": 2, "distance": "DISTANCE_DOT"}}}
    w.call("CreateCollection", collection_name="n", named_vector_params=named, sparse_vectors=["words"])
    vectors = {"a": {"data": [1, 2]}, "words": {"data": [0.5, 2], "indices": [3, 70_000]}}
    written = {"num_id": 1, "named_vectors": {"vectors": vectors}}
    w.call("UpsertPoints", collection_name="n", points=[written], wait=True)
    (stored,) = w.engine.retrieve(full(w, "n"), [1], with_vectors=True)
    same((stored.vector["a"], stored.vector["words"].indices), ([1, 2], [3, 70_000]))
    (found,) = w.call("GetPoints", collection_name="n", ids=numbers(1), with_vectors=True).points
    same(list(found.named_vectors.vectors["words"].indices), [3, 70_000])
    looking = {"data": [1], "indices": [70_000]}
    (hit,) = w.call("Search", collection_name="n", vector=looking, vector_name="words").result
    same((hit.point.num_id, hit.score), (1, 2.0))
    refused(INVALID, lambda: w.call("Search", collection_name="n", vector={"data": [1, 2]}), "vector_name", "words")


@case("Recommend", "Discover")
def examples(w: World) -> None:
    name = filled(w)
    for strategy in ("", "average_vector", "best_score", "sum_scores"):
        found = w.call(
            "Recommend", collection_name=name, positive=numbers(9), negative=numbers(1), limit=2, strategy=strategy
        ).result
        same(len(found), 2, strategy)
        holds(not {9, 1} & set(ids(hit.point for hit in found)), "examples are in the result")
    refused(StatusCode.NOT_FOUND, lambda: w.call("Recommend", collection_name=name, positive=numbers(404)))
    refused(INVALID, lambda: w.call("Recommend", collection_name=name, positive=numbers(1), strategy="x"), "strategy")
    found = w.call("Discover", collection_name=name, target={"num": 5}, context=numbers(9, 1), limit=3).result
    holds(set(ids(hit.point for hit in found)) == {6, 7, 8}, f"found {ids(hit.point for hit in found)}")
    same(len(w.call("Discover", collection_name=name, context=numbers(9, 1), limit=3).result), 3)
    refused(INVALID, lambda: w.call("Discover", collection_name=name, context=numbers(1)), "context")


@case("Scroll", "Count")
def conditions(w: World) -> None:
    w.call("CreateCollection", collection_name="c", vector_params={"size": 1, "distance": "DISTANCE_DOT"})
    points = [
        point(1, 1, k="red", n=1, tags=["a", "b"], day="2026-01-01T12:00:00Z", parts=[{"kind": "x", "size": 1}]),
        point(
            2,
            1,
            k="green",
            n=2,
            tags=[],
            day="2026-01-02T12:00:00Z",
            parts=[{"kind": "x", "size": 2}, {"kind": "y", "size": 1}],
        ),
        point(3, 1, k="blue", n=3, gone=None),
    ]
    w.call("UpsertPoints", collection_name="c", points=points, wait=True)

    def by(**condition: Any) -> list[int]:
        found = {"must": [condition]}
        scrolled = ids(w.call("Scroll", collection_name="c", filter=found).points)
        same(w.call("Count", collection_name="c", filter=found).count, len(scrolled))
        return scrolled

    same(by(field="k", match={"keywords": {"values": ["red", "blue"]}}), [1, 3])
    same(by(field="n", match={"integers": {"values": [2, 3]}}), [2, 3])
    same(by(field="k", match={"except_keywords": {"values": ["red"]}}), [2, 3])
    same(by(field="n", match={"except_integers": {"values": [1, 2]}}), [3])
    same(by(field="tags", values_count={"gte": 1}), [1])
    same(by(field="day", datetime_range={"gte": "2026-01-02T00:00:00Z", "lt": "2026-01-03T00:00:00Z"}), [2])
    same(by(field="gone", is_null=True), [3])
    same(by(field="tags", is_empty=True), [2, 3])
    same(by(field="tags", is_empty=False), [1])
    same(by(has_id={"ids": numbers(3, 404)}), [3])
    nested = {"must": [{"field": "kind", "match": {"keyword": "x"}}, {"field": "size", "match": {"integer": 1}}]}
    same(by(field="parts", nested=nested), [1])
    same(by(filter={"must_not": [{"field": "k", "match": {"keyword": "red"}}]}), [2, 3])
    two = {
        "conditions": [{"field": "n", "range": {"gte": 2}}, {"field": "k", "match": {"keyword": "blue"}}],
        "min_count": 2,
    }
    same(ids(w.call("Scroll", collection_name="c", filter={"min_should": two}).points), [3])
    refused(INVALID, lambda: by(field="n"), "filter.must.0")
    refused(INVALID, lambda: by(field="n", range={}), "filter.must.0.range")


@case("CreateFieldIndex", "DeleteFieldIndex")
def indexes(w: World) -> None:
    name = filled(w)
    text = {"tokenizer": "whitespace", "lowercase": True, "min_token_len": 2}
    made = w.call(
        "CreateFieldIndex", collection_name=name, field_name="t", field_type="text", field_index_params=text, wait=True
    )
    same(made.status, "completed")
    w.call("CreateFieldIndex", collection_name=name, field_name="k", wait=True)
    schema = w.engine.get_collection(full(w, name)).payload_schema
    same((schema["t"].params.tokenizer.value, schema["k"].data_type.value), ("whitespace", "keyword"))
    w.call("DeleteFieldIndex", collection_name=name, field_name="k", wait=True)
    same(set(w.engine.get_collection(full(w, name)).payload_schema), {"t"})
    wrong = {"lookup": True}
    refused(
        INVALID,
        lambda: w.call("CreateFieldIndex", collection_name=name, field_name="x", field_index_params=wrong),
        "lookup",
    )


@case("CreateSnapshot", "ListSnapshots", "DeleteSnapshot")
def snapshots(w: World) -> None:
    name = filled(w)
    made = w.call("CreateSnapshot", collection_name=name)
    holds(made.snapshot_name and w.slug not in made.snapshot_name, f"snapshot {made.snapshot_name!r}")
    (listed,) = w.call("ListSnapshots", collection_name=name).snapshots
    same((listed.name, listed.size_bytes > 0, listed.created_at.seconds > 0), (made.snapshot_name, True, True))
    other = w.other()
    refused(StatusCode.NOT_FOUND, lambda: other.call("ListSnapshots", collection_name=name))
    same(w.call("DeleteSnapshot", collection_name=name, snapshot_name=made.snapshot_name).success, True)
    refused(
        StatusCode.NOT_FOUND, lambda: w.call("DeleteSnapshot", collection_name=name, snapshot_name=made.snapshot_name)
    )


@case("ListCollections", "GetCollectionInfo", "Search", "DeleteCollection")
def tenants(w: World) -> None:
    name = filled(w)
    other = w.other()
    same([c.name for c in other.call("ListCollections").collections], [])
    for theirs in (name, full(w, name)):
        refused(StatusCode.NOT_FOUND, lambda theirs=theirs: other.call("GetCollectionInfo", collection_name=theirs))
        refused(
            StatusCode.NOT_FOUND,
            lambda theirs=theirs: other.call("Search", collection_name=theirs, vector={"data": [1, 0]}),
        )
        refused(StatusCode.NOT_FOUND, lambda theirs=theirs: other.call("DeleteCollection", collection_name=theirs))
    same(w.call("Count", collection_name=name).count, 9)


@case("HealthCheck", "GetClusterInfo")
def monitoring(w: World) -> None:
    health = w.call("HealthCheck")
    same((health.healthy, health.version), (True, w.engine.info().version))
    cluster = w.call("GetClusterInfo").cluster_info
    holds(cluster["status"] in ("enabled", "disabled") and cluster["peer_count"] >= 1, f"cluster {cluster}")
    has(str(cluster), "peers")
