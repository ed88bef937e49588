"""The table: method x engine x client, for all services of the contract."""

import json
from typing import Any

from conformance import contract
from conformance.case import KINDS
from conformance.runner import Outcome, Tested

# From the worst: of several cases the worst counts.
RESULTS = ("FAIL", "lacks", "pass")
WORDS = """\
pass: every case of it passes. lacks: the engine cannot do it, and the service says so.
absent: the published client has no call of it. untried: it has one, and no case makes it. -: no case of plain gRPC."""
# Of the reason in the table; the whole one stands below it.
SHORT = 90


def result(outcome: Outcome) -> str:
    return "FAIL" if outcome.reason else "lacks" if outcome.lacks else "pass"


def cells(tested: Tested) -> dict[str, dict[str, str]]:
    """What came of each method by each kind of client, in the words above."""
    methods = dict.fromkeys([*tested.methods, *contract.services().get(tested.service, [])])
    table: dict[str, dict[str, str]] = {method: dict.fromkeys(KINDS, "") for method in methods}
    for outcome in tested.outcomes:
        for method in outcome.case.methods:
            row = table.setdefault(method, dict.fromkeys(KINDS, ""))
            found = [result(outcome), row[outcome.kind] or "pass"]
            row[outcome.kind] = min(found, key=RESULTS.index)
    for method, row in table.items():
        for kind in KINDS:
            calls = method in contract.called(tested.service, kind)
            row[kind] = row[kind] or ("-" if kind == "plain" else "untried" if calls else "absent")
    return table


def reason(tested: Tested, method: str, row: dict[str, str]) -> str:
    """Why a method has something else than `pass`; empty if it has not."""
    for outcome in sorted(tested.outcomes, key=lambda outcome: RESULTS.index(result(outcome))):
        if method in outcome.case.methods and (why := outcome.reason or outcome.lacks):
            return f"{outcome.case.name}: {why}"
    if method not in tested.methods:
        return "the server has no such method"
    if not set(row.values()) & set(RESULTS):
        return "no case"
    return "no case by the published client" if "untried" in row.values() else ""


def proved(tested: Tested) -> list[str]:
    """Methods with a passing case; one that the engine lacks is proved by a refusal that says so."""
    return [method for method, row in cells(tested).items() if {"pass", "lacks"} & set(row.values())]


def unproved(tested: Tested) -> list[str]:
    """Methods without a single passing case."""
    return sorted(cells(tested).keys() - set(proved(tested)))


def untried(tested: Tested) -> list[str]:
    """Methods that the published client calls and no case by it."""
    return [method for method, row in cells(tested).items() if "untried" in row.values()]


def failed(results: list[Tested]) -> bool:
    return any(unproved(t) or untried(t) or any(o.reason for o in t.outcomes) for t in results)


def count(results: list[Tested], skipped: dict[str, str]) -> tuple[int, int]:
    """How many methods of the contract have a passing case, and how many there are in these services."""
    published = contract.services()
    found = sum(method in published.get(t.service, []) for t in results for method in proved(t))
    return found, sum(len(published.get(service, [])) for service in [*(t.service for t in results), *skipped])


def text(results: list[Tested], skipped: dict[str, str]) -> str:
    rows = [["SERVICE", "METHOD", "ENGINE", *(kind.upper() for kind in KINDS), "REASON"]]
    for tested in results:
        for method, row in cells(tested).items():
            why = reason(tested, method, row)
            why = why if len(why) <= SHORT else f"{why[:SHORT]}…"
            rows.append([tested.service, method, tested.engine, *(row[kind] for kind in KINDS), why])
    for service, why in skipped.items():
        methods = f"({len(contract.services().get(service, []))} methods)"
        rows.append([service, methods, "-", *("-" for _ in KINDS), f"not there: {why}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", *WORDS.splitlines(), ""]
    for tested in results:
        lines += [f"FAIL {tested.service} {o.name}: {o.reason}" for o in tested.outcomes if o.reason]
        lines += [f"lacks {tested.service} {o.name}: {o.lacks}" for o in tested.outcomes if o.lacks]
    for tested in results:
        have, every = len(proved(tested)), len(cells(tested))
        added = every - len(contract.services().get(tested.service, []))
        note = f", {added} of which isA adds to the contract" if added else ""
        lines.append(f"{tested.service} on {tested.engine}: {have} of {every} methods{note}")
    outcomes = [o for t in results for o in t.outcomes]
    bad = sum(bool(o.reason) for o in outcomes)
    lines.append(f"{len(outcomes) - bad} cases passed, {bad} failed")
    have, every = count(results, skipped)
    lines.append(f"{have} of {every} methods have a passing case")
    return "\n".join(lines)


def as_json(results: list[Tested], skipped: dict[str, str]) -> str:
    services: dict[str, Any] = {}
    for tested in results:
        services[tested.service] = {
            "engine": tested.engine,
            "methods": {
                method: {**row, "reason": reason(tested, method, row)} for method, row in cells(tested).items()
            },
            "unproved": unproved(tested),
            "untried": untried(tested),
            "cases": [
                {
                    "case": o.name,
                    "methods": o.case.methods,
                    "client": o.kind,
                    "result": result(o).lower(),
                    "reason": o.reason or o.lacks,
                    "seconds": round(o.seconds, 3),
                }
                for o in tested.outcomes
            ],
        }
    have, every = count(results, skipped)
    return json.dumps(
        {
            "passed": not failed(results),
            "methods": every,
            "proved": have,
            "services": services,
            "skipped": skipped,
        },
        indent=2,
    )
