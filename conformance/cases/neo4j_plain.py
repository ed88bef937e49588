"""Neo4j by plain gRPC: what the published client does not have or reads wrongly, and statuses."""

import itertools
from typing import Any

from grpc import StatusCode

from conformance import names
from conformance.case import between, cases, holds, refused, same
from conformance.plain import native
from conformance.world import World

case = cases("neo4j", "plain")
INVALID = StatusCode.INVALID_ARGUMENT
ABSENT = StatusCode.NOT_FOUND


def node(w: World, *labels: str, **properties: Any) -> int:
    return w.call("CreateNode", labels=labels or ("N",), properties=properties).node.id


def relate(w: World, one: int, two: int, kind: str = "TO") -> int:
    made = w.call("CreateRelationship", start_node_id=one, end_node_id=two, type=kind)
    return made.relationship.id


def count(w: World, label: str = "") -> int:
    """The tenant's nodes on the engine."""
    return w.engine.value(f"MATCH (n:`{names.neo4j_label(w.tenant, label)}`) RETURN count(n)")


def typed(name: str, value: str) -> dict[str, str]:
    return {"@type": name, "value": value}


@case("RunCypher", "RunCypherWrite", "RunCypherRead")
def cypher(w: World) -> None:
    made = w.call(
        "RunCypherWrite",
        cypher="CREATE (n:Raw {run: $run, big: $big}) RETURN n.big AS big, 1 AS a",
        parameters={"run": w.user, "big": typed("integer", "9007199254740993")},
    )
    same((list(made.columns), made.summary.query_type, made.summary.nodes_created), (["big", "a"], "rw", 1))
    same(native(made.rows[0].fields["big"]), typed("integer", "9007199254740993"))
    same(w.engine.value("MATCH (n:Raw {run: $run}) RETURN n.big", run=w.user), 9007199254740993)
    read = w.call("RunCypherRead", cypher="MATCH (n:Raw {run: $run}) RETURN n", parameters={"run": w.user})
    found = native(read.rows[0].fields["n"])
    same((found["@type"], found["labels"]), ("node", ["Raw"]))
    refused(INVALID, lambda: w.call("RunCypherRead", cypher="MATCH (n:Raw) DETACH DELETE n"))
    same(
        w.call(
            "RunCypher", cypher="MATCH (n:Raw {run: $run}) DELETE n", parameters={"run": w.user}
        ).summary.nodes_deleted,
        1,
    )
    refused(INVALID, lambda: w.call("RunCypher", cypher="MATCH (n) RETRUN n"), "RETRUN", "line 1, column")
    refused(INVALID, lambda: w.call("RunCypher", cypher=""), "cypher")
    refused(ABSENT, lambda: w.call("RunCypher", cypher="RETURN 1", database="other"), "database")
    endless = "UNWIND range(1, 1000000000) AS n RETURN count(n)"
    refused(StatusCode.DEADLINE_EXCEEDED, lambda: w.call("RunCypher", cypher=endless, timeout_ms=300))


@case("RunCypherBatch")
def batch(w: World) -> None:
    queries = [
        {"cypher": "CREATE (n:Batch {run: $run, n: $n}) RETURN n.n AS n", "parameters": {"run": w.user, "n": n}}
        for n in range(3)
    ]
    found = w.call("RunCypherBatch", queries=queries)
    same([native(result.rows[0].fields["n"]) for result in found.results], [0, 1, 2])
    refused(INVALID, lambda: w.call("RunCypherBatch", queries=[*queries, {"cypher": "RETURN 1/0"}]), "queries[3]")
    same(w.engine.value("MATCH (n:Batch {run: $run}) RETURN count(n)", run=w.user), 3)
    w.engine.rows("MATCH (n:Batch {run: $run}) DELETE n", run=w.user)


