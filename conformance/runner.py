"""Runs cases one after another, and keeps what came of them."""

import contextlib
import io
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import Any

import grpc

from conformance import engines, published
from conformance.background import LOOP
from conformance.case import Case
from conformance.links import Links
from conformance.plain import Plain
from conformance.world import World


@dataclass
class Outcome:
    """A case by one kind of client."""

    case: Case
    kind: str
    # Why it failed; empty if it passed.
    reason: str
    seconds: float
    # What the engine behind the service lacks, as the service said it: a right answer, and no failure.
    lacks: str = ""

    @property
    def name(self) -> str:
        return f"{self.case.file}::{self.case.name}[{self.kind}]"


@dataclass
class Tested:
    """A service with all that was found."""

    service: str
    engine: str
    methods: list[str]
    outcomes: list[Outcome] = field(default_factory=list)


def test(service: str, cases: list[Case], links: Links) -> Tested:
    """Runs the service's cases; raises if the service or its engine cannot be reached at all."""
    address = links.services[service]
    plain = Plain(service, address)
    engine = engines.connect(service, links.engines[engines.beside(service)])
    tested = Tested(service, engines.version(service, engine), plain.methods)
    for case in cases:
        for kind in case.kinds:
            world = World(service, kind, address, plain, engine, links.default_tenant)
            outcome = attempt(case, world, tested.engine)
            tested.outcomes.append(outcome)
            if outcome.reason:
                print(f"FAIL {service} {outcome.name}: {outcome.reason}", file=sys.stderr, flush=True)
    engines.close(service, engine)
    plain.channel.close()
    return tested


def attempt(case: Case, world: World, engine: str) -> Outcome:
    published.LOG.take()
    began = time.monotonic()
    reason = bounded(case, world)
    if not reason and (missed := set(case.methods) - world.called):
        reason = f"the case did not call {', '.join(sorted(missed))}"
    if reason and (swallowed := published.LOG.take()):
        reason += f" | the client logged: {' '.join(swallowed)[:600]}"
    outcome = Outcome(case, world.kind, " ".join(reason.split()), time.monotonic() - began)
    # MinIO has everything; of the others UNIMPLEMENTED is a right answer.
    if "UNIMPLEMENTED" in reason and world.service == "minio" and not engine.startswith("minio"):
        outcome.reason, outcome.lacks = "", reason
    try:
        world.clean()
    except Exception as error:
        print(f"note: {outcome.name} left something behind: {error}", file=sys.stderr)
    return outcome


def bounded(case: Case, world: World) -> str:
    """Why the case failed; one that hangs is left behind in its thread."""
    reasons: list[str] = []

    def work() -> None:
        try:
            if iscoroutinefunction(case.run):
                LOOP.run(case.run(world), case.limit)
            else:
                case.run(world)
            reasons.append("")
        except BaseException as error:
            reasons.append(f"{explained(error)} ({place(traceback.extract_tb(error.__traceback__))})")

    thread = threading.Thread(target=work, daemon=True)
    # The published NATS client prints.
    with contextlib.redirect_stdout(io.StringIO()):
        thread.start()
        thread.join(case.limit)
    if reasons:
        return reasons[0]
    frame = sys._current_frames().get(thread.ident or 0)
    return f"no end within {case.limit} s ({place(traceback.extract_stack(frame))})"


def explained(error: BaseException) -> str:
    match error:
        case grpc.RpcError() if isinstance(error, grpc.Call):
            return f"{error.code()}: {error.details()}"
        case AssertionError():
            return str(error)
        case _:
            return f"{type(error).__name__}: {error}"


def place(stack: Any) -> str:
    """The line of the case."""
    lines = [f"line {frame.lineno}" for frame in stack if "/conformance/cases/" in frame.filename]
    return lines[-1] if lines else "outside the case"
