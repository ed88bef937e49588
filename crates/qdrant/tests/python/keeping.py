"""What is done to whole collections: aliases, changes, quantization, snapshots, and what operators ask."""

import hashlib
import os
import tempfile
import urllib.parse

import httpx
import numpy as np
from qdrant_client import models as m

from common import DIM, MODE, REST, eventually, ranking, refused, same

RNG = np.random.default_rng(11)
COUNT = 2000
URL = f"http://127.0.0.1:{REST}"


def keeping(c):
    aliases(c)
    changes(c)
    quantization(c)
    vectors_of_all_kinds(c)
    snapshots(c)
    elsewhere(c)
    node(c)


def create(c, name, **config):
    c.create_collection(name, vectors_config=m.VectorParams(size=2, distance=m.Distance.DOT), **config)


def put(c, name, *ids):
    c.upsert(name, points=[m.PointStruct(id=i, vector=[float(i), 1.0], payload={"of": name}) for i in ids])


def ids(c, name):
    return [p.id for p in c.scroll(name, limit=100)[0]]


def green(c, name):
    def look():
        info = c.get_collection(name)
        assert info.status != m.CollectionStatus.RED, info.optimizer_status
        return info.status == m.CollectionStatus.GREEN

    eventually(f"{name} is green", look)


def alias(name, collection):
    return m.CreateAliasOperation(create_alias=m.CreateAlias(collection_name=collection, alias_name=name))


def rename(old, new):
    return m.RenameAliasOperation(rename_alias=m.RenameAlias(old_alias_name=old, new_alias_name=new))


def drop(name):
    return m.DeleteAliasOperation(delete_alias=m.DeleteAlias(alias_name=name))


def listed(found):
    return {a.alias_name: a.collection_name for a in found.aliases}


def aliases(c):
    create(c, "blue")
    create(c, "green")
    put(c, "blue", 1, 2)
    put(c, "green", 3)
    same(c.update_collection_aliases([alias("live", "blue"), alias("other", "blue"), alias("third", "green")]), True)
    same(listed(c.get_aliases()), {"live": "blue", "other": "blue", "third": "green"})
    same(listed(c.get_collection_aliases("blue")), {"live": "blue", "other": "blue"})
    same(listed(c.get_collection_aliases("third")), {"third": "green"})

    # Wherever a collection's name is.
    same(ids(c, "live"), [1, 2])
    put(c, "live", 5)
    same(c.retrieve("blue", [5])[0].payload, {"of": "live"})
    same(c.count("live").count, 3)
    same(c.query_points("live", query=[1.0, 0.0], limit=1).points[0].id, 5)
    c.set_payload("live", payload={"x": 1}, points=[5])
    c.create_payload_index("live", "x", m.PayloadSchemaType.INTEGER)
    same(set(c.get_collection("blue").payload_schema), {"x"})
    same(c.facet("live", "x").hits[0].count, 1)
    c.delete("live", points_selector=[5])
    same(c.collection_exists("live"), True)
    same(c.get_collection("live").points_count, 2)
    same([x.name for x in c.get_collections().collections], ["blue", "green"])
    # But not to delete it.
    same(c.delete_collection("live"), False)

    # A switch, in one step.
    c.update_collection_aliases([drop("live"), alias("live", "green")])
    same(ids(c, "live"), [3])
    # One that is there already is taken over.
    c.update_collection_aliases([alias("live", "blue")])
    same(ids(c, "live"), [1, 2])
    c.update_collection_aliases([rename("live", "now"), drop("never-was")])
    same(listed(c.get_aliases()), {"now": "blue", "other": "blue", "third": "green"})
    refused(404, "live", lambda: c.count("live"))

    # All or nothing.
    before = listed(c.get_aliases())
    refused(404, "none", lambda: c.update_collection_aliases([drop("now"), alias("a", "none")]))
    refused(404, "live", lambda: c.update_collection_aliases([drop("now"), rename("live", "a")]))
    refused(409, "green", lambda: c.update_collection_aliases([drop("now"), alias("green", "blue")]))
    refused(400, "alias_name", lambda: c.update_collection_aliases([drop("now"), alias("a\nb", "blue")]))
    same(listed(c.get_aliases()), before)
    refused(409, "now", lambda: create(c, "now"))
    refused(404, "none", lambda: c.get_collection_aliases("none"))

    # They go with the collection.
    c.delete_collection("blue")
    same(listed(c.get_aliases()), {"third": "green"})
    create(c, "now")
    same(ids(c, "now"), [])
    for name in ("now", "green"):
        c.delete_collection(name)
    same(listed(c.get_aliases()), {})


