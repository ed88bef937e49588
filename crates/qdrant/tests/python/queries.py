"""Every kind of query, compared with what the same package finds in memory, over the same data."""

import datetime
import uuid

import grpc
import httpx
import numpy as np
from qdrant_client import grpc as pb
from qdrant_client import models as m
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc

from common import MODE, REST, close, same
from memory import (
    COUNT, D, E, INDEXES, M, START, Both, alike, dense, number, payload, point_id, rows, same_vectors, sparse,
    vectors,
)


def queries(c):
    both = Both(c)
    params = dict(
        vectors_config={
            "d": m.VectorParams(size=D, distance=m.Distance.COSINE),
            "e": m.VectorParams(size=E, distance=m.Distance.EUCLID),
            "m": m.VectorParams(
                size=M,
                distance=m.Distance.DOT,
                multivector_config=m.MultiVectorConfig(comparator=m.MultiVectorComparator.MAX_SIM),
            ),
        },
        sparse_vectors_config={"s": m.SparseVectorParams()},
    )
    both.write(lambda c: c.create_collection("q", **params))
    points = [m.PointStruct(id=point_id(i), vector=vectors(i), payload=payload(i)) for i in range(COUNT)]
    for start in range(0, COUNT, 80):
        both.write(lambda c: c.upsert("q", points=points[start : start + 80]))
    other = dict(vectors_config={"x": m.VectorParams(size=D, distance=m.Distance.COSINE)})
    both.write(lambda c: c.create_collection("other", **other))
    # Its points are also the groups `page` and `owner`.
    others = [m.PointStruct(id=i, vector={"x": dense(D)}, payload={"title": f"page {i}"}) for i in range(20)]
    others += [m.PointStruct(id=str(uuid.UUID(int=i)), vector={"x": dense(D)}, payload={"title": f"owner {i}"}) for i in range(4)]
    both.write(lambda c: c.upsert("other", points=others))
    filters(both, "without indexes", indexed=False)
    for field, schema in INDEXES.items():
        c.create_payload_index("q", field, schema)
    filters(both, "with indexes", indexed=True)
    nearest(both)
    examples(both)
    stages(both)
    orders(both)
    formulas(both)
    groups(both)
    figures(both)
    old(both)


def on(key, **condition):
    return m.FieldCondition(key=key, **condition)


SOME = m.Filter(must=[on("n", range=m.Range(gte=20, lt=200))], must_not=[on("flag", match=m.MatchValue(value=True))])


