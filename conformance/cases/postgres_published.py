"""PostgreSQL by the published client: what its sync and async form have in common.

It says nothing of who calls, so all these cases share one tenant: tables have names of their own."""

import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from conformance import names
from conformance.case import between, cases, has, holds, same
from conformance.plain import MIB
from conformance.world import World

case = cases("postgres", "sync", "async")
TEXT = "größer als 🦀 \n\t\" ' ; -- {} 漢字 $1"


def table(w: World, columns: str, suffix: str = "") -> str:
    """A new table, made through the service."""
    name = f"t_{w.user}{suffix}"
    same(w.client.execute(f'CREATE TABLE "{name}" ({columns})'), 0, "CREATE TABLE")
    return name


def look(w: World, name: str, what: str = "*", rest: str = "") -> list[tuple[Any, ...]]:
    """Rows of a table as the engine has them."""
    return w.engine.execute(f'SELECT {what} FROM "{names.postgres_schema(w.tenant)}"."{name}" {rest}').fetchall()


@case("HealthCheck")
def health(w: World) -> None:
    found = w.client.health_check()
    same((found["healthy"], found["status"]), (True, "SERVING"))
    engine = w.engine.execute("SHOW server_version").fetchone()[0]
    holds(engine.startswith(found["version"]), f"version {found['version']!r} of {engine!r}")
    holds("latency_ms" in found["details"], f"details {found['details']}")
    same(w.client.health_check(detailed=False)["details"], {})


@case("Execute", "Query")
def execute_and_query(w: World) -> None:
    t = table(w, "id int PRIMARY KEY, name text")
    same(w.client.execute(f"INSERT INTO {t} VALUES ($1, $2), ($3, $4)", [1, TEXT, 2, None]), 2)
    same(look(w, t, rest="ORDER BY id"), [(1, TEXT), (2, None)])
    same(w.client.query(f"SELECT * FROM {t} ORDER BY id"), [{"id": 1, "name": TEXT}, {"id": 2, "name": None}])
    same(w.client.query(f"SELECT id FROM {t} WHERE name = $1", [TEXT]), [{"id": 1}])
    same(w.client.query(f"SELECT id FROM {t} WHERE id = ANY($1)", [[2, 3]]), [{"id": 2}])
    same(w.client.query(f"SELECT id FROM {t} WHERE id > 100"), [])
    same(w.client.execute(f"UPDATE {t} SET name = 'x'"), 2)
    same(w.client.query(f"DELETE FROM {t} WHERE id = 1 RETURNING id, name"), [{"id": 1, "name": "x"}])
    same(look(w, t), [(2, "x")])
    same(w.client.execute(f"DELETE FROM {t}", schema="public"), 1)


@case("Execute", "Query")
def types(w: World) -> None:
    t = table(
        w,
        "n int8, name text, price numeric(20,2), at timestamptz, day date, uid uuid, doc jsonb, tags text[], "
        "raw bytea, ok bool, small int2, real float8, cells int[][]",
    )
    uid = str(uuid.uuid4())
    doc = {"a": [1, None, TEXT], "b": {"c": 0.5}}
    values = [
        "9007199254740993", TEXT, "123456789012345678.10", "2026-11-26T01:02:03.123456+02:00", "2026-02-28", uid, doc,
        ["a", TEXT, None], "\\x00ff", True, -5, 0.1, [[1, 2], [3, 4]],
    ]  # fmt: skip
    marks = ", ".join(f"${i + 1}" for i in range(len(values)))
    same(w.client.execute(f"INSERT INTO {t} VALUES ({marks})", values), 1)
    at = datetime(2026, 11, 25, 23, 2, 3, 123456, UTC)
    stored = (
        9007199254740993, TEXT, Decimal("123456789012345678.10"), at, date(2026, 2, 28), uuid.UUID(uid), doc,
        ["a", TEXT, None], b"\x00\xff", True, -5, 0.1, [[1, 2], [3, 4]],
    )  # fmt: skip
    same(look(w, t), [stored])
    found = w.client.query(f"SELECT * FROM {t}")[0]
    said = datetime.fromisoformat(found.pop("at"))
    same((said, said.utcoffset()), (at, at.utcoffset()), "timestamptz")
    columns = ["n", "name", "price", "at", "day", "uid", "doc", "tags", "raw", "ok", "small", "real", "cells"]
    expected = {name: value for name, value in zip(columns, values, strict=True) if name != "at"}
    same(found, expected)