def changes(c):
    c.create_collection(
        "changed",
        vectors_config={
            "a": m.VectorParams(size=DIM, distance=m.Distance.DOT),
            "b": m.VectorParams(size=4, distance=m.Distance.DOT, hnsw_config=m.HnswConfigDiff(m=8)),
        },
        sparse_vectors_config={"s": m.SparseVectorParams()},
        optimizers_config=m.OptimizersConfigDiff(indexing_threshold=20, default_segment_number=1),
        metadata={"owner": "x", "stage": 1},
    )
    vectors = RNG.standard_normal((COUNT, DIM)).astype(np.float32)
    c.upsert("changed", points=[
        m.PointStruct(id=i, vector={"a": vectors[i].tolist()}, payload={"n": i}) for i in range(COUNT)
    ])
    eventually("the index is built", lambda: c.get_collection("changed").indexed_vectors_count >= COUNT * 0.8)
    before = c.get_collection("changed").config
    same(c.update_collection("changed", optimizers_config=m.OptimizersConfigDiff(deleted_threshold=0.4)), True)
    same(c.update_collection(
        "changed",
        hnsw_config=m.HnswConfigDiff(ef_construct=60),
        collection_params=m.CollectionParamsDiff(on_disk_payload=False),
        vectors_config={
            "a": m.VectorParamsDiff(
                on_disk=True,
                hnsw_config=m.HnswConfigDiff(m=20),
                quantization_config=m.ScalarQuantization(scalar=m.ScalarQuantizationConfig(type=m.ScalarType.INT8)),
            ),
            "b": m.VectorParamsDiff(hnsw_config=m.HnswConfigDiff()),
        },
        sparse_vectors_config={"s": m.SparseVectorParams(index=m.SparseIndexParams(on_disk=True))},
        metadata={"stage": None, "team": "y"},
    ), True)
    info = c.get_collection("changed")
    a, b = info.config.params.vectors["a"], info.config.params.vectors["b"]
    same((a.on_disk, a.hnsw_config.m, a.quantization_config.scalar.type), (True, 20, m.ScalarType.INT8))
    same(b.hnsw_config, None)
    same(info.config.params.on_disk_payload, False)
    same(info.config.params.sparse_vectors["s"].index.on_disk, True)
    same((info.config.hnsw_config.ef_construct, info.config.hnsw_config.m), (60, before.hnsw_config.m))
    same(info.config.optimizer_config.deleted_threshold, 0.4)
    same(info.config.optimizer_config.indexing_threshold, 20)
    same(info.config.metadata, {"owner": "x", "team": "y"})

    # Rebuilt in the background, with nothing lost.
    green(c, "changed")
    same(c.count("changed").count, COUNT)
    query = RNG.standard_normal(DIM).astype(np.float32)
    scores = {i: float(vectors[i] @ query) for i in range(COUNT)}
    exact = m.SearchParams(exact=True)
    hits = c.query_points("changed", query=query.tolist(), using="a", limit=10, search_params=exact).points
    ranking(hits, scores, 10, what="after a change")
    near = c.query_points("changed", query=query.tolist(), using="a", limit=10).points
    assert len({p.id for p in near} & {p.id for p in hits}) >= 7, near
    same(c.retrieve("changed", [7])[0].payload, {"n": 7})
    c.update_collection("changed", vectors_config={"a": m.VectorParamsDiff(quantization_config=m.Disabled.DISABLED)})
    same(c.get_collection("changed").config.params.vectors["a"].quantization_config, None)
    green(c, "changed")
    # Writes go on.
    c.upsert("changed", points=[m.PointStruct(id=1, vector={"a": [9.0] * DIM})])
    same(c.query_points("changed", query=[1.0] * DIM, using="a", limit=1).points[0].id, 1)

    kept = c.get_collection("changed").config
    change = lambda **config: lambda: c.update_collection("changed", **config)
    refused(404, "none", lambda: c.update_collection("none", hnsw_config=m.HnswConfigDiff(m=4)))
    refused(400, "ef_construct", change(hnsw_config=m.HnswConfigDiff(ef_construct=10**6)))
    refused(400, "zz", change(vectors_config={"zz": m.VectorParamsDiff(on_disk=True)}))
    refused(400, "zz", change(sparse_vectors_config={"zz": m.SparseVectorParams()}))
    refused(501, "modifier", change(sparse_vectors_config={"s": m.SparseVectorParams(modifier=m.Modifier.IDF)}))
    refused(501, "replication_factor", change(collection_params=m.CollectionParamsDiff(replication_factor=2)))
    refused(501, "strict_mode", change(strict_mode_config=m.StrictModeConfig(enabled=True)))
    refused(501, "memmap_threshold", change(optimizers_config=m.OptimizersConfigDiff(memmap_threshold=1)))
    same(c.get_collection("changed").config, kept)
    c.delete_collection("changed")