def filters(both, what, indexed):
    ring = lambda *points: m.GeoLineString(points=[m.GeoPoint(lon=lon, lat=lat) for lon, lat in points])
    square = lambda a, b: ring((a, a + 40), (b, a + 40), (b, b + 40), (a, b + 40), (a, a + 40))
    conditions = [
        on("group", match=m.MatchValue(value="g3")),
        on("group", match=m.MatchAny(any=["g1", "g2", "none"])),
        on("group", match=m.MatchExcept(**{"except": ["g1", "g2"]})),
        on("n", match=m.MatchAny(any=[1, 5, 10_000])),
        on("page", match=m.MatchExcept(**{"except": [1, 2]})),
        on("tags", match=m.MatchValue(value="t4")),
        on("flag", match=m.MatchValue(value=True)),
        on("owner", match=m.MatchValue(value=str(uuid.UUID(int=2)))),
        on("price", range=m.Range(gt=-3.5, lte=4.25)),
        on("when", range=m.DatetimeRange(gte=START + datetime.timedelta(hours=5), lt=START + datetime.timedelta(hours=90))),
        on("place", geo_bounding_box=m.GeoBoundingBox(
            top_left=m.GeoPoint(lon=10.25, lat=50.85), bottom_right=m.GeoPoint(lon=11.55, lat=50.15)
        )),
        on("place", geo_radius=m.GeoRadius(center=m.GeoPoint(lon=10.5, lat=50.5), radius=30_000)),
        on("place", geo_polygon=m.GeoPolygon(exterior=square(10.05, 11.35), interiors=[square(10.25, 10.65)])),
        on("places", geo_radius=m.GeoRadius(center=m.GeoPoint(lon=0.0, lat=3.0), radius=1_000)),
        on("list", values_count=m.ValuesCount(gte=2, lt=5)),
        on("tags", values_count=m.ValuesCount(gt=1)),
        on("rare", is_empty=True),
        on("rare", is_null=True),
        on("list", is_empty=True),
        on("parts[].name", match=m.MatchValue(value="p2")),
        m.IsEmptyCondition(is_empty=m.PayloadField(key="list")),
        m.IsNullCondition(is_null=m.PayloadField(key="rare")),
        m.HasIdCondition(has_id=[point_id(3), point_id(4), 10**9]),
        m.HasVectorCondition(has_vector="e"),
        m.HasVectorCondition(has_vector="s"),
        m.NestedCondition(nested=m.Nested(key="parts", filter=m.Filter(
            must=[on("name", match=m.MatchValue(value="q"))], must_not=[on("size", match=m.MatchValue(value=1))]
        ))),
        m.Filter(should=[on("n", range=m.Range(lt=9)), on("flag", match=m.MatchValue(value=True))]),
    ]
    if indexed:
        conditions += [
            on("text", match=m.MatchText(text="brown fox")),
            on("text", match=m.MatchTextAny(text_any="dogs fox")),
            on("text", match=m.MatchPhrase(phrase="quick brown")),
        ]

    def ids(filter):
        def ask(c):
            found, offset = c.scroll("q", scroll_filter=filter, limit=COUNT, with_payload=False)
            same(offset, None)
            same(c.count("q", count_filter=filter, exact=True).count, len(found), f"count of {filter}")
            return sorted(str(p.id) for p in found)

        both.equal(f"{filter} {what}", ask)

    for i, condition in enumerate(conditions):
        ids(m.Filter(must=[condition]))
        ids(m.Filter(must_not=[condition]))
        a, b = conditions[i - 1], conditions[i - 2]
        ids(m.Filter(should=[condition, a], must=[b]))
        ids(m.Filter(min_should=m.MinShould(conditions=[condition, a, b], min_count=2)))


def nearest(both):
    asked = {"d": dense(D), "e": dense(E), "m": rows(), "s": sparse()}
    for using, vector in asked.items():
        # Between two points: the last bits of a score differ. Of some the score grows with the distance.
        best = both.memory.query_points("q", query=vector, using=using, limit=10).points
        threshold = (best[8].score + best[9].score) / 2
        for what, rest in {
            "plain": {},
            "filtered": {"query_filter": SOME},
            "offset": {"offset": 5},
            "threshold": {"score_threshold": threshold, "limit": 30},
            "payload": {"with_payload": ["n", "parts[].name"], "with_vectors": True},
            "without some payload": {"with_payload": m.PayloadSelectorExclude(exclude=["text", "parts"])},
            "vectors": {"with_payload": False, "with_vectors": ["s", using]},
            "exact": {"search_params": m.SearchParams(exact=True, hnsw_ef=64, indexed_only=True)},
            "quantization": {"search_params": m.SearchParams(
                quantization=m.QuantizationSearchParams(ignore=False, rescore=True, oversampling=2.0)
            )},
        }.items():
            both.points(f"nearest in {using}, {what}", vector, using=using, **rest)
        both.points(f"nearest in {using} by id", point_id(100), using=using)
    # A vector is a multivector of one row.
    both.points("one row", [asked["m"][0]], using="m")
    elsewhere = m.LookupLocation(collection="other", vector="x")
    both.points("by an id of another collection", 7, using="d", lookup_from=elsewhere, limit=COUNT)
    batch = [
        m.QueryRequest(query=asked["d"], using="d", limit=5, with_payload=["n"]),
        m.QueryRequest(query=asked["s"], using="s", limit=3, filter=SOME, with_vector=["s"]),
        m.QueryRequest(query=3, using="d", limit=4, lookup_from=elsewhere),
    ]
    found, expected = (c.query_batch_points("q", batch) for c in (both.client, both.memory))
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        alike(a.points, b.points, f"search {i} of a batch")


