"""What is refused, with which status, and that the message names what is wrong."""

import math

import httpx
from qdrant_client import models as m

from common import MODE, REST, refused, same


def queries(c, good):
    """Of the collections `c` and `n`."""

    def query(q, **rest):
        return lambda: c.query_points("c", query=q, **rest)

    def formula(f, **rest):
        return query(m.FormulaQuery(formula=f, **rest), prefetch=m.Prefetch(query=good))

    def groups(**rest):
        return lambda: c.query_points_groups("c", **{"query": good, "group_by": "x", **rest})

    def params(**fields):
        return query(good, search_params=m.SearchParams(**fields))

    def mmr(**fields):
        return query(m.NearestQuery(nearest=good, mmr=m.Mmr(**fields)))

    def recommend(strategy, **examples):
        return query(m.RecommendQuery(recommend=m.RecommendInput(strategy=strategy, **examples)))

    prefetch = m.Prefetch(query=good)
    rrf = m.FusionQuery(fusion=m.Fusion.RRF)
    elsewhere = m.LookupLocation(collection="none")
    refused(400, "Can't have prefetches without", query(None, prefetch=prefetch))
    refused(400, "without defining a query", query(None, score_threshold=0.5))
    refused(400, "with an order_by query", query(m.OrderByQuery(order_by="x"), score_threshold=0.5))
    refused(400, "No range index for `order_by` key: `x`", query(m.OrderByQuery(order_by="x")))
    refused(400, "'using' field", query(rrf, prefetch=prefetch, using="a"))
    refused(400, "got 2, expected 1", query(m.RrfQuery(rrf=m.Rrf(weights=[1.0, 2.0])), prefetch=prefetch))
    refused(400, "rrf.k", query(m.RrfQuery(rrf=m.Rrf(k=0)), prefetch=prefetch))
    refused(400, "Formula", query(m.FormulaQuery(formula=1.0)))
    refused(400, "$nothing", formula("$nothing"))
    refused(400, "constant" if MODE == "grpc" else "formula", formula(m.MultExpression(mult=[1e39])))
    refused(400, "midpoint", formula(m.ExpDecayExpression(exp_decay=m.DecayParamsExpression(x=1.0, midpoint=2.0))))
    refused(400, "non-finite", formula(m.LnExpression(ln=-1.0)))
    if MODE == "rest":  # the client does not convert such a condition
        refused(400, "says nothing", formula(m.FieldCondition(key="x")))
    refused(400, "1000 expressions", formula(m.SumExpression(sum=[1.0] * 1001)))
    refused(501, "max", formula(m.MaxExpression(max=[1.0, 2.0])))
    deep = prefetch
    for _ in range(12):
        deep = m.Prefetch(prefetch=[deep], query=good)
    refused(400, "prefetch", query(good, prefetch=deep))
    refused(400, "prefetch", query(rrf, prefetch=[prefetch] * 65))
    refused(400, "together", query(rrf, prefetch=[m.Prefetch(query=good, limit=100_000)] * 11))
    refused(400, "hnsw_ef", params(hnsw_ef=10**9))
    refused(400, "oversampling", params(quantization=m.QuantizationSearchParams(oversampling=1e9)))
    refused(400, "oversampling", params(quantization=m.QuantizationSearchParams(oversampling=0.5)))
    refused(400, "max_selectivity", params(acorn=m.AcornSearchParams(enable=True, max_selectivity=2.0)))
    refused(501, "idf", params(idf=m.IdfCorpusParams(corpus=m.Filter())))
    refused(400, "diversity", mmr(diversity=2.0))
    refused(400, "candidates_limit", mmr(candidates_limit=100_000))
    sparse = m.SparseVector(indices=[1], values=[1.0])
    refused(501, "sparse", lambda: c.query_points("n", query=m.NearestQuery(nearest=sparse, mmr=m.Mmr()), using="s"))
    refused(400, "positive", recommend(None, negative=[good]))
    refused(400, "positive", recommend(m.RecommendStrategy.BEST_SCORE))
    refused(400, "dim: 4, got 2", recommend(None, positive=[good], negative=[[1.0, 2.0]]))
    refused(404, "No point with id 77 found", recommend(None, positive=[77]))
    refused(400, "1000", recommend(m.RecommendStrategy.SUM_SCORES, positive=[good] * 1001))
    refused(404, "`none`", query(1, lookup_from=elsewhere))
    c.query_points("c", query=good, lookup_from=elsewhere)  # of which nothing is asked
    refused(400, "Not existing vector name", query(1, lookup_from=m.LookupLocation(collection="n")))
    refused(400, "no-such", query(1, lookup_from=m.LookupLocation(collection="c", vector="no-such")))
    refused(404, "77", query(77, lookup_from=m.LookupLocation(collection="n", vector="a")))
    feedback = [m.FeedbackItem(example=good, score=1.0)] * 65
    naive = m.NaiveFeedbackStrategy(naive=m.NaiveFeedbackStrategyParams(a=1.0, b=1.0, c=1.0))
    refused(400, "65", query(m.RelevanceFeedbackQuery(relevance_feedback=m.RelevanceFeedbackInput(
        target=good, feedback=feedback, strategy=naive
    ))))
    refused(400, "group_by", groups(group_by="a[") if MODE == "grpc" else groups(group_by=""))
    refused(400, "group_size", groups(group_size=0))
    refused(400, "limit", groups(limit=0))
    refused(400, "limit * group_size", groups(limit=1000, group_size=1000))
    refused(404, "`none`", groups(with_lookup="none"))
    same(groups()().groups[0].id, 1)
    matrix = lambda **rest: lambda: c.search_matrix_pairs("c", **rest)
    refused(400, "sample", matrix(sample=100_000))
    refused(400, "limit", matrix(limit=0))
    refused(400, "no-such", matrix(using="no-such"))
    same(matrix()().pairs, [], "of one point")
    refused(404, "none", lambda: c.search_matrix_offsets("none"))
    refused(400, "all searches", lambda: c.query_batch_points("c", [m.QueryRequest(query=good, limit=100_000)] * 11))
    refused(400, "No appropriate index", lambda: c.facet("c", "x"))
    refused(400, "limit", lambda: c.facet("c", "x", limit=0))
    refused(400, "start_from", lambda: c.scroll("c", order_by="x", offset=1))
    place = m.GeoRadius(center=m.GeoPoint(lon=0.0, lat=0.0), radius=-1.0)
    refused(400, "radius", query(good, query_filter=m.Filter(must=[m.FieldCondition(key="x", geo_radius=place)])))


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
    queries(c, good)
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
