"""The points that queries are tried on, and the client in memory that they are compared with."""

import datetime
import math
import uuid

import numpy as np
from qdrant_client import QdrantClient
from qdrant_client import models as m

from common import close, same

RNG = np.random.default_rng(11)
COUNT = 240
D, E, M = 16, 8, 4
START = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)


def point_id(i):
    return i if i % 4 else str(uuid.UUID(int=10_000 + i))


def number(scale=1.0):
    return float(np.float32(RNG.standard_normal() * scale))


def dense(dim):
    return RNG.standard_normal(dim).astype(np.float32).tolist()


def sparse():
    indices = RNG.permutation(30)[: 3 + int(RNG.integers(5))].tolist()
    return m.SparseVector(indices=indices, values=[abs(number()) + 0.01 for _ in indices])


def rows():
    return [dense(M) for _ in range(1 + int(RNG.integers(3)))]


def payload(i):
    result = {
        "n": i,
        "price": number(10.0),
        "group": f"g{i % 7}",
        "page": i // 10,
        "tags": [f"t{i % 3}", f"t{i % 5}"],
        "mixed": [1, "one", i % 2 == 0][i % 3],
        "flag": i % 3 == 0,
        "owner": str(uuid.UUID(int=i % 6)),
        "when": (START + datetime.timedelta(hours=i)).isoformat(),
        "place": {"lon": 10 + (i % 20) * 0.1, "lat": 50 + (i % 12) * 0.1},
        "places": [{"lon": float(i % 8), "lat": 1.0}, {"lon": 0.0, "lat": float(i % 5)}],
        "text": ["a quick brown fox", "brown bread and foxes", "lazy dogs sleep quickly"][i % 3],
        "parts": [{"name": f"p{i % 4}", "size": i % 10}, {"name": "q", "size": i % 3}],
        "list": list(range(i % 6)),
    }
    if i % 5 == 0:
        result["rare"] = None if i % 2 else i / 8
    return result


def vectors(i):
    result = {"d": dense(D), "e": dense(E), "m": rows(), "s": sparse()}
    # Not every point has all; those that are asked with do.
    for name in {0: "e", 3: "m", 4: "s", 7: "em"}.get(i % 11, ""):
        del result[name]
    return result


INDEXES = {
    "n": m.IntegerIndexParams(type="integer", lookup=True, range=True, is_principal=True),
    "price": m.FloatIndexParams(type="float"),
    "group": m.KeywordIndexParams(type="keyword", is_tenant=True),
    "page": m.PayloadSchemaType.INTEGER,
    "tags": m.PayloadSchemaType.KEYWORD,
    "flag": m.BoolIndexParams(type="bool"),
    "owner": m.UuidIndexParams(type="uuid", is_tenant=True),
    "when": m.DatetimeIndexParams(type="datetime", is_principal=True),
    "place": m.GeoIndexParams(type="geo"),
    "places": m.PayloadSchemaType.GEO,
    "text": m.TextIndexParams(
        type="text", tokenizer=m.TokenizerType.WORD, lowercase=True, phrase_matching=True, min_token_len=1
    ),
    "parts[].name": m.PayloadSchemaType.KEYWORD,
    "list": m.IntegerIndexParams(type="integer", lookup=True, range=False),
}


class Both:
    """The engine and the client in memory, which must find the same."""

    def __init__(self, client):
        self.client, self.memory = client, QdrantClient(":memory:")

    def write(self, call):
        call(self.client), call(self.memory)

    def points(self, what, query, *, collection="q", limit=12, **rest):
        ask = lambda c: c.query_points(collection, query=query, limit=limit, **rest).points
        found = ask(self.client)
        rest.pop("search_params", None)  # of which it warns
        alike(found, ask(self.memory), what)

    def equal(self, what, ask):
        same(ask(self.client), ask(self.memory), what)


def alike(found, expected, what, scored=True):
    assert expected, f"{what}: nothing to compare"
    same(len(found), len(expected), what)
    for i, (a, b) in enumerate(zip(found, expected)):
        if scored:
            close(a.score, b.score, f"{what}, at {i}")
        # Points of equal scores may come in any order.
        tied = scored and any(
            math.isclose(b.score, other.score, rel_tol=1e-4, abs_tol=1e-5)
            for j, other in enumerate(expected)
            if j != i
        )
        last = scored and math.isclose(b.score, expected[-1].score, rel_tol=1e-4, abs_tol=1e-5)
        if tied or last and a.id not in [p.id for p in expected]:
            continue
        same(a.id, b.id, f"{what}, at {i}")
        same(a.payload or None, b.payload or None, f"{what}, payload of {a.id}")
        same_vectors(a.vector, b.vector, f"{what}, vector of {a.id}")


def same_vectors(a, b, what):
    if not a and not b:
        return
    if isinstance(b, dict):
        same(set(a), set(b), what)
        for name in b:
            same_vectors(a[name], b[name], f"{what}.{name}")
    elif isinstance(b, m.SparseVector):
        same(sorted(zip(a.indices, map(np.float32, a.values))), sorted(zip(b.indices, map(np.float32, b.values))), what)
    else:
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6, err_msg=what)