def examples(both):
    elsewhere = m.LookupLocation(collection="other", vector="x")
    given = {"d": dense(D), "e": dense(E), "m": rows(), "s": sparse()}
    for using, vector in given.items():
        positive, negative = [point_id(1), vector, point_id(100)], [point_id(30), point_id(45)]
        for strategy in m.RecommendStrategy:
            for what, pos, neg in [("both", positive, negative), ("positive", positive, None), ("negative", None, negative)]:
                if what == "negative" and strategy == m.RecommendStrategy.AVERAGE_VECTOR:
                    continue
                recommend = m.RecommendInput(positive=pos, negative=neg, strategy=strategy)
                query = m.RecommendQuery(recommend=recommend)
                both.points(f"recommend {strategy.value} in {using}, {what}", query, using=using, query_filter=SOME)
        pairs = [
            m.ContextPair(positive=point_id(5), negative=point_id(6)),
            m.ContextPair(positive=vector, negative=point_id(8)),
        ]
        for what, target in [("an id", point_id(9)), ("a vector", vector)]:
            query = m.DiscoverQuery(discover=m.DiscoverInput(target=target, context=pairs))
            both.points(f"discover {what} in {using}", query, using=using)
        both.points(f"context in {using}", m.ContextQuery(context=pairs), using=using)
        naive = m.NaiveFeedbackStrategy(naive=m.NaiveFeedbackStrategyParams(a=0.7, b=1.1, c=0.3))
        feedback = [
            m.FeedbackItem(example=point_id(5), score=0.9),
            m.FeedbackItem(example=vector, score=0.1),
            m.FeedbackItem(example=point_id(100), score=0.4),
        ]
        query = m.RelevanceFeedbackQuery(relevance_feedback=m.RelevanceFeedbackInput(
            target=point_id(9), feedback=feedback, strategy=naive
        ))
        if using in ("d", "e"):
            both.points(f"feedback in {using}", query, using=using)
        else:  # which is not there in memory
            same(len(both.client.query_points("q", query=query, using=using, limit=5).points), 5)
    query = m.RecommendQuery(recommend=m.RecommendInput(positive=[1, 2], negative=[3]))
    both.points("recommend from another collection", query, using="d", lookup_from=elsewhere, limit=COUNT)
    # A threshold of scores, where the distance is the better the smaller it is.
    recommend = m.RecommendInput(positive=[point_id(1)], negative=[point_id(2)], strategy=m.RecommendStrategy.SUM_SCORES)
    query = m.RecommendQuery(recommend=recommend)
    all_of = both.client.query_points("q", query=query, using="e", limit=20).points
    least = all_of[7].score
    some = both.client.query_points("q", query=query, using="e", limit=20, score_threshold=least).points
    same([p.id for p in some], [p.id for p in all_of[:8]], "the threshold of a recommendation in e")


