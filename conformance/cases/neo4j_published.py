"""Neo4j by the published client: what its sync and async form have in common. It never says who calls, so everything
here is the default tenant's; labels have a name that no run had before."""

import itertools
from typing import Any

from conformance import names
from conformance.case import cases, holds, same
from conformance.world import World

case = cases("neo4j", "sync", "async")
TEXT = "größer als 🦀 漢字"


def label(w: World) -> str:
    return f"Person_{w.user}"


def person(w: World, **properties: Any) -> int:
    made = w.client.create_node([label(w), "Everyone"], properties)
    holds(isinstance(made, int), f"the id is {made!r}")
    return made


def related(w: World) -> tuple[int, int, int]:
    """Two nodes and the relationship from the one to the other."""
    one, two = person(w, n=1), person(w, n=2)
    return one, two, w.client.create_relationship(one, two, "KNOWS", {"since": 1999})


@case("HealthCheck")
def health(w: World) -> None:
    found = w.client.health_check()
    same((found["healthy"], found["edition"]), (True, "community"))
    holds(found["version"].startswith("5."), found["version"])


@case("CreateNode", "GetNode")
def create_and_get(w: World) -> None:
    made = person(w, name=TEXT, born=1815, ratio=0.5, alive=False, tags=["a", "b"])
    found = w.client.get_node(made)
    same((found["id"], found["labels"]), (made, ["Everyone", label(w)]))
    same(found["properties"]["name"], TEXT)
    same((found["properties"]["born"], found["properties"]["ratio"], found["properties"]["alive"]), (1815, 0.5, False))
    there = w.engine.node(made)
    same(dict(there), {"name": TEXT, "born": 1815, "ratio": 0.5, "alive": False, "tags": ["a", "b"]})
    holds(isinstance(there["born"], int), "the engine has an Integer")
    same(
        set(there.labels),
        {name for given in (label(w), "Everyone") for name in (given, names.neo4j_label(w.tenant, given))}
        | {names.neo4j_label(w.tenant)},
    )
    same(w.client.get_node(2**50), None, "a node that is not there")


@case("UpdateNode", "CreateNode")
def update(w: World) -> None:
    made = person(w, name="Ada", born=1815)
    same(w.client.update_node(made, {"born": None, "field": "mathematics"}), True)
    same(dict(w.engine.node(made)), {"name": "Ada", "field": "mathematics"})
    same(w.client.update_node(2**50, {"a": 1}), None, "a node that is not there")


@case("DeleteNode", "CreateRelationship")
def delete(w: World) -> None:
    one, two, _ = related(w)
    same(w.client.delete_node(one), None, "a node that has relationships")
    same(w.client.delete_node(one, detach=True), True)
    same(w.client.delete_node(two), True)
    same((w.engine.node(one), w.engine.node(two)), (None, None))
    same(w.client.delete_node(one), None, "one that is gone")


@case("FindNodes", "CreateNode")
def find(w: World) -> None:
    ids = [person(w, n=n, even=n % 2 == 0) for n in range(5)]
    found = w.client.find_nodes(labels=[label(w)])
    same(sorted(node["id"] for node in found), sorted(ids))
    same(found[0]["labels"], ["Everyone", label(w)])
    even = w.client.find_nodes([label(w)], {"even": True})
    same(sorted(node["properties"]["n"] for node in even), [0, 2, 4])
    same(len(w.client.find_nodes([label(w)], limit=2)), 2)
    same(w.client.find_nodes(labels=["Nothing"]), [])


@case("CreateRelationship", "GetRelationship", "DeleteRelationship")
def relationships(w: World) -> None:
    one, two, made = related(w)
    holds(isinstance(made, int), f"the id is {made!r}")
    found = w.client.get_relationship(made)
    same((found["id"], found["start_node_id"], found["end_node_id"], found["type"]), (made, one, two, "KNOWS"))
    same(found["properties"]["since"], 1999)
    there = "MATCH (a)-[r]->(b) WHERE id(r) = $id RETURN [type(r), r.since, id(a), id(b)]"
    same(w.engine.value(there, id=made), ["KNOWS", 1999, one, two])
    same(w.client.delete_relationship(made), True)
    same(w.engine.rows("MATCH ()-[r]->() WHERE id(r) = $id RETURN r", id=made), [])
    same((w.client.get_relationship(made), w.client.delete_relationship(made)), (None, None))
    same(w.client.create_relationship(one, 2**50, "KNOWS"), None, "an end that is not there")


@case("GetPath", "GetShortestPath", "CreateRelationship")
def paths(w: World) -> None:
    ids = [person(w, n=n) for n in range(4)]
    for one, two in itertools.pairwise(ids):
        w.client.create_relationship(one, two, "NEXT")
    w.client.create_relationship(ids[3], ids[1], "CUT")
    found = w.client.shortest_path(ids[0], ids[3])
    same((found["length"], [node["id"] for node in found["nodes"]]), (2, [ids[0], ids[1], ids[3]]))
    same([r["type"] for r in found["relationships"]], ["NEXT", "CUT"])
    found = w.client.get_path(ids[0], ids[3], max_depth=4)
    same(len(found["nodes"]), found["length"] + 1)
    same((found["nodes"][0]["id"], found["nodes"][-1]["id"]), (ids[0], ids[3]))
    same(w.client.get_path(ids[0], person(w, n=9)), None, "no way")
    same(w.client.shortest_path(ids[0], ids[3], max_depth=1), None, "too far")


@case("RunCypher")
def cypher(w: World) -> None:
    query = "RETURN $text AS text, $whole AS whole, $part AS part, [1, 'x'] AS list, {a: 1} AS map, null AS nothing"
    (row,) = w.client.run_cypher(query, {"text": TEXT, "whole": 42, "part": 0.5})
    same((row["text"], row["whole"], row["part"], row["nothing"]), (TEXT, 42, 0.5, None))
    # By JSON, so that their numbers become floats.
    same((row["list"], row["map"]), ([1.0, "x"], {"a": 1.0}))
    same(w.client.run_cypher("RETURN date('2024-05-01') AS d"), [{"d": {"@type": "date", "value": "2024-05-01"}}])
    same(w.client.run_cypher("MATCH (n:Nothing) RETURN n"), [])
    same(w.client.run_cypher("RETRUN 1"), None, "what is no Cypher")


@case("CreateNode", "RunCypher")
def cypher_sees_structured_nodes_by_their_labels(w: World) -> None:
    made = person(w, name="Ada")
    same(w.client.run_cypher(f"MATCH (n:{label(w)}) RETURN id(n) AS id, n.name AS name"), [{"id": made, "name": "Ada"}])


@case("PageRank", "BetweennessCentrality")
def algorithms(w: World) -> None:
    """Called, and answered well (`neo4j_plain.py` has the numbers); but the client looks for a field that the contract
    does not have, and gives None."""
    person(w)
    same((w.client.pagerank(), w.client.betweenness_centrality()), (None, None))


@case("RunCypher")
def statistics(w: World) -> None:
    """By raw Cypher, which counts everything."""
    person(w)
    found = w.client.get_stats()
    holds(found["node_count"] >= 1 and found["relationship_count"] >= 0, f"{found}")
