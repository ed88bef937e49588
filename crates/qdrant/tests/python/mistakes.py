"""What is refused, with which status, and that the message names what is wrong."""

import math

import httpx
from qdrant_client import models as m

from common import MODE, REST, refused, same


def mistakes(c):
    c.create_collection("c", vectors_config=m.VectorParams(size=4, distance=m.Distance.DOT))
    c.create_collection(
        "n",
        vectors_config={"a": m.VectorParams(size=2, distance=m.Distance.DOT)},
        sparse_vectors_config={"s": m.SparseVectorParams()},
    )
    good = [1.0, 2.0, 3.0, 4.0]
    c.upsert("c", points=[m.PointStruct(id=1, vector=good, payload={"x": 1})])
    point = lambda **fields: m.PointStruct(**{"id": 1, "vector": good, **fields})
    upsert = lambda **fields: lambda: c.upsert("c", points=[point(id=5), point(**fields)])
    named = lambda vector: lambda: c.upsert("n", points=[m.PointStruct(id=1, vector=vector)])
    dense = m.VectorParams(size=4, distance=m.Distance.DOT)
    create = lambda name, **config: lambda: c.create_collection(name, **{"vectors_config": dense, **config})
    query = lambda q, **rest: lambda: c.query_points("c", query=q, **rest)

    refused(404, "doesn't exist", lambda: c.get_collection("none"))
    refused(404, "none", lambda: c.upsert("none", points=[point()]))
    refused(404, "none", lambda: c.query_points("none", query=good))
    refused(409, "already exists", create("c"))
    # Some of them the client itself does not let into a URL.
    for name in ["a\\b", "a\nb", "x" * 256, "a:b", "a*b"] + ["", "..", "a/b", "a?b"] * (MODE == "grpc"):
        refused(400, "collection_name", create(name))
    refused(400, "vectors.size", create("d", vectors_config=m.VectorParams(size=65537, distance=m.Distance.DOT)))
    refused(400, "../../evil", create("d", vectors_config={"../../evil": dense}))
    refused(400, "ef_construct", create("d", hnsw_config=m.HnswConfigDiff(ef_construct=1_000_000)))
    refused(501, "shard_number", create("d", shard_number=3))
    refused(501, "sharding_method", create("d", sharding_method=m.ShardingMethod.CUSTOM))
    refused(501, "memmap_threshold", create("d", optimizers_config=m.OptimizersConfigDiff(memmap_threshold=1)))
    same(c.collection_exists("d"), False)

    refused(400, "expected dim: 4, got 3", upsert(vector=[1.0, 2.0, 3.0]))
    refused(400, "points[1].vector", upsert(vector=[1.0, 2.0, 3.0]))
    refused(400, "no-such", upsert(vector={"no-such": good}))
    refused(400, "expected dim: 2, got 4", named({"a": good}))
    refused(400, "sparse", named({"s": [1.0, 2.0]}))
    refused(400, "", named([1.0, 2.0]))
    refused(400, "twice", named({"s": m.SparseVector(indices=[1, 1], values=[1.0, 2.0])}))
    refused(400, "2 indices but 1 values", named({"s": m.SparseVector(indices=[1, 2], values=[1.0])}))
    refused(400, "finite", upsert(vector=[1.0, 2.0, 3.0, 1e39]) if MODE == "rest" else upsert(vector=[1.0, 2.0, 3.0, math.nan]))
    refused(400, "not-a-uuid", upsert(id="not-a-uuid"))
    same(c.count("c").count, 1, "a batch with a mistake leaves nothing")

    refused(400, "expected dim: 4, got 2", query([1.0, 2.0]))
    refused(400, "no-such", query(good, using="no-such"))
    refused(400, "limit", query(good, limit=0))
    refused(400, "limit", query(good, limit=10_000_000))
    refused(400, "limit", lambda: c.scroll("c", limit=10_000_000))
    refused(404, "77", query(77))
    refused(400, "fusion", query(m.FusionQuery(fusion=m.Fusion.RRF)))
    refused(501, "formula", lambda: c.query_points(
        "c", prefetch=m.Prefetch(query=good), query=m.FormulaQuery(formula=m.SumExpression(sum=["$score", 1.0]))
    ))
    refused(501, "", lambda: c.query_points_groups("c", query=good, group_by="x"))
    refused(400, "x", lambda: c.scroll("c", order_by="x"))
    refused(400, "x", lambda: c.facet("c", "x"))
    refused(404, "99", lambda: c.set_payload("c", payload={"a": 1}, points=[99]))
    same(c.retrieve("c", [1])[0].payload, {"x": 1})
    refused(501, "shard_key", lambda: c.upsert("c", points=[point()], shard_key_selector="k"))

    # What no well-behaved client sends.
    url = f"http://127.0.0.1:{REST}/collections/c/points"
    for path, body, text in [
        ("/count", '{"filter": {"must": [{"key": "a", "mtch": {"value": 1}}]}}', "says nothing"),
        ("/count", '{"filter": {"musst": []}}', "musst"),
        ("/count", '{"filter": {"must": [{"key": "t", "range": {"gt": "yesterday"}}]}}', "yesterday"),
        ("/count", '{"exakt": true}', "exakt"),
        ("/count", '{"exact": tru', "JSON"),
        ("/count", '[' * 200, "recursion"),
        ("/query", '{"query": {"fusion": "sum"}}', "query.fusion"),
        ("/query", '{"query": {"nearest": {"text": "t", "model": "m"}}}', "inference"),
        ("/query", '{"query": [1, 2, "x", 4]}', "query"),
        ("/scroll", '{"offset": -1}', "offset"),
        ("/scroll", '{"limit": 0}', "limit"),
        ("/delete", '{}', "points"),
    ]:
        answer = httpx.post(url + path, content=body, headers={"content-type": "application/json"})
        expected = 501 if text == "inference" else 400
        same(answer.status_code, expected, f"{path} {body[:60]}: {answer.text}")
        assert text in answer.json()["status"]["error"], f"{path} {body[:60]}: {answer.text}"
    body = {"payload": {"a": 1}, "points": [1], "key": "y"}
    same(httpx.put(url + "/payload", json=body).status_code, 501)
    same(httpx.get(url + "/77").status_code, 404)
    same(httpx.get(url + "/x").status_code, 400)
    same(httpx.get(url + "/1").json()["result"]["vector"], good)
    deep = {"key": "x", "match": {"value": 1}}
    for _ in range(40):
        deep = {"must": [deep]}
    answer = httpx.post(url + "/count", json={"filter": deep})
    same(answer.status_code, 400, answer.text)
    # It is all still there.
    same(c.count("c").count, 1)
