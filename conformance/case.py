"""What a case is, and comparisons that say what differs."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import grpc

KINDS = ("sync", "async", "plain")


@dataclass(frozen=True)
class Case:
    """A function that uses one service by one or more kinds of client, and fails by an exception."""

    service: str
    kinds: tuple[str, ...]
    # What it proves. The runner fails a case that called less.
    methods: tuple[str, ...]
    run: Callable[[Any], Any]
    # Seconds after which it counts as hanging. The published client has no deadlines of its own.
    limit: float

    @property
    def name(self) -> str:
        return self.run.__name__

    @property
    def file(self) -> str:
        return self.run.__module__.rpartition(".")[2] + ".py"


ALL: list[Case] = []


def cases(service: str, *kinds: str) -> Callable[..., Callable]:
    """The decorator `@case(METHOD, ...)` for cases of this service and these kinds of client."""

    def case(*methods: str, limit: float = 30) -> Callable:
        def register(run: Callable) -> Callable:
            ALL.append(Case(service, kinds, methods, run, limit))
            return run

        return register

    return case


def short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"


def same(found: Any, expected: Any, what: str = "") -> None:
    if isinstance(found, dict) and isinstance(expected, dict):
        # Only what differs.
        found, expected = (
            {key: value for key, value in one.items() if key not in two or two[key] != value}
            for one, two in ((found, expected), (expected, found))
        )
    if found != expected or isinstance(found, bool) != isinstance(expected, bool):
        raise AssertionError(f"{what}: found {short(found)}, expected {short(expected)}".removeprefix(": "))


def holds(condition: Any, what: str) -> None:
    if not condition:
        raise AssertionError(what)


def between(found: float, low: float, high: float, what: str = "") -> None:
    if math.isnan(found) or not low <= found <= high:
        raise AssertionError(f"{what}: found {found}, expected {low} to {high}".removeprefix(": "))


def has(text: str, *parts: str) -> None:
    for part in parts:
        holds(part.lower() in text.lower(), f"{part!r} is not in {short(text)}")


def refused(codes: grpc.StatusCode | Iterable[grpc.StatusCode], call: Callable[[], Any], *parts: str) -> grpc.RpcError:
    """The call ends with one of these codes, and a message that has the parts."""
    wanted = {codes} if isinstance(codes, grpc.StatusCode) else set(codes)
    names = "/".join(sorted(code.name for code in wanted))
    try:
        found = call()
    except grpc.RpcError as error:
        said = f"{error.code().name}: {error.details()}"
        holds(error.code() in wanted, f"refused with {said}, expected {names}")
        has(said, *parts)
        return error
    raise AssertionError(f"not refused with {names}, but answered: {short(found)}")


def eventually(what: str, look: Callable[[], Any], limit: float = 10) -> Any:
    """The first true answer of `look`; fails after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not (found := look()):
        holds(time.monotonic() < deadline, f"not within {limit} s: {what}")
        time.sleep(0.02)
    return found
