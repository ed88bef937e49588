"""Everything that is answered, compared with values computed here."""

import datetime
import math
import uuid

import httpx
import numpy as np
from qdrant_client import models as m

from common import DIM, REST, eventually, ranking, same, unit

RNG = np.random.default_rng(7)
COUNT = 300

DISTANCES = {
    "cosine": (m.Distance.COSINE, lambda a, b: float(np.dot(unit(a), unit(b))), True),
    "dot": (m.Distance.DOT, lambda a, b: float(np.dot(a, b)), True),
    "euclid": (m.Distance.EUCLID, lambda a, b: float(np.linalg.norm(a - b)), False),
    "manhattan": (m.Distance.MANHATTAN, lambda a, b: float(np.abs(a - b).sum()), False),
}


def point_id(i):
    return i if i % 3 else str(uuid.UUID(int=i + 1))


def payload(i):
    result = {
        "n": i,
        "group": f"g{i % 5}",
        "price": i * 0.25,
        "flag": i % 2 == 0,
        "tags": [f"t{i % 4}", f"t{i % 7}"],
        "when": (datetime.datetime(2024, 1, 1) + datetime.timedelta(days=i)).isoformat() + "Z",
        "place": {"lon": 10 + (i % 20) * 0.1, "lat": 50 + (i % 10) * 0.1},
        "text": "the quick brown fox" if i % 3 == 0 else "a lazy dog sleeps",
        "parts": [{"name": f"p{i % 3}", "size": i % 10}, {"name": "q", "size": i % 4}],
        "none": None,
        "empty": [],
        "unicode": "żółć 漢字 🦀",
        "large": 2**53 + i,
        # Of as many digits as a double has: none may be lost, on the way or on the disk.
        "double": math.pi * 10.0 ** (i % 40 - 20) * (i + 1 / 3),
    }
    if i % 6 == 0:
        result["rare"] = i
    return result


def contract(c):
    same(c.get_collections().collections, [])
    same(c.collection_exists("plain"), False)
    assert httpx.get(f"http://127.0.0.1:{REST}/").json()["version"].startswith("1.")
    distances(c)
    plain(c)
    sparse(c)
    multi(c)
    optimizer(c)
    configuration(c)


def distances(c):
    vectors = RNG.standard_normal((COUNT, DIM)).astype(np.float32)
    query = RNG.standard_normal(DIM).astype(np.float32)
    params = {name: m.VectorParams(size=DIM, distance=d) for name, (d, _, _) in DISTANCES.items()}
    c.create_collection("named", vectors_config=params)
    for start in range(0, COUNT, 100):
        batch = range(start, start + 100)
        c.upsert(
            "named",
            m.Batch(
                ids=[point_id(i) for i in batch],
                vectors={name: [vectors[i].tolist() for i in batch] for name in DISTANCES},
                payloads=[payload(i) for i in batch],
            ),
        )
    same(c.count("named").count, COUNT)
    for name, (_, distance, largest) in DISTANCES.items():
        scores = {point_id(i): distance(vectors[i], query) for i in range(COUNT)}
        hits = c.query_points("named", query=query.tolist(), using=name, limit=10).points
        ranking(hits, scores, 10, largest, name)
        offset = c.query_points("named", query=query.tolist(), using=name, limit=5, offset=5).points
        same([p.id for p in offset], [p.id for p in hits[5:]], name)
        threshold = hits[6].score
        above = c.query_points("named", query=query.tolist(), using=name, limit=10, score_threshold=threshold).points
        assert [p.id for p in above] in ([p.id for p in hits[:6]], [p.id for p in hits[:7]]), name
        even = m.Filter(must=[m.FieldCondition(key="flag", match=m.MatchValue(value=True))])
        filtered = {point_id(i): scores[point_id(i)] for i in range(0, COUNT, 2)}
        hits = c.query_points("named", query=query.tolist(), using=name, limit=10, query_filter=even).points
        ranking(hits, filtered, 10, largest, f"{name}, filtered")
    # Stored as given, but for cosine, for which they are normalised.
    point = c.retrieve("named", [point_id(5)], with_vectors=True)[0]
    np.testing.assert_array_equal(np.float32(point.vector["dot"]), vectors[5])
    np.testing.assert_allclose(point.vector["cosine"], unit(vectors[5]), rtol=1e-5)
    same(set(c.retrieve("named", [point_id(5)], with_vectors=["dot"])[0].vector), {"dot"})
    # The old searches.
    scores = {point_id(i): DISTANCES["dot"][1](vectors[i], query) for i in range(COUNT)}
    body = {"vector": {"name": "dot", "vector": query.tolist()}, "limit": 4, "with_payload": ["n"]}
    answer = httpx.post(f"http://127.0.0.1:{REST}/collections/named/points/search", json=body).json()
    best = sorted(scores, key=scores.get, reverse=True)[:4]
    same([p["id"] for p in answer["result"]], best)
    same(set(answer["result"][0]["payload"]), {"n"})
    body = {"searches": [body, {**body, "limit": 2}]}
    answer = httpx.post(f"http://127.0.0.1:{REST}/collections/named/points/search/batch", json=body).json()
    same([[p["id"] for p in hits] for hits in answer["result"]], [best, best[:2]])
    # Vectors alone.
    c.update_vectors("named", [m.PointVectors(id=point_id(5), vector={"dot": [1.0] * DIM})])
    point = c.retrieve("named", [point_id(5)], with_vectors=True)[0]
    same(point.vector["dot"], [1.0] * DIM)
    np.testing.assert_array_equal(np.float32(point.vector["euclid"]), vectors[5])
    c.delete_vectors("named", vectors=["dot"], points=[point_id(5)])
    same(set(c.retrieve("named", [point_id(5)], with_vectors=True)[0].vector), {"cosine", "euclid", "manhattan"})
    has_dot = m.Filter(must=[m.HasVectorCondition(has_vector="dot")])
    same(c.count("named", count_filter=has_dot).count, COUNT - 1)


