"""Neo4j by the published sync client: how it sends parameters."""

from conformance.case import cases, same
from conformance.world import World

case = cases("neo4j", "sync")


@case("RunCypher")
def parameters_as_the_sync_client_sends_them(w: World) -> None:
    """True as the number 1; None, lists and maps as a Value of no kind, which is null."""
    found = w.client.run_cypher("RETURN $b AS b, $n AS n, $l AS l, $m AS m", {"b": True, "n": None, "l": [1], "m": {}})
    same(found, [{"b": 1, "n": None, "l": None, "m": None}])