@case("QueryRow")
def values_that_a_double_cannot_hold(w: World) -> None:
    row = w.client.query_row(
        "SELECT 9007199254740992::int8 a, -9007199254740993::int8 b, 1.10::numeric c, 'NaN'::float8 d, "
        "'-Infinity'::float8 e, '{\"big\": 12345678901234567890, \"small\": 1}'::jsonb f, 'NaN'::numeric g, "
        "interval '1 day 2 hours' h, time '03:04:05' i, timestamp '2026-01-02 03:04:05' j, NULL k, 1.5::float4 l, "
        "'[1,3)'::int4range m, '10.0.0.1'::inet n, true o"
    )
    expected = {
        "a": 9007199254740992, "b": "-9007199254740993", "c": "1.10", "d": "NaN", "e": "-Infinity",
        "f": {"big": "12345678901234567890", "small": 1}, "g": "NaN", "h": "P1DT2H", "i": "03:04:05", "k": None,
        "l": 1.5, "m": "[1,3)", "n": "10.0.0.1", "o": True,
    }  # fmt: skip
    at = row.pop("j")
    same(datetime.fromisoformat(at), datetime(2026, 1, 2, 3, 4, 5), "timestamp")
    same(row, expected)


@case("QueryRow")
def query_row(w: World) -> None:
    same(w.client.query_row("SELECT n FROM generate_series(1, $1::int) n ORDER BY n DESC", [9]), {"n": 9})
    same(w.client.query_row("SELECT 1 WHERE false"), None)
    same(w.client.query_row("VALUES (1, 'a')"), {"column1": 1, "column2": "a"})


@case("ExecuteBatch")
def execute_batch(w: World) -> None:
    t = table(w, "id int PRIMARY KEY")
    found = w.client.execute_batch(
        [
            {"sql": f"INSERT INTO {t} VALUES ($1)", "params": [1]},
            {"sql": f"INSERT INTO {t} VALUES ($1)", "params": [1]},
            {"sql": f"INSERT INTO {t} SELECT generate_series(2, 4)"},
        ]
    )
    same(found["total_rows_affected"], 4)
    same([r["rows_affected"] for r in found["results"]], [1, 0, 3])
    same([bool(r["error"]) for r in found["results"]], [False, True, False])
    holds(found["results"][1]["error"].startswith("23505"), f"error {found['results'][1]['error']!r}")
    same(look(w, t, "count(*)"), [(4,)])


@case("SelectFrom")
def select_from(w: World) -> None:
    t = table(w, 'id int, "Größe" text, tags text[]')
    same(
        w.client.execute(f"INSERT INTO {t} SELECT n, 'v' || n, ARRAY['a', 'v' || n] FROM generate_series(1, 20) n"), 20
    )

    def ids(*where: tuple[str, str, Any], **more: Any) -> list[int]:
        clauses = [{"column": c, "operator": o, "value": v} for c, o, v in where]
        rows = w.client.select_from(t, ["id"], clauses, order_by=more.pop("order_by", ["id"]), **more)
        return [row["id"] for row in rows]

    same(w.client.select_from(t, where=[{"column": "id", "value": 3}]), [{"id": 3, "Größe": "v3", "tags": ["a", "v3"]}])
    same(ids(("id", ">", 17)), [18, 19, 20])
    same(ids(("id", "<=", 2)), [1, 2])
    same(ids(("id", "in", [3, 1, 99])), [1, 3])
    same(len(ids(("id", "NOT IN", []))), 20, "not in nothing")
    same(ids(("id", "between", [4, 6])), [4, 5, 6])
    same(ids(("Größe", "LIKE", "v1_"), ("id", "!=", 15)), [10, 11, 12, 13, 14, 16, 17, 18, 19])
    same(ids(("Größe", "ilike", "V20")), [20])
    same(ids(("tags", "@>", ["v7"])), [7])
    same(len(ids(("Größe", "IS NOT NULL", None))), 20)
    same(ids(("Größe", "IS NULL", None)), [])
    same(ids(order_by=["id DESC"], limit=3, offset=1), [19, 18, 17])
    same(ids(("Größe", "=", "' OR 1=1 --")), [], "a value is never SQL")
    bad = [{"column": "id", "operator": "= 1 OR", "value": 1}]
    same(w.client.select_from(t, where=bad), None, "an unknown operator")
    same(w.client.select_from(t, where=[{"column": "absent", "value": 1}]), None, "an unknown column")
    same(w.client.select_from(t, order_by=["id; DROP TABLE x"]), None, "order_by")
    same(w.client.select_from(f'{t}" --'), None, "a crafted table")


