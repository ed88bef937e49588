"""The table: method x client, for each service and engine."""

import json
from typing import Any

from conformance.case import KINDS
from conformance.runner import Tested


def cells(tested: Tested) -> dict[str, dict[str, str]]:
    """`pass`, `FAIL`, or `lacks` where the engine cannot do it and the service says so, by method and kind of client.
    A method that no case of the kind proves has no entry."""
    table: dict[str, dict[str, str]] = {method: {} for method in tested.methods}
    for outcome in tested.outcomes:
        result = "FAIL" if outcome.reason else "lacks" if outcome.lacks else "pass"
        for method in outcome.case.methods:
            row = table.setdefault(method, {})
            # Of several cases the worst counts.
            row[outcome.kind] = min(result, row.get(outcome.kind, result), key=["FAIL", "lacks", "pass"].index)
    return table


def unproved(tested: Tested) -> list[str]:
    """Methods without a single passing case; one that the engine lacks is proved by a refusal that says so."""
    proved = {method for o in tested.outcomes if not o.reason for method in o.case.methods}
    return [method for method in tested.methods if method not in proved]


def failed(results: list[Tested]) -> bool:
    return any(unproved(t) or any(o.reason for o in t.outcomes) for t in results)


def text(results: list[Tested], skipped: dict[str, str]) -> str:
    lines: list[str] = []
    for tested in results:
        table = cells(tested)
        width = max(map(len, table))
        lines += ["", f"{tested.service} on {tested.engine}: {len(tested.methods)} methods"]
        lines += [" ".join([f"{'METHOD':{width}}", *(f"{kind.upper():5}" for kind in KINDS)]).rstrip()]
        for method, row in table.items():
            lines.append(" ".join([f"{method:{width}}", *(f"{row.get(kind, '-'):5}" for kind in KINDS)]).rstrip())
        if missing := unproved(tested):
            lines.append(f"without a passing case: {', '.join(missing)}")
    lines.append("")
    for tested in results:
        lines += [f"FAIL {tested.service} {o.name}: {o.reason}" for o in tested.outcomes if o.reason]
        lines += [f"lacks {tested.service} {o.name}: {o.lacks}" for o in tested.outcomes if o.lacks]
    for tested in results:
        proved = len(tested.methods) - len(unproved(tested))
        lines.append(f"{tested.service}: {proved} of {len(tested.methods)} methods have a passing case")
    lines += [f"skipped: {service}: {why}" for service, why in skipped.items()]
    outcomes = [o for t in results for o in t.outcomes]
    bad = sum(bool(o.reason) for o in outcomes)
    lines.append(f"{len(outcomes) - bad} passed, {bad} failed")
    return "\n".join(lines).lstrip("\n")


def as_json(results: list[Tested], skipped: dict[str, str]) -> str:
    services: dict[str, Any] = {}
    for tested in results:
        services[tested.service] = {
            "engine": tested.engine,
            "methods": cells(tested),
            "unproved": unproved(tested),
            "cases": [
                {
                    "case": o.name,
                    "methods": o.case.methods,
                    "client": o.kind,
                    "result": "fail" if o.reason else "lacks" if o.lacks else "pass",
                    "reason": o.reason or o.lacks,
                    "seconds": round(o.seconds, 3),
                }
                for o in tested.outcomes
            ],
        }
    return json.dumps({"passed": not failed(results), "services": services, "skipped": skipped}, indent=2)