def plain(c):
    vectors = RNG.standard_normal((COUNT, DIM)).astype(np.float32)
    assert c.create_collection("plain", vectors_config=m.VectorParams(size=DIM, distance=m.Distance.COSINE))
    same(c.collection_exists("plain"), True)
    points = [m.PointStruct(id=point_id(i), vector=vectors[i].tolist(), payload=payload(i)) for i in range(COUNT)]
    for wait in (True, False):
        done = c.upsert("plain", points=points, wait=wait)
        same(done.status, m.UpdateStatus.COMPLETED)
    same(c.count("plain").count, COUNT)
    everything = c.retrieve("plain", [point_id(i) for i in range(COUNT)])
    same({p.id: p.payload for p in everything}, {point_id(i): payload(i) for i in range(COUNT)})
    same(c.retrieve("plain", [point_id(1)], with_payload=False)[0].payload in (None, {}), True)
    same(c.retrieve("plain", [9999, point_id(2), point_id(4)])[0].id, point_id(2))

    filters(c, "without an index")
    indexes = {
        "n": m.PayloadSchemaType.INTEGER,
        "group": m.KeywordIndexParams(type="keyword", is_tenant=True),
        "price": m.PayloadSchemaType.FLOAT,
        "flag": m.PayloadSchemaType.BOOL,
        "tags": m.PayloadSchemaType.KEYWORD,
        "when": m.PayloadSchemaType.DATETIME,
        "place": m.PayloadSchemaType.GEO,
        "text": m.TextIndexParams(
            type="text", tokenizer=m.TokenizerType.WORD, lowercase=True, stopwords=m.Language.ENGLISH
        ),
    }
    for field, schema in indexes.items():
        same(c.create_payload_index("plain", field, schema).status, m.UpdateStatus.COMPLETED)
    schema = c.get_collection("plain").payload_schema
    same(set(schema), set(indexes))
    same(schema["n"].data_type, m.PayloadSchemaType.INTEGER)
    same(schema["n"].points, COUNT)
    same(schema["group"].params.is_tenant, True)
    same(schema["text"].params.tokenizer, m.TokenizerType.WORD)
    filters(c, "with an index")
    words = m.Filter(must=[m.FieldCondition(key="text", match=m.MatchText(text="brown FOX"))])
    same(c.count("plain", count_filter=words).count, COUNT // 3)

    scrolling(c)
    queries(c, vectors)
    facets = c.facet("plain", "group", exact=True).hits
    same({hit.value: hit.count for hit in facets}, {f"g{i}": COUNT // 5 for i in range(5)})
    c.delete_payload_index("plain", "price")
    assert "price" not in c.get_collection("plain").payload_schema
    payloads(c)
    deletions(c)
    same(c.delete_collection("plain"), True)
    same(c.delete_collection("plain"), False)
    same(c.collection_exists("plain"), False)


def filters(c, what):
    def field(key, **condition):
        return m.FieldCondition(key=key, **condition)

    day = datetime.datetime(2024, 3, 1, tzinfo=datetime.timezone.utc)
    conditions = [
        (field("group", match=m.MatchValue(value="g2")), lambda p: p["group"] == "g2"),
        (field("n", match=m.MatchAny(any=[3, 5, 9999])), lambda p: p["n"] in (3, 5)),
        (field("group", match=m.MatchExcept(**{"except": ["g0", "g1"]})), lambda p: p["group"] not in ("g0", "g1")),
        (field("n", range=m.Range(gte=10, lt=20)), lambda p: 10 <= p["n"] < 20),
        (field("price", range=m.Range(gt=1.5, lte=2.5)), lambda p: 1.5 < p["price"] <= 2.5),
        (field("when", range=m.DatetimeRange(lt=day)), lambda p: p["when"] < "2024-03-01"),
        (field("tags", match=m.MatchValue(value="t6")), lambda p: "t6" in p["tags"]),
        (field("tags[]", match=m.MatchValue(value="t3")), lambda p: "t3" in p["tags"]),
        (field("flag", match=m.MatchValue(value=False)), lambda p: not p["flag"]),
        (field("parts", values_count=m.ValuesCount(gte=2)), lambda p: True),
        (m.IsEmptyCondition(is_empty=m.PayloadField(key="rare")), lambda p: "rare" not in p),
        (m.IsNullCondition(is_null=m.PayloadField(key="none")), lambda p: True),
        (m.HasIdCondition(has_id=[point_id(3), point_id(4), 10**9]), lambda p: p["n"] in (3, 4)),
        (
            m.NestedCondition(
                nested=m.Nested(
                    key="parts",
                    filter=m.Filter(
                        must=[
                            field("name", match=m.MatchValue(value="q")),
                            field("size", match=m.MatchValue(value=3)),
                        ]
                    ),
                )
            ),
            lambda p: any(part == {"name": "q", "size": 3} for part in p["parts"]),
        ),
        (
            field("place", geo_bounding_box=m.GeoBoundingBox(
                top_left=m.GeoPoint(lon=10.45, lat=50.55), bottom_right=m.GeoPoint(lon=11.05, lat=50.25)
            )),
            lambda p: 10.45 < p["place"]["lon"] < 11.05 and 50.25 < p["place"]["lat"] < 50.55,
        ),
        (
            field("place", geo_radius=m.GeoRadius(center=m.GeoPoint(lon=10.0, lat=50.0), radius=100.0)),
            lambda p: p["place"] == {"lon": 10.0, "lat": 50.0},
        ),
        (
            field("place", geo_polygon=m.GeoPolygon(exterior=m.GeoLineString(points=[
                m.GeoPoint(lon=lon, lat=lat)
                for lon, lat in [(9.95, 49.95), (10.25, 49.95), (10.25, 50.25), (9.95, 50.25), (9.95, 49.95)]
            ]))),
            lambda p: p["place"]["lon"] < 10.25 and p["place"]["lat"] < 50.25,
        ),
    ]
    everything = [payload(i) for i in range(COUNT)]

    def count(filter):
        return c.count("plain", count_filter=filter, exact=True).count

    for condition, holds in conditions:
        expected = sum(map(holds, everything))
        same(count(m.Filter(must=[condition])), expected, f"{condition} {what}")
        same(count(m.Filter(must_not=[condition])), COUNT - expected, f"not {condition} {what}")
    (a, is_a), (b, is_b), (d, is_d) = conditions[0], conditions[3], conditions[8]
    either = sum(is_a(p) or is_b(p) for p in everything)
    same(count(m.Filter(should=[a, b])), either, what)
    both = sum(is_a(p) and is_d(p) for p in everything)
    same(count(m.Filter(must=[a, m.Filter(must=[d])])), both, what)
    two = sum(is_a(p) + is_b(p) + is_d(p) >= 2 for p in everything)
    same(count(m.Filter(min_should=m.MinShould(conditions=[a, b, d], min_count=2))), two, what)


def scrolling(c):
    seen, offset = [], None
    while True:
        page, offset = c.scroll("plain", limit=70, offset=offset)
        seen += page
        if offset is None:
            break
    same(len(seen), COUNT)
    same({p.id for p in seen}, {point_id(i) for i in range(COUNT)})
    numbers = [p.id for p in seen if isinstance(p.id, int)]
    same(numbers, sorted(numbers))
    some = m.Filter(must=[m.FieldCondition(key="n", range=m.Range(lt=7))])
    page, offset = c.scroll("plain", scroll_filter=some, limit=100, with_payload=["n", "parts[].name"])
    same(offset, None)
    same(sorted(p.payload["n"] for p in page), list(range(7)))
    same({key for p in page for key in p.payload}, {"n", "parts"})
    same(set(page[0].payload["parts"][0]), {"name"})
    page, _ = c.scroll("plain", limit=1, with_payload=m.PayloadSelectorExclude(exclude=["n", "parts"]))
    same({"n", "parts"} & set(page[0].payload), set())
    page, _ = c.scroll("plain", limit=5, order_by=m.OrderBy(key="n", direction=m.Direction.DESC))
    same([p.payload["n"] for p in page], list(range(COUNT - 1, COUNT - 6, -1)))
    page, _ = c.scroll("plain", limit=3, order_by=m.OrderBy(key="n", start_from=42))
    same([p.payload["n"] for p in page], [42, 43, 44])


def queries(c, vectors):
    units = np.array([unit(v) for v in vectors])

    def to(v):
        return {point_id(i): float(np.dot(units[i], unit(v))) for i in range(COUNT)}

    # By the id of a point, which is not itself found.
    scores = to(vectors[8])
    scores.pop(point_id(8))
    ranking(c.query_points("plain", query=point_id(8), limit=6).points, scores, 6, what="by id")
    positive, negative = [3, 7], [11]
    average = units[positive].mean(axis=0)
    target = average + average - units[negative].mean(axis=0)
    recommend = m.RecommendInput(positive=[point_id(i) for i in positive], negative=[point_id(i) for i in negative])
    scores = to(target)
    for i in positive + negative:
        scores.pop(point_id(i))
    ranking(c.query_points("plain", query=m.RecommendQuery(recommend=recommend), limit=6).points, scores, 6, what="avg")
    recommend.strategy = m.RecommendStrategy.SUM_SCORES
    sums = {
        point_id(i): float(sum(units[i] @ units[p] for p in positive) - sum(units[i] @ units[n] for n in negative))
        for i in range(COUNT)
        if i not in positive + negative
    }
    ranking(c.query_points("plain", query=m.RecommendQuery(recommend=recommend), limit=6).points, sums, 6, what="sum")
    recommend.strategy = m.RecommendStrategy.BEST_SCORE
    same(len(c.query_points("plain", query=m.RecommendQuery(recommend=recommend), limit=6).points), 6)
    context = [m.ContextPair(positive=point_id(1), negative=point_id(2))]
    discover = m.DiscoverQuery(discover=m.DiscoverInput(target=vectors[4].tolist(), context=context))
    hits = c.query_points("plain", query=discover, limit=5, with_payload=True).points
    for hit in hits:
        i = hit.payload["n"]
        nearer = 1 if units[i] @ units[1] > units[i] @ units[2] else -1
        same(round(hit.score - 0.5), nearer if nearer > 0 else -1, "the integer part is the rank")
    same(len(c.query_points("plain", query=m.ContextQuery(context=context), limit=5).points), 5)

    # Two rankings fused by their ranks.
    first, second = vectors[20] + 0.1, vectors[30] - 0.1
    fused = {}
    for v in (first, second):
        for rank, (i, _) in enumerate(sorted(to(v).items(), key=lambda item: -item[1])[:20]):
            fused[i] = fused.get(i, 0) + 1 / (2 + rank)
    prefetch = [m.Prefetch(query=v.tolist(), limit=20) for v in (first, second)]
    hits = c.query_points("plain", prefetch=prefetch, query=m.FusionQuery(fusion=m.Fusion.RRF), limit=8).points
    ranking(hits, fused, 8, what="fusion")
    hits = c.query_points("plain", prefetch=prefetch, query=m.FusionQuery(fusion=m.Fusion.DBSF), limit=8).points
    same(len(hits), 8)
    # The second stage ranks what the first one found.
    rescored = c.query_points("plain", prefetch=prefetch[:1], query=second.tolist(), limit=5).points
    among = dict(sorted(to(first).items(), key=lambda item: -item[1])[:20])
    ranking(rescored, {i: to(second)[i] for i in among}, 5, what="rescoring")
    diverse = m.NearestQuery(nearest=first.tolist(), mmr=m.Mmr(diversity=0.0, candidates_limit=30))
    hits = c.query_points("plain", query=diverse, limit=5).points
    same([p.id for p in hits], sorted(to(first), key=lambda i: -to(first)[i])[:5], "mmr without diversity")
    hits = c.query_points("plain", query=m.OrderByQuery(order_by="n"), limit=4, with_payload=True).points
    same([p.payload["n"] for p in hits], [0, 1, 2, 3])
    hits = c.query_points("plain", query=m.SampleQuery(sample=m.Sample.RANDOM), limit=50).points
    same(len({p.id for p in hits}), 50)
    hits = c.query_points("plain", limit=3).points
    same([p.id for p in hits], [p.id for p in c.scroll("plain", limit=3)[0]], "without a query by id")
    batch = c.query_batch_points("plain", [
        m.QueryRequest(query=first.tolist(), limit=3),
        m.QueryRequest(query=second.tolist(), limit=2, with_payload=["n"], with_vector=True),
    ])
    same([len(answer.points) for answer in batch], [3, 2])
    same(len(batch[1].points[0].vector), DIM)
    same(set(batch[1].points[0].payload), {"n"})


def payloads(c):
    def get(i):
        return c.retrieve("plain", [point_id(i)])[0].payload

    c.set_payload("plain", payload={"n": -1, "new": {"a": 1}}, points=[point_id(1), point_id(2)])
    same(get(1), {**payload(1), "n": -1, "new": {"a": 1}})
    c.set_payload("plain", payload={"b": 2}, points=[point_id(1)], key="new")
    same(get(1)["new"], {"a": 1, "b": 2})
    g3 = m.Filter(must=[m.FieldCondition(key="group", match=m.MatchValue(value="g3"))])
    c.set_payload("plain", payload={"third": True}, points=g3)
    third = m.Filter(must=[m.FieldCondition(key="third", match=m.MatchValue(value=True))])
    same(c.count("plain", count_filter=third).count, COUNT // 5)
    c.delete_payload("plain", keys=["third"], points=g3)
    same(c.count("plain", count_filter=third).count, 0)
    c.overwrite_payload("plain", payload={"only": 1}, points=[point_id(2)])
    same(get(2), {"only": 1})
    c.clear_payload("plain", points_selector=[point_id(2)])
    same(get(2), {})
    same(c.count("plain", count_filter=m.Filter(must=[m.FieldCondition(key="only", range=m.Range(gte=0))])).count, 0)
    results = c.batch_update_points("plain", update_operations=[
        m.UpsertOperation(upsert=m.PointsList(points=[m.PointStruct(id=7001, vector=[1.0] * DIM, payload={"k": 1})])),
        m.SetPayloadOperation(set_payload=m.SetPayload(payload={"l": 2}, points=[7001])),
        m.DeletePayloadOperation(delete_payload=m.DeletePayload(keys=["k"], points=[7001])),
    ])
    same([r.status for r in results], [m.UpdateStatus.COMPLETED] * 3)
    same(results[2].operation_id - results[0].operation_id, 2)
    same(c.retrieve("plain", [7001])[0].payload, {"l": 2})
    c.batch_update_points("plain", update_operations=[m.DeleteOperation(delete=m.PointIdsList(points=[7001]))])
    same(c.retrieve("plain", [7001]), [])


def deletions(c):
    c.delete("plain", points_selector=[point_id(1), point_id(2), 10**9])
    same(c.count("plain").count, COUNT - 2)
    g4 = m.Filter(must=[m.FieldCondition(key="group", match=m.MatchValue(value="g4"))])
    c.delete("plain", points_selector=m.FilterSelector(filter=g4))
    same(c.count("plain", count_filter=g4).count, 0)
    same(c.count("plain").count, COUNT - 2 - COUNT // 5)


def sparse(c):
    c.create_collection(
        "sparse",
        vectors_config={},
        sparse_vectors_config={"words": m.SparseVectorParams(), "idf": m.SparseVectorParams(modifier=m.Modifier.IDF)},
    )
    rows = []
    for i in range(100):
        # Not in order, which is the engine's business.
        indices = RNG.permutation(50)[: 3 + i % 5].tolist()
        rows.append(dict(zip(indices, RNG.random(len(indices)).astype(np.float32).tolist())))
    c.upsert("sparse", points=[
        m.PointStruct(id=i, vector={
            name: m.SparseVector(indices=list(row), values=list(row.values())) for name in ("words", "idf")
        })
        for i, row in enumerate(rows)
    ])
    query = {40: 0.5, 3: 1.5, 17: 1.0, 22: 0.25}
    vector = m.SparseVector(indices=list(query), values=list(query.values()))
    scores = {i: sum(row[k] * w for k, w in query.items() if k in row) for i, row in enumerate(rows)}
    scores = {i: score for i, score in scores.items() if score > 0}
    hits = c.query_points("sparse", query=vector, using="words", limit=10).points
    ranking(hits, scores, 10, what="sparse")
    found = c.retrieve("sparse", [hits[0].id], with_vectors=True)[0].vector["words"]
    same(dict(zip(found.indices, map(np.float32, found.values))), {k: np.float32(w) for k, w in rows[hits[0].id].items()})
    frequency = {k: sum(k in row for row in rows) for k in query}
    idf = {k: math.log((100 - n + 0.5) / (n + 0.5) + 1) for k, n in frequency.items()}
    scores = {i: sum(row[k] * w * idf[k] for k, w in query.items() if k in row) for i, row in enumerate(rows)}
    hits = c.query_points("sparse", query=vector, using="idf", limit=5).points
    ranking(hits, scores, 5, what="idf")
    c.delete_collection("sparse")


def multi(c):
    config = m.MultiVectorConfig(comparator=m.MultiVectorComparator.MAX_SIM)
    c.create_collection(
        "multi", vectors_config=m.VectorParams(size=4, distance=m.Distance.DOT, multivector_config=config)
    )
    rows = [RNG.standard_normal((1 + i % 4, 4)).astype(np.float32) for i in range(50)]
    c.upsert("multi", points=[m.PointStruct(id=i, vector=row.tolist()) for i, row in enumerate(rows)])
    query = RNG.standard_normal((3, 4)).astype(np.float32)
    scores = {i: float((query @ row.T).max(axis=1).sum()) for i, row in enumerate(rows)}
    ranking(c.query_points("multi", query=query.tolist(), limit=7).points, scores, 7, what="multi")
    np.testing.assert_array_equal(np.float32(c.retrieve("multi", [3], with_vectors=True)[0].vector), rows[3])
    c.delete_collection("multi")


def optimizer(c):
    """A collection large enough, for its threshold, to be indexed in the background."""
    count, dim = 3000, 32
    vectors = RNG.standard_normal((count, dim)).astype(np.float32)
    c.create_collection(
        "indexed",
        vectors_config=m.VectorParams(size=dim, distance=m.Distance.DOT),
        optimizers_config=m.OptimizersConfigDiff(indexing_threshold=50, default_segment_number=1),
        hnsw_config=m.HnswConfigDiff(m=16, ef_construct=100, full_scan_threshold=10),
        quantization_config=m.ScalarQuantization(scalar=m.ScalarQuantizationConfig(type=m.ScalarType.INT8)),
    )
    c.create_payload_index("indexed", "third", m.PayloadSchemaType.INTEGER)
    for start in range(0, count, 500):
        c.upsert("indexed", points=[
            m.PointStruct(id=i, vector=vectors[i].tolist(), payload={"third": i % 3})
            for i in range(start, start + 500)
        ])

    def done():
        info = c.get_collection("indexed")
        assert info.status != m.CollectionStatus.RED, info.optimizer_status
        return info.status == m.CollectionStatus.GREEN and info.indexed_vectors_count >= count * 0.8

    eventually("the vectors are indexed", done)
    same(c.count("indexed", exact=True).count, count)
    same(set(c.get_collection("indexed").payload_schema), {"third"})
    found = 0
    for _ in range(20):
        query = RNG.standard_normal(dim).astype(np.float32)
        scores = {i: float(vectors[i] @ query) for i in range(count)}
        exact = c.query_points("indexed", query=query.tolist(), limit=10, search_params=m.SearchParams(exact=True))
        ranking(exact.points, scores, 10, what="exact")
        params = m.SearchParams(hnsw_ef=128, quantization=m.QuantizationSearchParams(rescore=True, oversampling=2.0))
        near = c.query_points("indexed", query=query.tolist(), limit=10, search_params=params).points
        found += len({p.id for p in near} & {p.id for p in exact.points})
        only = m.Filter(must=[m.FieldCondition(key="third", match=m.MatchValue(value=1))])
        near = c.query_points("indexed", query=query.tolist(), limit=5, query_filter=only).points
        same({p.id % 3 for p in near}, {1})
    assert found >= 0.9 * 200, f"recall {found / 200}"
    # Writes go on to an indexed collection.
    c.upsert("indexed", points=[m.PointStruct(id=1, vector=[9.0] * dim, payload={"third": 1})])
    c.delete("indexed", points_selector=[2])
    same(c.query_points("indexed", query=[1.0] * dim, limit=1).points[0].id, 1)
    same(c.count("indexed", exact=True).count, count - 1)
    c.delete_collection("indexed")


def configuration(c):
    c.create_collection(
        "tuned",
        vectors_config={
            "a": m.VectorParams(
                size=8,
                distance=m.Distance.EUCLID,
                on_disk=True,
                hnsw_config=m.HnswConfigDiff(m=24),
                quantization_config=m.BinaryQuantization(binary=m.BinaryQuantizationConfig(always_ram=True)),
                datatype=m.Datatype.FLOAT16,
            ),
        },
        sparse_vectors_config={
            "s": m.SparseVectorParams(index=m.SparseIndexParams(on_disk=True), modifier=m.Modifier.IDF)
        },
        hnsw_config=m.HnswConfigDiff(ef_construct=64, on_disk=True),
        optimizers_config=m.OptimizersConfigDiff(deleted_threshold=0.5, indexing_threshold=123),
        quantization_config=m.ProductQuantization(
            product=m.ProductQuantizationConfig(compression=m.CompressionRatio.X16, always_ram=False)
        ),
        on_disk_payload=False,
        metadata={"owner": "tests", "n": 3},
    )
    info = c.get_collection("tuned")
    params = info.config.params
    a = params.vectors["a"]
    same((a.size, a.distance, a.on_disk, a.hnsw_config.m), (8, m.Distance.EUCLID, True, 24))
    same(a.quantization_config.binary.always_ram, True)
    same(a.datatype, m.Datatype.FLOAT16)
    same(params.sparse_vectors["s"].modifier, m.Modifier.IDF)
    same(params.sparse_vectors["s"].index.on_disk, True)
    same(params.on_disk_payload, False)
    same((info.config.hnsw_config.ef_construct, info.config.hnsw_config.m), (64, 16))
    same(info.config.optimizer_config.deleted_threshold, 0.5)
    same(info.config.optimizer_config.indexing_threshold, 123)
    same(info.config.quantization_config.product.compression, m.CompressionRatio.X16)
    same(info.config.metadata, {"owner": "tests", "n": 3})
    same((info.points_count, info.status), (0, m.CollectionStatus.GREEN))
    c.upsert("tuned", points=[m.PointStruct(id=1, vector={"a": [0.5] * 8})])
    same(c.retrieve("tuned", [1], with_vectors=True)[0].vector["a"], [0.5] * 8)
    same([x.name for x in c.get_collections().collections], ["named", "tuned"])
    c.delete_collection("tuned")
