"""Eight clients at once."""

import concurrent.futures

import numpy as np
from qdrant_client import models as m

from common import DIM, connect, ranking, same


def crowd(c):
    """Eight clients write, read and search at once, in two collections, one their own and one shared."""
    shared = "shared"
    c.create_collection(shared, vectors_config=m.VectorParams(size=DIM, distance=m.Distance.DOT))
    rounds, batch = 12, 20

    def work(worker):
        own, client = f"own{worker}", connect()
        rng = np.random.default_rng(worker)
        client.create_collection(own, vectors_config=m.VectorParams(size=DIM, distance=m.Distance.DOT))
        vectors = {}
        for r in range(rounds):
            ids = [worker * 1_000_000 + r * batch + i for i in range(batch)]
            rows = rng.standard_normal((batch, DIM)).astype(np.float32)
            vectors.update(zip(ids, rows))
            points = [
                m.PointStruct(id=i, vector=v.tolist(), payload={"worker": worker, "round": r})
                for i, v in zip(ids, rows)
            ]
            client.upsert(own, points=points)
            client.upsert(shared, points=points, wait=r % 2 == 0)
            mine = m.Filter(must=[m.FieldCondition(key="worker", match=m.MatchValue(value=worker))])
            same(client.count(shared, count_filter=mine).count, len(vectors), "reads its own writes")
            query = rng.standard_normal(DIM).astype(np.float32)
            scores = {i: float(v @ query) for i, v in vectors.items()}
            ranking(client.query_points(own, query=query.tolist(), limit=5).points, scores, 5, what=own)
            hits = client.query_points(shared, query=query.tolist(), limit=5, query_filter=mine).points
            ranking(hits, scores, 5, what="shared")
        client.delete(shared, points_selector=m.Filter(
            must=[mine.must[0], m.FieldCondition(key="round", match=m.MatchValue(value=0))]
        ))
        same(client.count(own).count, rounds * batch)
        client.delete_collection(own)
        client.close()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    same(c.count(shared).count, 8 * (rounds - 1) * batch)
    same([x.name for x in c.get_collections().collections], [shared])