@case("RunCypher")
def values_go_there_and_back(w: World) -> None:
    for value in (
        None,
        True,
        0.5,
        "ü",
        [1, ["x", None]],
        {"a": {"b": [2.5]}},
        typed("date", "2024-02-29"),
        typed("time", "12:30:00+05:30"),
        typed("localtime", "23:59:59.5"),
        typed("datetime", "2024-10-27T02:30:00+01:00[Europe/Berlin]"),
        typed("localdatetime", "1969-12-31T23:59:59"),
        typed("duration", "P14M3DT-4.5S"),
        typed("bytes", "AAEC"),
        typed("float", "NaN"),
        {"@type": "point", "srid": 4326, "x": 1.0, "y": 2.0},
    ):
        found = w.call("RunCypher", cypher="RETURN $v AS v", parameters={"v": value})
        same(native(found.rows[0].fields["v"]), value)
    refused(
        INVALID, lambda: w.call("RunCypher", cypher="RETURN $v", parameters={"v": {"@type": "colour"}}), "parameters.v"
    )


@case("CreateNode", "GetNode", "UpdateNode", "DeleteNode")
def nodes(w: World) -> None:
    made = w.call("CreateNode", labels=["A", "B`c"], properties={"when": typed("date", "2024-05-01"), "none": None})
    same((list(made.node.labels), native(made.node.properties)), (["A", "B`c"], {"when": typed("date", "2024-05-01")}))
    same(w.engine.value(f"MATCH (n:A:`B``c`:`{names.neo4j_label(w.tenant)}`) RETURN toString(n.when)"), "2024-05-01")
    id = made.node.id
    same(native(w.call("UpdateNode", node_id=id, properties={"x": 1}, replace=True).node.properties), {"x": 1})
    same(w.call("GetNode", node_id=id).found, True)
    other = w.other()
    same(other.call("GetNode", node_id=id).found, False)
    refused(ABSENT, lambda: other.call("UpdateNode", node_id=id, properties={"x": 2}))
    refused(ABSENT, lambda: other.call("DeleteNode", node_id=id, detach=True))
    same(dict(w.engine.node(id)), {"x": 1})
    relate(w, id, id)
    refused(StatusCode.FAILED_PRECONDITION, lambda: w.call("DeleteNode", node_id=id), "detach")
    found = w.call("DeleteNode", node_id=id, detach=True)
    same((found.success, found.relationships_deleted), (True, 1))
    same(count(w), 0)
    for labels in (["_isa_x"], [""], ["a\\u0060"]):
        refused(INVALID, lambda labels=labels: w.call("CreateNode", labels=labels), "labels")
    refused(INVALID, lambda: w.call("CreateNode", properties={"m": {"a": 1}}), "properties.m")


@case("MergeNode", "FindNodes")
def merge(w: World) -> None:
    wanted = {"labels": ["City"], "match_properties": {"name": "Ulm"}}
    made = w.call("MergeNode", **wanted, set_properties={"people": 126000})
    found = w.call("MergeNode", **wanted, set_properties={"river": "Danube"})
    same((made.created, found.created, found.node.id), (True, False, made.node.id))
    same(dict(w.engine.node(made.node.id)), {"name": "Ulm", "people": 126000, "river": "Danube"})
    node(w, "City", name="Ulm")
    refused(StatusCode.FAILED_PRECONDITION, lambda: w.call("MergeNode", **wanted), "several")
    page = w.call("FindNodes", label="City", properties={"name": "Ulm"}, limit=1, skip=1)
    same((len(page.nodes), page.total_count), (1, 2))
    refused(INVALID, lambda: w.call("FindNodes", limit=10001), "limit")


@case("CreateRelationship", "GetRelationship", "UpdateRelationship", "FindRelationships", "DeleteRelationship")
def relationships(w: World) -> None:
    one, two = node(w), node(w)
    made = relate(w, one, two)
    changed = w.call("UpdateRelationship", relationship_id=made, properties={"weight": 0.5})
    same(native(changed.relationship.properties), {"weight": 0.5})
    same(w.engine.value("MATCH ()-[r]->() WHERE id(r) = $id RETURN r.weight", id=made), 0.5)
    relate(w, two, one, "BACK")
    found = w.call("FindRelationships", start_node_id=one, end_node_id=two, type="TO", properties={"weight": 0.5})
    same(([r.id for r in found.relationships], found.total_count), ([made], 1))
    same(w.call("FindRelationships").total_count, 2)
    same(w.call("GetRelationship", relationship_id=made).found, True)
    other = w.other()
    same(other.call("GetRelationship", relationship_id=made).found, False)
    refused(ABSENT, lambda: other.call("DeleteRelationship", relationship_id=made))
    refused(ABSENT, lambda: relate(other, node(other), one), "node")
    same(w.call("DeleteRelationship", relationship_id=made).success, True)
    refused(ABSENT, lambda: w.call("UpdateRelationship", relationship_id=made))