@case("InsertInto")
def insert_into(w: World) -> None:
    t = table(w, 'id int PRIMARY KEY, name text DEFAULT \'default\', doc jsonb, "we""ird; name" int')
    rows = [
        {"id": 1, "name": TEXT, "doc": {"a": [1, {"b": None}]}},
        {"id": 2, 'we"ird; name': 7},
        {"id": 3, "name": None},
    ]
    same(w.client.insert_into(t, rows), 3)
    stored = [(1, TEXT, {"a": [1, {"b": None}]}, None), (2, "default", None, 7), (3, None, None, None)]
    same(look(w, t, rest="ORDER BY id"), stored)
    same(w.client.insert_into(t, [{"id": 9}, {"id": 1}], returning=True), None, "a duplicate")
    same(look(w, t, "count(*)"), [(3,)], "all or none")
    same(w.client.insert_into(t, [{"absent": 1}]), None, "an unknown column")
    same(w.client.insert_into(t, [{"id": 5.5}]), None, "a fraction for an integer")
    many = [{"id": i, "name": f"n{i}"} for i in range(100, 2100)]
    same(w.client.insert_into(t, many), 2000)
    same(look(w, t, "count(*), sum(id)", "WHERE id >= 100"), [(2000, sum(range(100, 2100)))])


@case("ListTables", "TableExists")
def tables(w: World) -> None:
    b, a = table(w, "id int", "_b"), table(w, "id int", "_a")
    view = f"{a}_view"
    same(w.client.execute(f"CREATE VIEW {view} AS SELECT * FROM {a}"), 0)
    mine = [t for t in w.client.list_tables() if w.user in t]
    same(mine, [a, view, b], "sorted")
    same(
        [w.client.table_exists(t) for t in (a, view, "absent", "pg_class", f'{a}"')], [True, True, False, False, False]
    )
    same(w.client.table_exists(a, schema=""), True)
    same(w.client.table_exists(a, schema="pg_catalog"), False)
    same(w.client.list_tables(schema="information_schema"), [])


@case("GetStats")
def stats(w: World) -> None:
    w.client.query("SELECT 1")
    found = w.client.get_stats()
    pool = found["pool"]
    between(pool["open_connections"], 1, pool["max_connections"], "open_connections")
    same(pool["idle_connections"] + pool["active_connections"], pool["open_connections"])
    holds(pool["total_queries"] >= 1, f"total_queries {pool['total_queries']}")
    has(found["database"]["version"], w.engine.execute("SHOW server_version").fetchone()[0].split()[0])


@case()
def mistakes(w: World) -> None:
    t = table(w, "id int PRIMARY KEY, ok bool")
    for sql, params in (
        ("SELEC 1", []),
        ("SELECT * FROM absent", []),
        ("SELECT 1; SELECT 2", []),
        ("", []),
        ("SELECT 1/0", []),
        ("SELECT $1::int", []),
        ("SELECT $1::int", [1.5]),
        ("SELECT $1::int2", [70_000]),
        ("SELECT $1::bool", ["maybe"]),
        ("BEGIN", []),
        ("SET ROLE postgres", []),
        ("SELECT pg_read_file('/etc/passwd')", []),
        (f"COPY {t} TO '/tmp/x'", []),
    ):
        same(w.client.query(sql, params), None, f"{sql} {params}")
        same(w.client.execute(sql, params), None, f"{sql} {params}")
    same(w.client.query("SELECT 1 a, 2 a"), None, "two columns of one name")
    same(w.client.query("SELECT 1", schema="another"), None, "another schema")
    same(w.client.query("SELECT 1 AS one"), [{"one": 1}], "after all that")


@case("Query", "Execute")
def one_megabyte(w: World) -> None:
    t = table(w, "data text")
    value = "ab€\n" * (MIB // 6)
    same(w.client.execute(f"INSERT INTO {t} VALUES ($1)", [value]), 1)
    same(look(w, t), [(value,)])
    same(w.client.query(f"SELECT data FROM {t}"), [{"data": value}])


@case("Query")
def client_options(w: World) -> None:
    w.raw = w.make(lazy_connect=False, enable_compression=False, enable_retry=False)
    same(w.client.query("SELECT $1::text t", [TEXT]), [{"t": TEXT}])