def quantization(c):
    """Each kind, on an index that is built and one that is not: the best are found, and exact scores are exact."""
    dim = 64
    vectors = RNG.standard_normal((COUNT, dim)).astype(np.float32)
    kinds = {
        "scalar": m.ScalarQuantization(
            scalar=m.ScalarQuantizationConfig(type=m.ScalarType.INT8, quantile=0.96875, always_ram=True)
        ),
        "product": m.ProductQuantization(product=m.ProductQuantizationConfig(compression=m.CompressionRatio.X4)),
        "binary": m.BinaryQuantization(binary=m.BinaryQuantizationConfig(
            always_ram=True, encoding=m.BinaryQuantizationEncoding.TWO_BITS
        )),
    }
    # Signs say little of a vector of few dimensions: of 2000 such, the best ten are among the 320 of the best signs.
    oversampling = {"scalar": 4.0, "product": 4.0, "binary": 32.0}
    for name, config in kinds.items():
        c.create_collection(
            name,
            vectors_config=m.VectorParams(size=dim, distance=m.Distance.COSINE, on_disk=True),
            quantization_config=config,
            optimizers_config=m.OptimizersConfigDiff(indexing_threshold=50, default_segment_number=1),
            hnsw_config=m.HnswConfigDiff(full_scan_threshold=10, on_disk=True),
        )
        same(c.get_collection(name).config.quantization_config, config, name)
        for start in range(0, COUNT, 500):
            c.upsert(name, points=[m.PointStruct(id=i, vector=vectors[i].tolist()) for i in range(start, start + 500)])
        eventually(f"{name} is indexed", lambda: c.get_collection(name).indexed_vectors_count >= COUNT * 0.8)
        green(c, name)
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        found = 0
        for _ in range(10):
            query = RNG.standard_normal(dim).astype(np.float32)
            scores = {i: float(units[i] @ query / np.linalg.norm(query)) for i in range(COUNT)}
            exact = c.query_points(name, query=query.tolist(), limit=10, search_params=m.SearchParams(exact=True))
            ranking(exact.points, scores, 10, what=name)
            params = m.SearchParams(
                hnsw_ef=256, quantization=m.QuantizationSearchParams(rescore=True, oversampling=oversampling[name])
            )
            near = c.query_points(name, query=query.tolist(), limit=10, search_params=params).points
            found += len({p.id for p in near} & {p.id for p in exact.points})
        assert found >= 80, f"recall of {name}: {found / 100}"
        c.delete_collection(name)