def stages(both):
    a, b, s, e = dense(D), dense(D), sparse(), dense(E)
    first = m.Prefetch(query=a, using="d", limit=40)
    second = m.Prefetch(query=s, using="s", limit=30, filter=SOME)
    third = m.Prefetch(query=e, using="e", limit=20, score_threshold=4.0)
    by_id = m.Prefetch(query=point_id(100), using="d", limit=40)
    sources = [first, second, third]
    rrf, dbsf = m.FusionQuery(fusion=m.Fusion.RRF), m.FusionQuery(fusion=m.Fusion.DBSF)
    both.points("rrf", rrf, prefetch=sources)
    both.points("rrf with k", m.RrfQuery(rrf=m.Rrf(k=60)), prefetch=sources)
    both.points("rrf with weights", m.RrfQuery(rrf=m.Rrf(k=5, weights=[3.0, 1.0, 0.5])), prefetch=sources)
    # Where results are cut off or ranked again, which of equal scores come first must not matter: these make none.
    unequal = lambda *weights: m.RrfQuery(rrf=m.Rrf(k=5, weights=weights))
    both.points("rrf, offset", unequal(1.0, 0.37, 0.53), prefetch=sources, offset=4, with_payload=["n"])
    both.points("rrf, filtered", rrf, prefetch=sources, query_filter=SOME)
    both.points("rrf, threshold", rrf, prefetch=sources, score_threshold=0.1)
    both.points("dbsf", dbsf, prefetch=sources)
    both.points("by id in a prefetch", rrf, prefetch=[by_id, second])
    found = both.client.query_points("q", query=rrf, prefetch=[by_id, first], limit=80).points
    assert point_id(100) not in [p.id for p in found], "a point that is asked with is not found"
    both.points("rescoring", b, using="d", prefetch=[second, third])
    both.points("rescoring with multivectors", rows(), using="m", prefetch=first, query_filter=SOME)
    nested = m.Prefetch(prefetch=[first, second], query=unequal(1.0, 0.37), limit=25)
    both.points("nested", b, using="d", prefetch=nested)
    both.points("nested fusions", rrf, prefetch=[nested, m.Prefetch(prefetch=[third, first], query=b, using="d", limit=15)])
    deep = first
    for i in range(5):
        deep = m.Prefetch(prefetch=[deep], query=[a, b][i % 2], using="d", limit=35 - i, filter=SOME if i == 2 else None)
    both.points("deep", b, using="d", prefetch=deep)
    elsewhere = m.LookupLocation(collection="other", vector="x")
    looked_up = m.Prefetch(query=5, using="d", limit=30, lookup_from=elsewhere)
    both.points("a prefetch from another collection", rrf, prefetch=[looked_up, second])
    for using, vector in {"d": a, "e": e, "m": rows()}.items():
        for diversity in (0.0, 0.3, 1.0):
            query = m.NearestQuery(nearest=vector, mmr=m.Mmr(diversity=diversity, candidates_limit=40))
            both.points(f"mmr {diversity} in {using}", query, using=using, limit=8)
    query = m.NearestQuery(nearest=a, mmr=m.Mmr(diversity=0.6, candidates_limit=30))
    both.points("mmr, filtered and offset", query, using="d", query_filter=SOME, offset=3, limit=6)
    both.points("mmr by id", m.NearestQuery(nearest=point_id(100), mmr=m.Mmr()), using="d")
    both.points("mmr over a prefetch", query, using="d", prefetch=[second, first], limit=6)
    both.points("mmr in a prefetch", rrf, prefetch=[m.Prefetch(query=query, using="d", limit=9), second])