@case("GetNeighbors", "GetPath", "GetShortestPath", "GetAllPaths")
def paths(w: World) -> None:
    ids = [node(w, n=n) for n in range(4)]
    for one, two in itertools.pairwise(ids):
        relate(w, one, two)
    relate(w, ids[0], ids[2], "CUT")
    near = w.call("GetNeighbors", node_id=ids[0], direction="outgoing", max_depth=2)
    same(([n.id for n in near.nodes], len(near.relationships)), (sorted(ids[1:]), 4))
    same(len(w.call("GetNeighbors", node_id=ids[0], relationship_type="CUT").nodes), 1)
    ends = {"start_node_id": ids[0], "end_node_id": ids[3]}
    short = w.call("GetShortestPath", **ends)
    same((short.found, short.path.length, [n.id for n in short.path.nodes]), (True, 2, [ids[0], ids[2], ids[3]]))
    same(w.call("GetPath", **ends, relationship_type="TO").path.length, 3)
    all_of_them = w.call("GetAllPaths", **ends)
    same([p.length for p in all_of_them.paths], [2, 3])
    same(len(w.call("GetAllPaths", **ends, limit=1).paths), 1)
    same(w.call("GetShortestPath", **ends, max_depth=1).found, False)
    refused(ABSENT, lambda: w.other().call("GetShortestPath", **ends))


@case("PageRank", "BetweennessCentrality", "CommunityDetection")
def algorithms(w: World) -> None:
    """A star: everything leads to the middle and on to the last. The numbers can be worked out by hand."""
    leaves = [node(w, "Star") for _ in range(4)]
    middle, last = node(w, "Star"), node(w, "Star")
    for leaf in leaves:
        relate(w, leaf, middle)
    relate(w, middle, last)
    scores = dict(w.call("PageRank", max_iterations=200, dampening_factor=0.5).scores)
    between(sum(scores.values()), 1 - 1e-9, 1 + 1e-9, "the sum")
    # With x for a leaf: the middle has x + 4x/2 = 3x, the last x + 3x/2; so 9.5x = 1.
    for id, known in ((leaves[0], 1 / 9.5), (middle, 3 / 9.5), (last, 2.5 / 9.5)):
        between(scores[id], known - 1e-6, known + 1e-6, "a score")
    scores = dict(w.call("BetweennessCentrality").scores)
    same((scores[middle], scores[last], scores[leaves[0]]), (4.0, 0.0, 0.0))
    for algorithm in ("louvain", "label_propagation"):
        found = w.call("CommunityDetection", algorithm=algorithm)
        same((found.num_communities, set(found.communities.values()), len(found.communities)), (1, {0}, 6))
    same(w.call("CommunityDetection", label="Star", relationship_type="NONE").num_communities, 6)
    same(dict(w.other().call("PageRank").scores), {})
    refused(INVALID, lambda: w.call("PageRank", dampening_factor=1.0), "dampening_factor")


@case("CreateIndex", "ListIndexes", "DropIndex")
def indexes(w: World) -> None:
    for name, kind, properties in (
        ("r", "", ["a", "b"]),
        ("t", "text", ["a"]),
        ("p", "point", ["c"]),
        ("f", "fulltext", ["a", "b"]),
    ):
        same(w.call("CreateIndex", index_name=name, label="Doc", properties=properties, index_type=kind).success, True)
    found = w.call("ListIndexes").indexes
    same(
        [(i.name, i.type, list(i.labels_or_types), i.state) for i in found],
        [(n, t, ["Doc"], "ONLINE") for n, t in (("f", "FULLTEXT"), ("p", "POINT"), ("r", "RANGE"), ("t", "TEXT"))],
    )
    full = names.neo4j_label(w.tenant, "f")
    same(
        w.engine.value("SHOW INDEXES YIELD name, labelsOrTypes WHERE name = $n RETURN labelsOrTypes", n=full),
        [names.neo4j_label(w.tenant, "Doc")],
    )
    id = node(w, "Doc", a="the graph of things")
    search = "CALL db.index.fulltext.queryNodes($n, 'graph') YIELD node RETURN id(node) AS id"
    same(native(w.call("RunCypher", cypher=search, parameters={"n": full}).rows[0].fields["id"]), id)
    refused(StatusCode.ALREADY_EXISTS, lambda: w.call("CreateIndex", index_name="f", label="Doc", properties=["z"]))
    same(list(w.other().call("ListIndexes").indexes), [])
    refused(ABSENT, lambda: w.other().call("DropIndex", index_name="f"))
    for name in "rtpf":
        same(w.call("DropIndex", index_name=name).success, True)
    same(list(w.call("ListIndexes").indexes), [])