def vectors_of_all_kinds(c):
    """A dense, a sparse and a multi vector on each point, in one collection."""
    c.create_collection(
        "kinds",
        vectors_config={
            "dense": m.VectorParams(size=4, distance=m.Distance.DOT, on_disk=True),
            "rows": m.VectorParams(
                size=4,
                distance=m.Distance.DOT,
                multivector_config=m.MultiVectorConfig(comparator=m.MultiVectorComparator.MAX_SIM),
            ),
        },
        sparse_vectors_config={"words": m.SparseVectorParams(index=m.SparseIndexParams(on_disk=False))},
    )
    dense = RNG.standard_normal((30, 4)).astype(np.float32)
    rows = [RNG.standard_normal((1 + i % 3, 4)).astype(np.float32) for i in range(30)]
    c.upsert("kinds", points=[
        m.PointStruct(id=i, vector={
            "dense": dense[i].tolist(),
            "rows": rows[i].tolist(),
            "words": m.SparseVector(indices=[i, i + 100], values=[1.0, 0.5]),
        })
        for i in range(30)
    ])
    query = RNG.standard_normal(4).astype(np.float32)
    ranking(c.query_points("kinds", query=query.tolist(), using="dense", limit=5).points,
            {i: float(v @ query) for i, v in enumerate(dense)}, 5, what="dense")
    ranking(c.query_points("kinds", query=[query.tolist()], using="rows", limit=5).points,
            {i: float((r @ query).max()) for i, r in enumerate(rows)}, 5, what="rows")
    hit = c.query_points("kinds", query=m.SparseVector(indices=[107], values=[2.0]), using="words", limit=5).points
    same([(p.id, p.score) for p in hit], [(7, 1.0)])
    # One vector of a point changed and deleted by its name, the others as they were; in a batch as well.
    c.batch_update_points("kinds", update_operations=[
        m.UpdateVectorsOperation(update_vectors=m.UpdateVectors(points=[
            m.PointVectors(id=3, vector={"rows": [[1.0] * 4, [2.0] * 4]})
        ])),
        m.DeleteVectorsOperation(delete_vectors=m.DeleteVectors(points=[3, 4], vector=["words"])),
        m.OverwritePayloadOperation(overwrite_payload=m.SetPayload(payload={"k": 1}, points=[3])),
        m.ClearPayloadOperation(clear_payload=m.PointIdsList(points=[4])),
    ])
    point = c.retrieve("kinds", [3], with_vectors=True)[0]
    same(set(point.vector), {"dense", "rows"})
    same(point.vector["rows"], [[1.0] * 4, [2.0] * 4])
    np.testing.assert_array_equal(np.float32(point.vector["dense"]), dense[3])
    same(point.payload, {"k": 1})
    with_words = m.Filter(must=[m.HasVectorCondition(has_vector="words")])
    same(c.count("kinds", count_filter=with_words).count, 28)
    c.delete_vectors("kinds", vectors=["words"], points=m.Filter(must=[m.HasIdCondition(has_id=[5, 6])]))
    same(c.count("kinds", count_filter=with_words).count, 26)
    refused(501, "", lambda: c.create_vector_name(
        "kinds", "new", m.DenseVectorNameConfig(dense=m.DenseVectorConfig(size=4, distance=m.Distance.DOT))
    ))
    refused(501, "", lambda: c.delete_vector_name("kinds", "words"))
    c.delete_collection("kinds")