def orders(both):
    for what, order in {
        "integers": "n",
        "backwards": m.OrderBy(key="n", direction=m.Direction.DESC),
        "from": m.OrderBy(key="n", direction=m.Direction.DESC, start_from=101),
        "numbers": m.OrderBy(key="price", start_from=1.25),
        "times": m.OrderBy(key="when", start_from=START + datetime.timedelta(hours=50)),
        "times backwards": m.OrderBy(key="when", direction=m.Direction.DESC),
    }.items():
        query = m.OrderByQuery(order_by=order)
        for filter in (None, SOME):
            found, expected = (
                c.query_points("q", query=query, limit=9, query_filter=filter, with_payload=["n"]).points
                for c in (both.client, both.memory)
            )
            alike(found, expected, f"order of {what}", scored=False)
            found, expected = (
                c.scroll("q", order_by=order, limit=9, scroll_filter=filter, with_vectors=["d"])
                for c in (both.client, both.memory)
            )
            same(found[1], None)
            alike(found[0], expected[0], f"scroll in the order of {what}", scored=False)
    prefetch = m.Prefetch(query=dense(D), using="d", limit=30)
    found, expected = (
        c.query_points("q", prefetch=prefetch, query=m.OrderByQuery(order_by="n"), limit=9).points
        for c in (both.client, both.memory)
    )
    alike(found, expected, "the order of a prefetch", scored=False)
    random = lambda: both.client.query_points(
        "q", query=m.SampleQuery(sample=m.Sample.RANDOM), limit=60, query_filter=SOME, with_payload=True
    ).points
    first, second = random(), random()
    same([len(first), len({p.id for p in first})], [60, 60])
    assert {p.id for p in first} != {p.id for p in second}, "a sample is random"
    assert all(20 <= p.payload["n"] < 200 and not p.payload["flag"] for p in first)
    both.equal("no query", lambda c: [p.id for p in c.query_points("q", query_filter=SOME, limit=9, offset=2).points])


def formulas(both):
    sources = [m.Prefetch(query=dense(D), using="d", limit=50), m.Prefetch(query=sparse(), using="s", limit=30)]
    decay = m.DecayParamsExpression
    origin = m.GeoPoint(lon=10.5, lat=50.5)
    for what, formula in {
        "a score": "$score",
        "scores": m.SumExpression(sum=["$score[0]", m.MultExpression(mult=[0.5, "$score[1]"])]),
        "payload": m.SumExpression(sum=["$score", m.MultExpression(mult=["price", 0.01])]),
        "elements": m.SumExpression(sum=["$score", "list[0]"]),
        "conditions": m.SumExpression(sum=[
            "$score",
            m.MultExpression(mult=[0.5, on("tags", match=m.MatchAny(any=["t1"]))]),
            m.MultExpression(mult=[0.25, m.Filter(must_not=[on("flag", match=m.MatchValue(value=True))])]),
        ]),
        "arithmetic": m.SumExpression(sum=[
            m.DivExpression(div=m.DivParams(left="price", right="page", by_zero_default=7.0)),
            m.SqrtExpression(sqrt=m.AbsExpression(abs="price")),
            m.PowExpression(pow=m.PowParams(base=m.AbsExpression(abs="$score"), exponent=1.5)),
            m.NegExpression(neg=m.ExpExpression(exp="$score")),
            m.Log10Expression(log10=m.SumExpression(sum=["n", 1.0])),
            m.LnExpression(ln=m.SumExpression(sum=["n", 2.0])),
        ]),
        "a distance": m.GaussDecayExpression(gauss_decay=decay(
            x=m.GeoDistance(geo_distance=m.GeoDistanceParams(origin=origin, to="place")), scale=20_000.0
        )),
        "a time": m.ExpDecayExpression(exp_decay=decay(
            x=m.DatetimeKeyExpression(datetime_key="when"),
            target=m.DatetimeExpression(datetime=(START + datetime.timedelta(hours=100)).isoformat()),
            scale=86_400.0,
            midpoint=0.4,
        )),
        "a line": m.LinDecayExpression(lin_decay=decay(x="n", target=120.0, scale=100.0)),
    }.items():
        query = m.FormulaQuery(formula=formula, defaults={"$score[1]": 0.125, "list[0]": -0.5})
        both.points(f"formula of {what}", query, prefetch=sources, with_payload=["n"])
    query = m.FormulaQuery(formula=m.SumExpression(sum=["$score", "price"]))
    both.points("formula, threshold and offset", query, prefetch=sources, score_threshold=0.0, offset=2)
    nested = m.Prefetch(prefetch=sources, query=query, limit=20)
    both.points("formula in a prefetch", dense(D), using="d", prefetch=nested)


