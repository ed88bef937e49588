"""Loki by plain gRPC: every method, what the published client hides, and statuses."""

import json
import time
from datetime import UTC, datetime
from typing import Any

from grpc import StatusCode

from conformance import names
from conformance.case import between, cases, eventually, has, holds, refused, same
from conformance.cases.loki_published import TEXT, stored, written
from conformance.world import World

case = cases("loki", "plain")
INVALID = StatusCode.INVALID_ARGUMENT
SECOND = 10**9


def at(nanoseconds: int) -> str:
    """A time in protobuf's JSON form."""
    seconds, rest = divmod(nanoseconds, SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def fill(w: World, count: int, **labels: str) -> int:
    """So many entries, a millisecond apart; the time of the first."""
    begin = time.time_ns() - 60 * SECOND
    entries = [
        {"line": f"line {i}", "labels": labels, "timestamp": at(begin + i * 1_000_000)} for i in range(count)
    ]
    found = w.call("PushLogBatch", entries=entries)
    same((found.success, found.accepted_count, found.message), (True, count, "OK"))
    return begin


@case("PushLog", "PushSimpleLog", "PushLogBatch", "PushLogStream")
def push(w: World) -> None:
    now = time.time_ns()
    found = w.call("PushLog", entry={"line": TEXT, "labels": {"service": "api"}, "timestamp": at(now)})
    same((found.success, found.message), (True, "OK"))
    holds(found.stream_id, "no stream id")
    same(stored(w, '{service="api"}'), [(written({"service": "api"}), now, TEXT)], "to the nanosecond")
    same(w.call("PushSimpleLog", message="x").success, True)
    same(stored(w, '{service="unknown"}')[0][0], written({"service": "unknown", "level": "unknown"}))
    found = w.send("PushLogStream", [{"entry": {"line": str(i), "labels": {"service": "s"}}} for i in range(1500)])
    same((found.accepted_count, found.rejected_count), (1500, 0))
    same(len(stored(w, '{service="s"}')), 1500)
    refused(INVALID, lambda: w.call("PushLog"), "entry")
    refused(INVALID, lambda: w.call("PushLog", entry={"line": "x", "labels": {"a b": "c"}}), "entry.labels")
    refused(INVALID, lambda: w.call("PushLog", entry={"line": "x" * 300_000}), "entry.line")
    refused(INVALID, lambda: w.call("PushLog", entry={"labels": {"service": "api"}}), "entry.line", "empty")
    refused(INVALID, lambda: w.call("PushLog", entry={"timestamp": at(now - 8 * 86400 * SECOND)}), "entry.timestamp")
    behind = {"line": "x", "labels": {"service": "api"}, "timestamp": at(now - 7200 * SECOND)}
    refused(INVALID, lambda: w.call("PushLog", entry=behind), "entry.timestamp", "behind")
    found = w.call("PushLogBatch", entries=[behind, {"line": "y", "labels": {"service": "api"}}])
    same((found.success, found.accepted_count, found.rejected_count), (False, 1, 1))
    has(found.errors[0], "0: timestamp: ")
    refused(INVALID, lambda: w.call("PushLogBatch"), "entries")
    refused(StatusCode.PERMISSION_DENIED, lambda: w.call("PushLog", tenant_id="x", entry={"line": "x"}), "tenant_id")
    same(w.call("PushLog", tenant_id=w.organization, entry={"line": "x"}).success, True)


@case("PushLogBatch", "PushLog")
def a_bounded_number_of_streams(w: World) -> None:
    found = w.call("PushLogBatch", entries=[{"line": "x", "labels": {"id": str(i)}} for i in range(1000)])
    same((found.accepted_count, list(found.errors)), (1000, []))
    one_more = {"line": "x", "labels": {"id": "1000"}}
    refused(StatusCode.RESOURCE_EXHAUSTED, lambda: w.call("PushLog", entry=one_more), "1000 streams")
    same(w.call("PushLog", entry={"line": "y", "labels": {"id": "7"}}).success, True, "one that is there")
    same(w.other().call("PushLog", entry=one_more).success, True)


@case("QueryLogs", "QueryRange", "QueryStats")
def query(w: World) -> None:
    begin = fill(w, 20, service="api", level="warn")
    found = w.call("QueryLogs", query='{service="api"}', direction="forward", limit=5)
    same([entry.line for entry in found.entries], [f"line {i}" for i in range(5)])
    same((found.total_count, dict(found.entries[0].labels)), (5, {"service": "api", "level": "warn"}))
    same(found.entries[0].timestamp.ToNanoseconds(), begin)
    same(set(found.stats), {"bytes_processed", "lines_processed", "exec_time_seconds"})
    same(len(w.call("QueryLogs").entries), 20, "all")
    ids = {entry.stream_id for entry in w.call("QueryLogs").entries}
    same(len(ids), 1)
    error = refused(INVALID, lambda: w.call("QueryLogs", query='{service="api"'), "query", "parse error at line 1")
    holds("__isa__" not in error.details(), "our own label is told")
    refused(INVALID, lambda: w.call("QueryLogs", query='rate({service="api"}[1m])'), "QueryRange")
    refused(INVALID, lambda: w.call("QueryLogs", limit=5001), "limit")
    refused(INVALID, lambda: w.call("QueryLogs", direction="up"), "direction")
    refused(INVALID, lambda: w.call("QueryLogs", start=at(begin), end=at(begin)), "end")
    refused(INVALID, lambda: w.call("QueryLogs", start=at(begin - 31 * 86400 * SECOND)), "start")
    refused(INVALID, lambda: w.call("QueryLogs", query="x" * 70_000), "query")
    found = w.call("QueryRange", query='count_over_time({service="api"}[1h])', step=60)
    same((found.result_type, dict(found.matrix_results[0].metric)), ("matrix", {"service": "api", "level": "warn"}))
    refused(INVALID, lambda: w.call("QueryRange"), "query")
    refused(INVALID, lambda: w.call("QueryRange", query="vector(1)", step=-1), "step")
    found = w.call("QueryStats", query='{service="api"}', start=at(begin), end=at(begin + 10 * 1_000_000))
    same((found.total_entries, found.streams_count, dict(found.level_distribution)), (10, 1, {"warn": 10}))


@case("GetLabels", "GetLabelValues", "ValidateLabels")
def labels(w: World) -> None:
    fill(w, 1, service="api", zone="a")
    fill(w, 1, service="web", zone="b")
    same(list(w.call("GetLabels").labels), ["service", "zone"])
    same(list(w.call("GetLabelValues", label_name="service", query='{zone="b"}').values), ["web"])
    refused(INVALID, lambda: w.call("GetLabelValues", label_name="__isa__"), "label_name")
    refused(INVALID, lambda: w.call("GetLabelValues", label_name="service", query="{"), "query")
    found = w.call("ValidateLabels", labels={"__a": "b"})
    same((found.valid, len(found.violations)), (False, 1))


@case("ListStreams", "GetStreamInfo", "DeleteStream")
def streams(w: World) -> None:
    theirs = w.other()
    fill(theirs, 1, service="theirs")
    (stream,) = theirs.call("ListStreams").streams
    w.leave_organization()
    if not w.open:
        refused(StatusCode.NOT_FOUND, lambda: w.call("GetStreamInfo", stream_id=stream.stream_id))
        refused(StatusCode.NOT_FOUND, lambda: w.call("DeleteStream", stream_id=stream.stream_id))
    begin = fill(w, 3, service="api")
    fill(w, 2, service="api", zone="a")
    found = w.call("ListStreams", label_filter={"zone": "a"})
    same((found.total_count, found.streams[0].entry_count), (1, 2))
    same(found.streams[0].organization_id, w.organization)
    alone = next(s for s in w.call("ListStreams").streams if "zone" not in s.labels)
    same(alone.entry_count, 3)
    same(alone.first_entry_at.ToMilliseconds(), begin // 1_000_000)
    refused(INVALID, lambda: w.call("ListStreams", page_size=501), "page_size")
    refused(INVALID, lambda: w.call("GetStreamInfo", stream_id="x"), "stream_id")
    same(w.call("GetStreamInfo", stream_id=alone.stream_id).stream.entry_count, 3)
    found = w.call("DeleteStream", stream_id=alone.stream_id)
    same((found.success, found.deleted_entries), (True, 3))
    (asked,) = w.engine.deletions(names.loki_scope(w.tenant))
    same(asked["query"], '{__isa__="1",service="api",zone=""}')
    same_time = {"start": at(begin), "end": at(begin)}
    refused(INVALID, lambda: w.call("DeleteStream", stream_id=alone.stream_id, **same_time), "end")


@case("TailLogs")
def tail(w: World) -> None:
    begin = fill(w, 5, service="tail")
    tail = w.stream("TailLogs", query='{service="tail"}', start=at(begin), limit=2).confirmed()
    same([entry.line for entry in tail.take(2)], ["line 3", "line 4"])
    w.other().call("PushLog", entry={"line": "of another organization", "labels": {"service": "tail"}})
    for i in range(300):
        w.call("PushLog", entry={"line": f"new {i}", "labels": {"service": "tail"}})
    found = tail.take(300)
    same(sorted(entry.line for entry in found), sorted(f"new {i}" for i in range(300)))
    same(dict(found[0].labels), {"service": "tail"})
    tail.nothing_comes()
    tail.cancel()
    refused(INVALID, lambda: w.stream("TailLogs", query="{").status(), "query", "parse error")
    refused(INVALID, lambda: w.stream("TailLogs", query='rate({a="b"}[1m])').status(), "query")
    refused(INVALID, lambda: w.stream("TailLogs", delay_for=6).status(), "delay_for")


@case("ExportLogs", "GetExportStatus")
def export(w: World) -> None:
    w.leave_organization()
    fill(w, 7000, service="export")
    pieces: list[Any] = list(w.stream("ExportLogs", query='{service="export"}', format="EXPORT_JSON"))
    same([piece.complete for piece in pieces], [False] * (len(pieces) - 1) + [True])
    objects = json.loads(b"".join(piece.data for piece in pieces))
    same([entry["line"] for entry in objects], [f"line {i}" for i in range(7000)])
    same(objects[0]["labels"], {"service": "export"})
    identifier = pieces[0].export_id
    found = w.call("GetExportStatus", export_id=identifier)
    same((found.status, found.total_entries, found.exported_entries), ("completed", 7000, 7000))
    slow = w.stream("ExportLogs", query='{service="export"}', chunk_size=10)
    identifier = slow.next().export_id
    slow.cancel()
    ended = {"cancelled", "completed"}
    eventually("it ends", lambda: w.call("GetExportStatus", export_id=identifier).status in ended)
    refused(INVALID, lambda: w.call("GetExportStatus", export_id="x"), "export_id")
    refused(INVALID, lambda: w.stream("ExportLogs", chunk_size=10_001).status(), "chunk_size")
    refused(INVALID, lambda: w.stream("ExportLogs", query="{").status(), "query")


@case("HealthCheck", "GetStatistics", "GetUserQuota")
def monitoring(w: World) -> None:
    found = w.call("HealthCheck", deep_check=True)
    same((found.healthy, found.can_write, found.can_read, found.loki_status), (True, True, True, "ready"))
    same(found.component_status["ingester"], "Running")
    between(found.checked_at.seconds - time.time(), -5, 5, "checked_at")
    begin = fill(w, 10, service="api", level="info")
    found = w.call("GetStatistics", start=at(begin), end=at(begin + 5 * 1_000_000))
    same((found.total_entries, dict(found.entries_by_level)), (5, {"info": 5}))
    refused(INVALID, lambda: w.call("GetStatistics", start=at(begin), end=at(begin)), "end")
    holds(w.call("GetUserQuota").storage_used_bytes >= 60, "bytes")
