"""Loki by the published client, of which there is a sync one alone."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from conformance import names
from conformance.case import between, cases, eventually, holds, same
from conformance.world import World

case = cases("loki", "sync")
TEXT = 'größer "als" 🦀 \\ 漢字'


def ago(**span: float) -> datetime:
    """A time as the published client takes it: in UTC, and without saying so."""
    return datetime.now(UTC).replace(tzinfo=None) - timedelta(**span)


def stored(w: World, selector: str) -> list[tuple[dict[str, str], int, str]]:
    return w.engine.entries(names.loki_scope(w.tenant), selector)


def written(labels: dict[str, str]) -> dict[str, str]:
    return names.loki_labels(labels)


def batch(w: World, count: int, **labels: str) -> None:
    begin = ago(seconds=60)
    entries = [
        {"message": f"line {i}", "labels": labels, "timestamp": begin + timedelta(milliseconds=i)} for i in range(count)
    ]
    same(w.client.push_log_batch(entries)["accepted_count"], count)


@case("HealthCheck")
def health(w: World) -> None:
    same(w.client.health_check(), {"healthy": True, "loki_status": "ready", "can_write": True, "can_read": True})


@case("PushLog")
def push_log(w: World) -> None:
    at = ago(minutes=5)
    same(w.client.push_log(TEXT, {"service": "api", "odd": TEXT}, at), {"success": True})
    ((labels, nanoseconds, line),) = stored(w, '{service="api"}')
    same((labels, line), (written({"service": "api", "odd": TEXT}), TEXT))
    same(nanoseconds // 1000, int(at.replace(tzinfo=UTC).timestamp() * 10**6))
    same(w.client.push_log("no labels"), {"success": True})
    same([line for _, _, line in stored(w, '{service="unknown"}')], ["no labels"])
    many = {f"l{i}": "x" for i in range(13)}
    for bad in ({"a-b": "x"}, {"9a": "x"}, {"__a": "x"}, {"a": ""}, {"a": "x" * 257}, many):
        same(w.client.push_log("x", bad), None, f"labels {bad}")
    same(w.client.push_log("x" * 300_000), None, "beyond 256 KiB")
    same(w.client.push_log("x", timestamp=ago(days=8)), None, "too old")
    same(w.client.push_log("x", timestamp=ago(hours=-1)), None, "too far ahead")
    same(w.client.push_log("x", {"service": "api", "odd": TEXT}, ago(hours=6)), None, "too far behind its stream")


@case("PushSimpleLog")
def push_simple_log(w: World) -> None:
    levels = {"DEBUG": "debug", "INFO": "info", "WARNING": "warn", "ERROR": "error", "CRITICAL": "fatal", "odd": "info"}
    for level in levels:
        same(w.client.push_simple_log(level, "simple", level, {"zone": "a"}), {"success": True})
    found = {line: labels for labels, _, line in stored(w, '{service="simple"}')}
    expected = {
        given: written({"service": "simple", "level": level, "zone": "a"}) for given, level in levels.items()
    }
    same(found, expected)
    same(w.client.push_simple_log("x", "simple", extra_labels={"level": "x"}), None, "level twice")


@case("PushLogBatch")
def push_log_batch(w: World) -> None:
    entries: list[dict[str, Any]] = [{"message": f"m{i}", "labels": {"service": f"s{i % 3}"}} for i in range(300)]
    same(w.client.push_log_batch(entries), {"success": True, "accepted_count": 300, "rejected_count": 0, "errors": []})
    same(sorted(line for _, _, line in stored(w, '{service=~"s."}')), sorted(f"m{i}" for i in range(300)))
    entries = [{"message": "good", "labels": {"service": "mixed"}}, {"message": "bad", "labels": {"a b": "x"}}]
    found = w.client.push_log_batch(entries)
    same((found["success"], found["accepted_count"], found["rejected_count"]), (False, 1, 1))
    holds(found["errors"][0].startswith("1: labels: "), f"{found['errors']}")
    same([line for _, _, line in stored(w, '{service="mixed"}')], ["good"])
    same(w.client.push_log_batch([]), None)


@case("PushLogStream")
def push_log_stream(w: World) -> None:
    def lines() -> Any:
        for i in range(2500):
            yield {"message": f"m{i}", "labels": {"service": "stream"} if i != 7 else {"a b": "x"}}

    found = w.client.push_log_stream(lines())
    same(found, {"success": False, "accepted_count": 2499, "rejected_count": 1})
    same(len(stored(w, '{service="stream"}')), 2499)
    same(w.client.push_log_stream(iter([]))["success"], True)


@case("QueryLogs")
def query_logs(w: World) -> None:
    at = ago(minutes=1)
    for i in range(5):
        w.engine.push(
            names.loki_scope(w.tenant),
            written({"service": "api"}),
            f'{{"n":{i}}}',
            int((at + timedelta(seconds=i)).replace(tzinfo=UTC).timestamp() * 10**6) * 1000,
        )
    found = w.client.query_logs('{service="api"}', limit=3)
    same([entry["message"] for entry in found], ['{"n":4}', '{"n":3}', '{"n":2}'], "the newest first")
    same(found[0]["labels"], {"service": "api"})
    between(abs((found[0]["timestamp"] - at - timedelta(seconds=4)).total_seconds()), 0, 0.001)
    found = w.client.query_logs('{service="api"} | json | n="1"', start_time=ago(hours=1))
    same([entry["labels"] for entry in found], [{"service": "api", "n": "1"}])
    found = w.client.query_logs("", start_time=at + timedelta(seconds=3), end_time=at + timedelta(seconds=4))
    same([entry["message"] for entry in found], ['{"n":3}'])
    same(w.client.query_logs("{"), [])
    same(w.client.query_logs('rate({service="api"}[1m])'), [])
    same(w.client.query_logs('{service="api"}', limit=5001), [])


@case("QueryRange")
def query_range(w: World) -> None:
    batch(w, 20, service="api")
    found = w.client.query_range('sum(count_over_time({service="api"}[10m]))', ago(minutes=10), ago(), step=30)
    same((found["result_type"], found["stream_results"]), ("matrix", []))
    same(max(value for _, value in found["matrix_results"][0]["values"]), 20.0)
    holds("bytes_processed" in found["stats"], f"{found['stats']}")
    found = w.client.query_range('{service="api"}', ago(minutes=10), ago(), limit=7)
    same((found["result_type"], found["matrix_results"]), ("streams", []))
    same(found["stream_results"][0]["stream"], {"service": "api"})
    same([e["line"] for e in found["stream_results"][0]["entries"]], [f"line {i}" for i in range(19, 12, -1)])
    same(w.client.query_range("{", ago(minutes=10), ago()), None)
    same(w.client.query_range("vector(1)", ago(days=1), ago(), step=1), None, "more than 11000 figures")


@case("QueryStats")
def query_stats(w: World) -> None:
    batch(w, 20, service="api", level="info")
    batch(w, 5, service="web", level="error")
    found = w.client.query_stats('{service=~".+"}', ago(minutes=10), ago())
    same((found["total_entries"], found["streams_count"]), (25, 2))
    same(found["level_distribution"], {"info": 20, "error": 5})
    same(found["total_bytes"], sum(len(f"line {i}") for i in range(20)) + 5 * len("line 0"))
    same(found["top_labels"], ["level", "service"])
    holds(found["query_time_ms"] > 0, "no time")
    found = w.client.query_stats('{service="api"} |= "line 1"', ago(minutes=10), ago())
    same((found["total_entries"], found["streams_count"]), (11, 1))
    same(w.client.query_stats("{", ago(minutes=10), ago()), None)


@case("GetLabels", "GetLabelValues", "ValidateLabels")
def labels(w: World) -> None:
    same(w.client.get_labels(), [])
    batch(w, 1, service="api", zone="a")
    batch(w, 1, service="web")
    same(w.client.get_labels(), ["service", "zone"])
    same(w.client.get_label_values("service"), ["api", "web"])
    same(w.client.get_label_values("absent"), [])
    same(w.client.get_label_values("a/b"), [])
    same(w.client.validate_labels({"a": "b"}), {"valid": True, "violations": [], "message": "OK"})
    found = w.client.validate_labels({"a": "b", "c d": "e", "f": ""})
    same((found["valid"], len(found["violations"])), (False, 2))


@case("ListStreams", "GetStreamInfo", "DeleteStream")
def streams(w: World) -> None:
    w.leave_organization()
    for n in range(3):
        batch(w, n + 1, service=f"s{n}", user_id="u")
    batch(w, 1, zone="b")
    found = w.client.list_streams()
    same((found["total_count"], found["page"], found["page_size"]), (4, 1, 50))
    found = w.client.list_streams({"user_id": "u"}, page=2, page_size=2)
    same((found["total_count"], len(found["streams"])), (3, 1))
    (stream,) = found["streams"]
    same((stream["labels"], stream["entry_count"], stream["bytes"]), ({"service": "s2", "user_id": "u"}, 3, 18))
    info = w.client.get_stream_info(stream["stream_id"])
    same((info["labels"], info["entry_count"], info["bytes"], info["user_id"]), (stream["labels"], 3, 18, "u"))
    same(info["first_entry_at"].seconds <= info["last_entry_at"].seconds, True)
    same(w.client.get_stream_info("x"), None)
    found = w.client.delete_stream(stream["stream_id"])
    same((found["success"], found["deleted_entries"]), (True, 3))
    (asked,) = w.engine.deletions(names.loki_scope(w.tenant))
    same(asked["query"], '{__isa__="1",service="s2",user_id="u"}')


@case("TailLogs")
def tail_logs(w: World) -> None:
    got: list[str] = []

    def keep(_: Any, line: str, found: dict[str, str]) -> None:
        same(found, {"service": "tail"})
        got.append(line)

    reader = threading.Thread(target=w.client.tail_logs, args=('{service="tail"}', keep), daemon=True)
    reader.start()

    def follows() -> bool:
        same(w.client.push_log("probe", {"service": "tail"}), {"success": True})
        return bool(got)

    eventually("the tail has an entry", follows)
    for i in range(200):
        same(w.client.push_log(f"line {i}", {"service": "tail"}), {"success": True})
    eventually("all entries", lambda: len(set(got)) >= 201)
    lines = [line for line in got if line != "probe"]
    same(sorted(lines), sorted(f"line {i}" for i in range(200)), "each once")


@case("ExportLogs", "GetExportStatus")
def export_logs(w: World) -> None:
    w.leave_organization()
    batch(w, 2500, service="export")
    for form in ("JSON", "JSONL", "CSV", "TEXT"):
        pieces: list[tuple[str, bytes, int, int, bool]] = []
        w.client.export_logs(
            '{service="export"}', ago(minutes=10), ago(), form, 1000, lambda *piece, got=pieces: got.append(piece)
        )
        same([piece[4] for piece in pieces], [False] * (len(pieces) - 1) + [True])
        same(pieces[-1][2:4], (2500, 2500))
        text = b"".join(piece[1] for piece in pieces).decode()
        same(text.count("line "), 2500, form)
        holds(text.index("line 0") < text.index("line 2499"), "the oldest first")
    status = w.client.get_export_status(pieces[0][0])
    same((status["status"], status["progress_percentage"], status["exported_entries"]), ("completed", 100, 2500))
    same(w.client.get_export_status("x"), None)


@case("GetStatistics", "GetUserQuota")
def figures(w: World) -> None:
    batch(w, 20, service="api", level="info")
    batch(w, 5, service="web", level="error")
    found = w.client.get_statistics()
    same((found["total_entries"], found["streams_count"]), (25, 2))
    same(found["entries_by_service"], {"api": 20, "web": 5})
    same(found["entries_by_level"], {"info": 20, "error": 5})
    same(found["top_services"], ["api", "web"])
    holds(found["total_bytes"] > 0 and found["ingestion_rate"] and "retention_days" in found["metadata"], f"{found}")
    quota = w.client.get_user_quota()
    same((quota["daily_limit"], quota["quota_exceeded"]), (0, False))
    holds(quota["storage_used_bytes"] >= found["total_bytes"] and quota["retention_days"] > 0, f"{quota}")


@case()
def two_organizations(w: World) -> None:
    other = w.other()
    w.client.push_log("mine", {"service": "api"})
    found = w.client.query_logs('{service="api"}')
    same([entry["message"] for entry in found], ["mine"])
    w.renew()
    same(other.client.query_logs('{service="api"}'), [])
    same(other.client.get_labels(), [])
    same(other.client.list_streams()["total_count"], 0)
    other.client.push_log("theirs", {"service": "api"})
    same([line for _, _, line in stored(w, '{service="api"}')], ["mine"])