def groups(both):
    a = dense(D)

    def check(what, **rest):
        request = {"query": a, "using": "d", "limit": 5, "group_size": 3, **rest}
        found, expected = (c.query_points_groups("q", **request).groups for c in (both.client, both.memory))
        same_groups(found, expected, what)

    check("by text", group_by="group")
    check("by number", group_by="page", limit=8, group_size=2)
    check("by each of several", group_by="tags", limit=10, group_size=60)
    check("by elements", group_by="tags[]")
    check("by what is in them", group_by="parts[].name", group_size=4)
    check("by what is not always one", group_by="mixed", group_size=100)
    check("by what many lack", group_by="rare")
    check("filtered", group_by="group", query_filter=SOME, with_payload=["n", "group"], with_vectors=["e"])
    check("with a threshold", group_by="group", score_threshold=0.1)
    check("one of each", group_by="n", limit=30, group_size=1)
    check("all", group_by="page", limit=100, group_size=100)
    check("of multivectors", query=rows(), using="m", group_by="group")
    check("by id", query=point_id(100), group_by="group")
    check("in a recommendation", group_by="group", query=m.RecommendQuery(
        recommend=m.RecommendInput(positive=[point_id(1)], negative=[point_id(2)])
    ))
    wide = [m.Prefetch(query=a, using="d", limit=COUNT), m.Prefetch(query=sparse(), using="s", limit=COUNT)]
    check("fused", group_by="group", query=m.FusionQuery(fusion=m.Fusion.RRF), using=None, prefetch=wide)
    check("lookup", group_by="page", with_lookup="other")
    check("more of a lookup", group_by="owner", with_lookup=m.WithLookup(
        collection="other", with_payload=m.PayloadSelectorInclude(include=["title"]), with_vectors=True
    ))
    check("from another collection", query=4, group_by="group", lookup_from=m.LookupLocation(collection="other", vector="x"))


def same_groups(found, expected, what):
    same([g.id for g in found], [g.id for g in expected], f"groups {what}")
    for x, y in zip(found, expected):
        alike(x.hits, y.hits, f"group {x.id} {what}")
        same(x.lookup is None, y.lookup is None, f"lookup of {x.id} {what}")
        if y.lookup:
            same((x.lookup.id, x.lookup.payload), (y.lookup.id, y.lookup.payload), f"lookup of {x.id} {what}")
            same_vectors(x.lookup.vector, y.lookup.vector, f"lookup of {x.id} {what}")


def figures(both):
    for key in ("group", "page", "tags", "flag", "owner", "parts[].name", "n", "list"):
        for filter in (None, SOME):
            for exact in (True, False):
                both.equal(f"facet of {key}", lambda c: [
                    (hit.value, hit.count) for hit in c.facet("q", key, facet_filter=filter, limit=8, exact=exact).hits
                ])
    for using in ("d", "e", "m", "s"):
        for limit in (3, COUNT):
            request = dict(query_filter=SOME, sample=COUNT + 10, limit=limit, using=using)
            found, expected = (c.search_matrix_pairs("q", **request).pairs for c in (both.client, both.memory))
            same(len(found), len(expected), f"pairs in {using}")
            for a, b in zip(found, expected):
                close(a.score, b.score, f"pairs in {using}")
            table = {(p.a, p.b): p.score for p in expected}
            for p in found if limit == COUNT else []:
                close(p.score, table[p.a, p.b], f"pairs in {using}")
            found, expected = (c.search_matrix_offsets("q", **request) for c in (both.client, both.memory))
            same(found.ids, expected.ids, f"offsets in {using}")
            same(found.offsets_row, expected.offsets_row, f"offsets in {using}")
            np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-5)
    few = both.client.search_matrix_offsets("q", sample=15, limit=4, using="d")
    same((len(few.ids), len(few.scores), max(few.offsets_col) < 15), (15, 60, True))