def snapshots(c):
    create(c, "snapped", metadata={"kept": True})
    c.create_payload_index("snapped", "of", m.PayloadSchemaType.KEYWORD)
    put(c, "snapped", *range(10))
    same(c.list_snapshots("snapped"), [])
    first = c.create_snapshot("snapped")
    assert first.name.startswith("snapped-") and first.name.endswith(".snapshot"), first
    put(c, "snapped", 10, 11)
    c.delete("snapped", points_selector=[0, 1])
    c.update_collection_aliases([alias("snapped-alias", "snapped")])
    second = c.create_snapshot("snapped-alias")
    found = c.list_snapshots("snapped")
    same([s.name for s in found], [first.name, second.name])
    same(found[0].checksum, first.checksum)

    def download(name):
        answer = httpx.get(f"{URL}/collections/snapped/snapshots/{urllib.parse.quote(name)}")
        same(answer.status_code, 200, answer.text[:200])
        return answer.content

    data = {s.name: download(s.name) for s in found}
    for s in found:
        same((len(data[s.name]), hashlib.sha256(data[s.name]).hexdigest()), (s.size, s.checksum))
        # With their holes the files would take more than 32 MiB.
        assert s.size < 8 << 20, s

    # By the name; what the alias leads to stays.
    same(c.recover_snapshot("snapped", location=first.name), True)
    same(ids(c, "snapped"), list(range(10)))
    same(ids(c, "snapped-alias"), list(range(10)))
    info = c.get_collection("snapped")
    same((info.config.metadata, set(info.payload_schema)), ({"kept": True}, {"of"}))
    one = m.Filter(must=[m.FieldCondition(key="of", match=m.MatchValue(value="snapped"))])
    same(c.count("snapped", count_filter=one).count, 10)
    # It can be written to, and is written as it should be.
    put(c, "snapped", 20)
    same(ids(c, "snapped"), [*range(10), 20])
    same(len(c.list_snapshots("snapped")), 2)

    # By a URL of the folder, under a new name.
    storage = os.environ["STORAGE"]
    url = f"file://{storage}/snapshots/snapped/{second.name}"
    same(c.recover_snapshot("copy", location=url, checksum=second.checksum, priority=m.SnapshotPriority.SNAPSHOT), True)
    same(ids(c, "copy"), list(range(2, 12)))
    same([x.name for x in c.get_collections().collections], ["copy", "snapped"])
    c.delete_collection("copy")

    # By an upload.
    def upload(name, content, field="snapshot", **query):
        return httpx.post(
            f"{URL}/collections/{name}/snapshots/upload", params={"wait": "true", **query}, files={field: content}
        )

    answer = upload("copy", data[first.name], checksum=first.checksum, priority="snapshot")
    same((answer.status_code, answer.json()["result"]), (200, True), answer.text)
    same(ids(c, "copy"), list(range(10)))
    c.http.snapshots_api.recover_from_uploaded_snapshot("copy", wait=True, snapshot=data[second.name])
    same(ids(c, "copy"), list(range(2, 12)))

    # What is refused changes nothing.
    damaged = bytearray(data[first.name])
    damaged[len(damaged) // 2] ^= 1
    for content, query, text in [
        (bytes(damaged), {}, "damaged"),
        (data[first.name][:-100], {}, "damaged"),
        (b"nonsense", {}, "damaged"),
        (data[first.name], {"checksum": "0" * 64}, "checksum"),
    ]:
        answer = upload("copy", content, **query)
        same(answer.status_code, 400, answer.text)
        assert text in answer.json()["status"]["error"], answer.text
    same(upload("copy", b"x", field="other").status_code, 400)
    same(httpx.post(f"{URL}/collections/copy/snapshots/upload", content=b"x").status_code, 400)
    with tempfile.NamedTemporaryFile(suffix=".snapshot") as outside:
        outside.write(data[first.name])
        outside.flush()
        for location, code in [
            (f"file://{outside.name}", 404),
            ("file:///etc/passwd", 404),
            (f"file://{storage}/snapshots/snapped/../../lock", 404),
            ("missing.snapshot", 404),
            ("../x.snapshot", 400),
            ("http://127.0.0.1:1/x.snapshot", 501),
        ]:
            refused(code, "", lambda: c.recover_snapshot("copy", location=location))
    refused(400, "checksum", lambda: c.recover_snapshot("snapped", location=first.name, checksum="00"))
    refused(400, "collection_name", lambda: c.recover_snapshot("a\\b", location=url))
    same(ids(c, "copy"), list(range(2, 12)))
    refused(404, "none", lambda: c.create_snapshot("none"))
    refused(404, "none", lambda: c.list_snapshots("none"))
    refused(404, "x.snapshot", lambda: c.delete_snapshot("snapped", "x.snapshot"))
    same(httpx.get(f"{URL}/collections/snapped/snapshots/x.snapshot").status_code, 404)
    for call in (c.create_full_snapshot, c.list_full_snapshots, lambda: c.delete_full_snapshot("x.snapshot")):
        refused(501, "each collection", call)

    same(c.delete_snapshot("snapped", second.name), True)
    same([s.name for s in c.list_snapshots("snapped")], [first.name])
    # A snapshot outlives its collection, which can be brought back.
    c.delete_collection("snapped")
    same([s.name for s in c.list_snapshots("snapped")], [first.name])
    same(c.recover_snapshot("snapped", location=first.name), True)
    same(ids(c, "snapped"), list(range(10)))
    c.delete_collection("snapped")
    c.delete_snapshot("snapped", first.name)
    refused(404, "snapped", lambda: c.list_snapshots("snapped"))
    c.delete_collection("copy")


def elsewhere(c):
    """Over the other protocol: nothing is kept in one of the two."""
    create(c, "both")
    put(c, "both", 1)
    c.update_collection_aliases([alias("either", "both")])
    same(httpx.get(f"{URL}/aliases").json()["result"]["aliases"], [
        {"alias_name": "either", "collection_name": "both"}
    ])
    same(httpx.get(f"{URL}/collections/either").json()["result"]["points_count"], 1)
    name = c.create_snapshot("both").name
    listed = httpx.get(f"{URL}/collections/both/snapshots").json()["result"]
    same([s["name"] for s in listed], [name])
    body = {"actions": [{"delete_alias": {"alias_name": "either"}}]}
    same(httpx.post(f"{URL}/collections/aliases", json=body).json()["result"], True)
    same(c.get_aliases().aliases, [])
    same(httpx.post(f"{URL}/collections/both", json=body).status_code, 405)
    same(httpx.post(f"{URL}/collections/aliases", json={"actions": [{"x": {}}]}).status_code, 400)
    # A collection may be called so as well.
    create(c, "aliases")
    put(c, "aliases", 4)
    same(ids(c, "aliases"), [4])
    c.delete_collection("aliases")
    c.delete_snapshot("both", name)
    c.delete_collection("both")


def node(c):
    create(c, "shown")
    put(c, "shown", 1, 2)
    same(c.cluster_status().status, "disabled")
    info = c.collection_cluster_info("shown")
    same((info.shard_count, [s.points_count for s in info.local_shards]), (1, [2]))
    same((info.local_shards[0].state, info.remote_shards), (m.ReplicaState.ACTIVE, []))
    refused(404, "none", lambda: c.collection_cluster_info("none"))
    same(c.list_shard_keys("shown").shard_keys or [], [])
    telemetry = c.http.service_api.telemetry().result
    same((telemetry.app.name, telemetry.collections.number_of_collections), ("qdrant", 1))
    same(telemetry.cluster.enabled, False)
    same(c.http.beta_api.get_issues()["result"]["issues"], [])
    same(httpx.delete(f"{URL}/issues").json()["result"], True)
    for path in ("healthz", "readyz", "livez"):
        same(httpx.get(f"{URL}/{path}").text, f"{path} check passed\n")
    assert "collections_total 1" in httpx.get(f"{URL}/metrics").text
    refused(501, "", lambda: c.create_shard_key("shown", "k"))
    refused(501, "", lambda: c.delete_shard_key("shown", "k"))
    refused(501, "", lambda: c.list_shard_snapshots("shown", 0))
    refused(501, "", lambda: c.get_optimizations("shown"))
    refused(501, "", c.recover_current_peer)
    c.delete_collection("shown")
