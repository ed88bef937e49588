"""Neo4j by the published async client: how it sends parameters, and what it runs at once."""

from conformance.case import cases, same
from conformance.cases.neo4j_published import label
from conformance.world import World

case = cases("neo4j", "async")


@case("RunCypher")
async def parameters_as_the_async_client_sends_them(w: World) -> None:
    found = await w.raw.run_cypher(
        "RETURN $b AS b, $n AS n, $l AS l, $m AS m", {"b": True, "n": None, "l": [1], "m": {"a": "x"}}
    )
    same(found, [{"b": True, "n": None, "l": [1.0], "m": {"a": "x"}}])


@case("RunCypher", "CreateNode")
async def many_at_once(w: World) -> None:
    queries = [{"cypher": "RETURN $n AS n", "params": {"n": n}} for n in range(50)]
    same(await w.raw.run_cypher_many_concurrent(queries), [[{"n": n}] for n in range(50)])
    ids = await w.raw.create_nodes_concurrent([{"labels": [label(w)], "properties": {"n": n}} for n in range(50)])
    found = w.engine.rows(f"MATCH (n:{label(w)}) RETURN id(n) AS id, n.n AS n ORDER BY n")
    same([row["id"] for row in found], ids)