def old(both):
    """The calls that newer clients make as queries."""
    stub = both.client._client.grpc_points if MODE == "grpc" else None

    def rest(path, body):
        answer = httpx.post(f"http://127.0.0.1:{REST}/collections/q/points/{path}", json=body, timeout=60)
        same(answer.status_code, 200, f"{path}: {answer.text}")
        return answer.json()["result"]

    points = lambda result: [m.ScoredPoint.model_validate(point) for point in result]
    grpc_points = lambda result: [GrpcToRest.convert_scored_point(point) for point in result]
    ids = lambda *numbers: [RestToGrpc.convert_extended_point_id(point_id(i)) for i in numbers]
    dumped = SOME.model_dump(exclude_none=True)
    vector = dense(D)
    elsewhere = {"collection": "other", "vector": "x"}
    here = both.memory.query_points

    # Recommendations.
    for name, number in [("average_vector", 0), ("best_score", 1), ("sum_scores", 2)]:
        recommend = m.RecommendInput(
            positive=[point_id(1), point_id(2), vector], negative=[point_id(30)], strategy=m.RecommendStrategy(name)
        )
        expected = here("q", query=m.RecommendQuery(recommend=recommend), using="d", limit=7, query_filter=SOME).points
        if MODE == "rest":
            found = points(rest("recommend", {
                "positive": [point_id(1), point_id(2), vector],
                "negative": [point_id(30)],
                "strategy": name,
                "using": "d",
                "filter": dumped,
                "limit": 7,
                "with_payload": True,
            }))
        else:
            found = grpc_points(stub.Recommend(pb.RecommendPoints(
                collection_name="q",
                positive=ids(1, 2),
                negative=ids(30),
                positive_vectors=[pb.Vector(data=vector)],
                strategy=number,
                using="d",
                filter=RestToGrpc.convert_filter(SOME),
                limit=7,
                with_payload=pb.WithPayloadSelector(enable=True),
            )).result)
        alike(found, expected, f"recommend {name}")
    recommend = m.RecommendQuery(recommend=m.RecommendInput(positive=[1, 2]))
    location = m.LookupLocation(**elsewhere)
    expected = [
        here("q", query=recommend, using="d", limit=7, lookup_from=location, with_payload=False).points,
        here("q", query=recommend, using="d", limit=3, offset=2, with_payload=False).points,
    ]
    if MODE == "rest":
        found = map(points, rest("recommend/batch", {"searches": [
            {"positive": [1, 2], "using": "d", "limit": 7, "lookup_from": elsewhere},
            {"positive": [1, 2], "using": "d", "limit": 3, "offset": 2},
        ]}))
    else:
        one = dict(collection_name="q", positive=ids(1, 2), using="d")
        there = pb.LookupLocation(collection_name="other", vector_name="x")
        answer = stub.RecommendBatch(pb.RecommendBatchPoints(collection_name="q", recommend_points=[
            pb.RecommendPoints(**one, limit=7, lookup_from=there),
            pb.RecommendPoints(**one, limit=3, offset=2),
        ]))
        found = [grpc_points(result.result) for result in answer.result]
    for a, b in zip(found, expected, strict=True):
        alike(a, b, "a batch of recommendations")

    # Discoveries.
    pair = m.ContextPair(positive=point_id(5), negative=point_id(6))
    discover = m.DiscoverQuery(discover=m.DiscoverInput(target=vector, context=[pair]))
    expected = [
        here("q", query=discover, using="d", limit=6, query_filter=SOME, with_payload=False).points,
        here("q", query=m.ContextQuery(context=[pair]), using="d", limit=6, with_payload=False).points,
    ]
    if MODE == "rest":
        pairs = [{"positive": point_id(5), "negative": point_id(6)}]
        asked = [
            {"target": vector, "context": pairs, "using": "d", "limit": 6, "filter": dumped},
            {"context": pairs, "using": "d", "limit": 6},
        ]
        found = [points(rest("discover", body)) for body in asked]
        found += map(points, rest("discover/batch", {"searches": asked}))
    else:
        positive, negative = (pb.VectorExample(id=id) for id in ids(5, 6))
        pairs = [pb.ContextExamplePair(positive=positive, negative=negative)]
        target = pb.TargetVector(single=pb.VectorExample(vector=pb.Vector(data=vector)))
        asked = [
            pb.DiscoverPoints(
                collection_name="q", target=target, context=pairs, using="d", limit=6, filter=RestToGrpc.convert_filter(SOME)
            ),
            pb.DiscoverPoints(collection_name="q", context=pairs, using="d", limit=6),
        ]
        found = [grpc_points(stub.Discover(body).result) for body in asked]
        batch = stub.DiscoverBatch(pb.DiscoverBatchPoints(collection_name="q", discover_points=asked))
        found += [grpc_points(result.result) for result in batch.result]
    for a, b in zip(found, expected * 2, strict=True):
        alike(a, b, "discover")

    # Groups.
    grouped = dict(group_by="group", limit=4, group_size=2)
    recommend = m.RecommendQuery(recommend=m.RecommendInput(positive=[point_id(1)]))
    expected = [
        both.memory.query_points_groups("q", query=query, using="d", with_payload=["n"], with_lookup=None, **grouped).groups
        for query in (vector, recommend)
    ]
    if MODE == "rest":
        body = {**grouped, "with_payload": ["n"]}
        found = [
            rest("search/groups", {**body, "vector": {"name": "d", "vector": vector}}),
            rest("recommend/groups", {**body, "positive": [point_id(1)], "using": "d"}),
        ]
        found = [m.GroupsResult.model_validate(result).groups for result in found]
    else:
        body = dict(collection_name="q", with_payload=pb.WithPayloadSelector(include=pb.PayloadIncludeSelector(fields=["n"])))
        found = [
            stub.SearchGroups(pb.SearchPointGroups(**body, **grouped, vector=vector, vector_name="d")),
            stub.RecommendGroups(pb.RecommendPointGroups(**body, **grouped, positive=ids(1), using="d")),
        ]
        found = [GrpcToRest.convert_groups_result(answer.result).groups for answer in found]
    for a, b in zip(found, expected, strict=True):
        same_groups(a, b, "of the old calls")

    # Mistakes.
    if MODE == "rest":
        for path, body, code in [
            ("recommend", {"positive": [], "limit": 3}, 400),
            ("recommend", {"positive": [1], "limit": 3, "using": "no-such"}, 400),
            ("recommend", {"positive": [1], "limit": 3, "strategy": "worst"}, 400),
            ("recommend", {"positive": [10**9], "limit": 3, "using": "d"}, 404),
            ("discover", {"limit": 3}, 400),
            ("discover", {"target": vector, "limit": 0, "using": "d"}, 400),
            ("search/groups", {"vector": vector, "limit": 3}, 400),
            ("search/matrix/pairs", {"sample": -1}, 400),
        ]:
            answer = httpx.post(f"http://127.0.0.1:{REST}/collections/q/points/{path}", json=body)
            same(answer.status_code, code, f"{path} {body}: {answer.text}")
    else:
        for call, request in [
            (stub.Recommend, pb.RecommendPoints(collection_name="q", limit=3)),
            (stub.Recommend, pb.RecommendPoints(collection_name="q", positive=ids(1), using="d")),
            (stub.Discover, pb.DiscoverPoints(collection_name="q", limit=3)),
            (stub.SearchGroups, pb.SearchPointGroups(collection_name="q", vector=vector, limit=3, group_size=1)),
        ]:
            try:
                call(request)
            except grpc.RpcError as error:
                same(error.code(), grpc.StatusCode.INVALID_ARGUMENT, error.details())
            else:
                raise AssertionError(f"not refused: {request}")