@case("CreateConstraint", "ListConstraints", "DropConstraint")
def constraints(w: World) -> None:
    wanted = {"constraint_name": "one", "label": "User", "properties": ["email"], "constraint_type": "unique"}
    same(w.call("CreateConstraint", **wanted).success, True)
    node(w, "User", email="a@b.c")
    refused(StatusCode.ALREADY_EXISTS, lambda: node(w, "User", email="a@b.c"), "User")
    other = w.other()
    node(other, "User", email="a@b.c")
    node(other, "User", email="a@b.c")
    refused(StatusCode.FAILED_PRECONDITION, lambda: other.call("CreateConstraint", **wanted))
    (found,) = w.call("ListConstraints").constraints
    same((found.name, found.type, found.label, list(found.properties)), ("one", "UNIQUENESS", "User", ["email"]))
    full = names.neo4j_label(w.tenant, "one")
    same(w.engine.value("SHOW CONSTRAINTS YIELD name WHERE name = $n RETURN count(*)", n=full), 1)
    refused(StatusCode.UNIMPLEMENTED, lambda: w.call("CreateConstraint", **wanted | {"constraint_type": "exists"}))
    same(w.call("DropConstraint", constraint_name="one").success, True)
    refused(ABSENT, lambda: w.call("DropConstraint", constraint_name="one"))


@case("BeginTransaction", "CommitTransaction", "RollbackTransaction", "CreateNode", "RunCypher")
def transactions(w: World) -> None:
    id = w.call("BeginTransaction").transaction_id
    w.call("CreateNode", labels=["T"], transaction_id=id)
    w.call("RunCypher", cypher="RETURN 1 AS one", transaction_id=id)
    same(count(w), 0)
    refused(ABSENT, lambda: w.other().call("CommitTransaction", transaction_id=id))
    same(w.call("CommitTransaction", transaction_id=id).success, True)
    same(count(w), 1)
    refused(ABSENT, lambda: w.call("CommitTransaction", transaction_id=id))
    id = w.call("BeginTransaction").transaction_id
    w.call("CreateNode", labels=["T"], transaction_id=id)
    same(w.call("RollbackTransaction", transaction_id=id).success, True)
    id = w.call("BeginTransaction", timeout_ms=5000).transaction_id
    w.call("CreateNode", labels=["T"], transaction_id=id)
    refused(INVALID, lambda: w.call("RunCypher", cypher="RETURN 1/0", transaction_id=id))
    refused(StatusCode.ABORTED, lambda: w.call("CommitTransaction", transaction_id=id), "nothing was written")
    same(count(w), 1)
    refused(INVALID, lambda: w.call("CommitTransaction", transaction_id="nonsense"), "transaction_id")


@case("GetDatabaseInfo", "GetStatistics", "ListDatabases", "HealthCheck")
def figures(w: World) -> None:
    one, two = node(w, "A", x=1), node(w, "A", "B", y=2)
    relate(w, one, two)
    node(w.other(), "C")
    info = w.call("GetDatabaseInfo")
    same((info.name, info.node_count, info.relationship_count, info.label_count), ("neo4j", 2, 1, 2))
    same((info.relationship_type_count, info.property_key_count), (1, 2))
    found = native(w.call("GetStatistics").statistics)
    same(found, {"node_count": 2, "relationship_count": 1, "labels": {"A": 2, "B": 1}, "relationship_types": {"TO": 1}})
    same([(d.name, d.status, d.default) for d in w.call("ListDatabases").databases], [("neo4j", "online", True)])
    health = w.call("HealthCheck")
    holds(health.healthy and health.version and health.metadata.success, f"{health}")
