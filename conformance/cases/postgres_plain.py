"""PostgreSQL by plain gRPC: what the published client does not have, statuses, and two tenants."""

import time
from typing import Any

from grpc import RpcError, StatusCode

from conformance import names
from conformance.case import between, cases, eventually, has, holds, refused, same
from conformance.cases.postgres_published import TEXT, look
from conformance.plain import native
from conformance.world import World

case = cases("postgres", "plain")
INVALID = StatusCode.INVALID_ARGUMENT
# For SQL that may not run here. Which of them is for the service to choose.
FORBIDDEN = (StatusCode.PERMISSION_DENIED, StatusCode.FAILED_PRECONDITION, INVALID)


def table(w: World, columns: str, name: str = "t") -> str:
    w.call("Execute", sql=f"CREATE TABLE {name} ({columns})")
    return name


def rows(response: Any) -> list[dict[str, Any]]:
    return [native(row) for row in response.rows]


@case("Query", "QueryRow", "Execute", "ExecuteBatch")
def statements(w: World) -> None:
    table(w, "id int PRIMARY KEY, name text")
    found = w.call("Execute", sql="INSERT INTO t VALUES ($1, $2), (2, 'b'), (3, 'c')", params=[1, TEXT])
    same((found.rows_affected, found.command_tag, found.metadata.success), (3, "INSERT 0 3", True))
    same(look(w, "t", rest="ORDER BY id"), [(1, TEXT), (2, "b"), (3, "c")])
    found = w.call("Query", sql="SELECT * FROM t WHERE id <= $1 ORDER BY id", params=[2])
    same((found.row_count, rows(found)), (2, [{"id": 1, "name": TEXT}, {"id": 2, "name": "b"}]))
    found = w.call("QueryRow", sql="SELECT id FROM t ORDER BY id DESC")
    same((found.found, native(found.row)), (True, {"id": 3}))
    same(w.call("QueryRow", sql="SELECT id FROM t WHERE false").found, False)
    same(w.call("Execute", sql="SELECT * FROM t").rows_affected, 3, "rows of a SELECT are counted")
    operations = [{"sql": "DELETE FROM t WHERE id = $1", "params": [1]}, {"sql": "oops"}, {"sql": "DELETE FROM t"}]
    found = w.call("ExecuteBatch", operations=operations)
    same((found.total_rows_affected, [r.command_tag for r in found.results]), (3, ["DELETE 1", "", "DELETE 2"]))
    has(found.results[1].error, "42601")
    refused(INVALID, lambda: w.call("ExecuteBatch"), "operations")


@case("Query")
def metadata(w: World) -> None:
    caller = {"user_id": w.user, "organization_id": w.organization, "request_id": "request-7"}
    found = w.call("Query", sql="SELECT 1 AS one", metadata=caller).metadata
    same((found.success, found.request_id, found.error, found.error_code), (True, "request-7", "", ""))
    between(found.timestamp.seconds - time.time(), -5, 5, "timestamp")
    holds(w.call("Query", sql="SELECT 1 AS one").metadata.request_id, "no request id was made")


@case("SelectFrom", "InsertInto", "UpdateTable", "DeleteFrom")
def structured(w: World) -> None:
    table(w, "id serial PRIMARY KEY, name text NOT NULL DEFAULT 'new', \"Größe\" numeric")
    found = w.call("InsertInto", table="t", rows=[{"name": TEXT}, {"Größe": "1.50"}], returning=True)
    written = [{"id": 1, "name": TEXT, "Größe": None}, {"id": 2, "name": "new", "Größe": "1.50"}]
    same((found.rows_inserted, rows(found)), (2, written))
    same(list(w.call("InsertInto", table="t", rows=[{"id": 3}]).rows), [], "rows only if asked for")
    where = [{"column": "id", "operator": ">=", "value": 2}]
    found = w.call("UpdateTable", table="t", values={"name": "x' --", "Größe": 2}, where=where, returning=True)
    same(found.rows_updated, 2)
    same(sorted(row["Größe"] for row in rows(found)), ["2", "2"])
    same(look(w, "t", "name", "ORDER BY id"), [(TEXT,), ("x' --",), ("x' --",)])
    found = w.call("SelectFrom", table="t", columns=["id"], where=where, order_by=["id desc nulls last"], limit=1)
    same((found.row_count, rows(found)), (1, [{"id": 3}]))
    found = w.call("DeleteFrom", table="t", where=[{"column": "id", "operator": "IN", "value": [1, 3]}], returning=True)
    same((found.rows_deleted, sorted(row["id"] for row in rows(found))), (2, [1, 3]))
    same(look(w, "t", "id"), [(2,)])
    same(w.call("DeleteFrom", table="t", where=[{"column": "id", "value": 99}]).rows_deleted, 0)
    refused(INVALID, lambda: w.call("UpdateTable", table="t", values={"name": "y"}), "where")
    refused(INVALID, lambda: w.call("UpdateTable", table="t", where=where), "values")
    refused(INVALID, lambda: w.call("DeleteFrom", table="t"), "where")
    refused(INVALID, lambda: w.call("InsertInto", table="t"), "rows")
    refused(INVALID, lambda: w.call("SelectFrom", table="t", where=[{"column": "id", "value": None}]), "where")
    refused(StatusCode.NOT_FOUND, lambda: w.call("SelectFrom", table="T"))
    same(look(w, "t", "id"), [(2,)])


@case("BeginTransaction", "CommitTransaction", "RollbackTransaction")
def transactions(w: World) -> None:
    table(w, "id int PRIMARY KEY")
    tx = w.call("BeginTransaction").transaction_id
    w.call("Execute", sql="INSERT INTO t VALUES (1)", transaction_id=tx)
    w.call("InsertInto", table="t", rows=[{"id": 2}], transaction_id=tx)
    same(rows(w.call("Query", sql="SELECT count(*) n FROM t", transaction_id=tx)), [{"n": 2}])
    same(look(w, "t"), [], "nothing is seen before the commit")
    same(rows(w.call("Query", sql="SELECT count(*) n FROM t")), [{"n": 0}])
    same(w.call("CommitTransaction", transaction_id=tx).success, True)
    same(look(w, "t", rest="ORDER BY id"), [(1,), (2,)])
    ended = [
        lambda: w.call("CommitTransaction", transaction_id=tx),
        lambda: w.call("RollbackTransaction", transaction_id=tx),
        lambda: w.call("Query", sql="SELECT 1 AS one", transaction_id=tx),
    ]
    for call in ended:
        refused(StatusCode.NOT_FOUND, call)

    tx = w.call("BeginTransaction", isolation_level="REPEATABLE_READ").transaction_id
    w.call("DeleteFrom", table="t", where=[{"column": "id", "value": 1}], transaction_id=tx)
    w.call("UpdateTable", table="t", values={"id": 9}, where=[{"column": "id", "value": 2}], transaction_id=tx)
    found = w.call("SelectFrom", table="t", transaction_id=tx)
    same(rows(found), [{"id": 9}])
    level = w.call("QueryRow", sql="SHOW transaction_isolation", transaction_id=tx)
    same(native(level.row), {"transaction_isolation": "repeatable read"})
    refused(FORBIDDEN, lambda: w.call("Execute", sql="COMMIT", transaction_id=tx))
    refused(StatusCode.NOT_FOUND, lambda: w.other().call("RollbackTransaction", transaction_id=tx))
    same(w.call("RollbackTransaction", transaction_id=tx).success, True)
    same(look(w, "t", rest="ORDER BY id"), [(1,), (2,)])
    refused(INVALID, lambda: w.call("BeginTransaction", isolation_level="chaos"), "isolation_level")
    refused(INVALID, lambda: w.call("CommitTransaction", transaction_id="made-up"), "transaction_id")


@case()
def transactions_that_collide(w: World) -> None:
    table(w, "id int PRIMARY KEY, n int")
    w.call("Execute", sql="INSERT INTO t VALUES (1, 0)")
    first, second = (w.call("BeginTransaction", isolation_level="serializable").transaction_id for _ in range(2))
    for tx in (first, second):
        w.call("Query", sql="SELECT sum(n) n FROM t", transaction_id=tx)
    w.call("Execute", sql="INSERT INTO t VALUES (2, 1)", transaction_id=first)
    w.call("Execute", sql="INSERT INTO t VALUES (3, 1)", transaction_id=second)
    w.call("CommitTransaction", transaction_id=first)
    refused(StatusCode.ABORTED, lambda: w.call("CommitTransaction", transaction_id=second))
    same(look(w, "t", "id", "ORDER BY id"), [(1,), (2,)])


@case()
def transactions_have_a_cap(w: World) -> None:
    held = [w.call("BeginTransaction").transaction_id for _ in range(16)]
    refused(StatusCode.RESOURCE_EXHAUSTED, lambda: w.call("BeginTransaction"))
    for tx in held:
        w.call("RollbackTransaction", transaction_id=tx)
    w.call("RollbackTransaction", transaction_id=w.call("BeginTransaction").transaction_id)


@case("ExecuteInTransaction")
def execute_in_transaction(w: World) -> None:
    table(w, "id int PRIMARY KEY")
    insert = [{"sql": "INSERT INTO t VALUES ($1)", "params": [n]} for n in (1, 2)]
    found = w.call("ExecuteInTransaction", operations=[*insert, {"sql": "UPDATE t SET id = id + 10"}])
    same((found.committed, [r.rows_affected for r in found.results]), (True, [1, 1, 2]))
    same(look(w, "t", rest="ORDER BY id"), [(11,), (12,)])
    found = w.call("ExecuteInTransaction", operations=[*insert, insert[0], {"sql": "DELETE FROM t"}])
    same((found.committed, len(found.results)), (False, 3), "it stops at the failure")
    has(found.results[-1].error, "23505")
    same(look(w, "t", rest="ORDER BY id"), [(11,), (12,)], "nothing was written")
    refused(INVALID, lambda: w.call("ExecuteInTransaction"), "operations")


@case("GetTableInfo", "ListTables", "TableExists")
def schema(w: World) -> None:
    table(
        w, "b int, a bigserial, price numeric(10,2) NOT NULL DEFAULT 1.5, at timestamptz, PRIMARY KEY (b, a)", "orders"
    )
    w.call("Execute", sql="CREATE VIEW big AS SELECT * FROM orders WHERE price > 100")
    found = w.call("GetTableInfo", table="orders").table_info
    same((found.table_name, found.schema, list(found.primary_keys)), ("orders", "public", ["b", "a"]))
    columns = [(c.column_name, c.data_type, c.is_nullable) for c in found.columns]
    expected = [
        ("b", "integer", False), ("a", "bigint", False), ("price", "numeric(10,2)", False),
        ("at", "timestamp with time zone", True),
    ]  # fmt: skip
    same(columns, expected)
    same([found.columns[0].default_value, found.columns[2].default_value], ["", "1.5"])
    has(found.columns[1].default_value, "nextval")
    same(found.row_count_estimate, -1)
    w.call("Execute", sql="INSERT INTO orders (b) SELECT generate_series(1, 500)")
    w.engine.execute(f'ANALYZE "{names.postgres_schema(w.tenant)}".orders')
    same(w.call("GetTableInfo", table="orders").table_info.row_count_estimate, 500)
    same(len(w.call("GetTableInfo", table="big").table_info.columns), 4, "a view")
    same(list(w.call("ListTables").tables), ["big", "orders"])
    same([w.call("TableExists", table=t).exists for t in ("orders", "big", "absent")], [True, True, False])
    refused(StatusCode.NOT_FOUND, lambda: w.call("GetTableInfo", table="absent"))
    refused(StatusCode.NOT_FOUND, lambda: w.call("ListTables", schema="pg_catalog"))
    refused(INVALID, lambda: w.call("GetTableInfo"), "table")


@case("HealthCheck", "GetStats")
def monitoring(w: World) -> None:
    table(w, "id int")
    found = w.call("HealthCheck", detailed=True)
    same((found.healthy, found.status, found.metadata.success), (True, "SERVING", True))
    details = native(found.details)
    holds({"latency_ms", "open_connections", "idle_connections"} <= set(details), f"details {details}")
    found = w.call("GetStats")
    same(found.db_stats.total_tables, 1)
    holds(found.pool_stats.total_queries > 0, "total_queries")
    between(found.db_stats.total_connections, 0, 100, "total_connections")
    uptime = w.engine.execute("SELECT extract(epoch FROM pg_postmaster_start_time())").fetchone()[0]
    between(found.db_stats.uptime_since.seconds, float(uptime) - 2, float(uptime) + 2, "uptime_since")
    w.call("Execute", sql="INSERT INTO t SELECT generate_series(1, 10000)")
    holds(w.call("GetStats").db_stats.database_size_bytes > 100_000, "database_size_bytes does not grow")


@case()
def statuses(w: World) -> None:
    table(w, "id int PRIMARY KEY, n int CHECK (n > 0), parent int REFERENCES t")
    w.call("Execute", sql="INSERT INTO t VALUES (1, 1, NULL)")
    for code, sql, *parts in (
        (INVALID, "SELEC 1", "syntax", "SELEC"),
        (INVALID, "SELECT 1; SELECT 2"),
        (INVALID, "", "sql"),
        (INVALID, "SELECT 1/0", "zero"),
        (StatusCode.NOT_FOUND, "SELECT * FROM absent", "absent"),
        (StatusCode.NOT_FOUND, "SELECT absent FROM t", "absent"),
        (StatusCode.ALREADY_EXISTS, "INSERT INTO t VALUES (1, 1)"),
        (StatusCode.FAILED_PRECONDITION, "INSERT INTO t VALUES (2, 0)", "check"),
        (StatusCode.FAILED_PRECONDITION, "INSERT INTO t VALUES (2, 1, 99)"),
        (StatusCode.PERMISSION_DENIED, "SELECT pg_read_file('/etc/passwd')"),
        (StatusCode.PERMISSION_DENIED, "SELECT rolpassword FROM pg_authid"),
        (FORBIDDEN, "SET ROLE postgres"),
        (FORBIDDEN, "SET SESSION AUTHORIZATION postgres"),
        (FORBIDDEN, "COPY t TO '/tmp/x'"),
        (FORBIDDEN, "LISTEN x"),
        (FORBIDDEN, "CREATE ROLE evil SUPERUSER"),
        (FORBIDDEN, "CREATE SCHEMA evil"),
    ):
        refused(code, lambda sql=sql: w.call("Execute", sql=sql), *parts)
    refused(INVALID, lambda: w.call("Query", sql="SELECT $1::int AS n", params=[1.5]), "params")
    refused(INVALID, lambda: w.call("Query", sql="SELECT 1 AS n", params=[1]))
    refused(INVALID, lambda: w.call("Query", sql="SELECT 1 AS twice, 2 AS twice"), "twice")
    refused(StatusCode.NOT_FOUND, lambda: w.call("Query", sql="SELECT 1 AS n", schema="another"))
    refused(StatusCode.DEADLINE_EXCEEDED, lambda: w.call("Query", deadline=0.5, sql="SELECT pg_sleep(30) /* asleep */"))
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%%/* asleep */%%' AND pid <> %s"
    )
    me = w.engine.info.backend_pid
    eventually(
        "the engine's statement ends with the deadline", lambda: not w.engine.execute(running, [me]).fetchone()[0]
    )


@case()
def two_organizations(w: World) -> None:
    table(w, "secret text")
    w.call("Execute", sql="INSERT INTO t VALUES ('mine')")
    other = w.other()
    same(other.call("TableExists", table="t").exists, False)
    same(list(other.call("ListTables").tables), [])
    mine = names.postgres_schema(w.tenant)
    denied = (StatusCode.NOT_FOUND, StatusCode.PERMISSION_DENIED)
    refused(denied, lambda: other.call("Query", sql=f"SELECT * FROM {mine}.t"))
    refused(denied, lambda: other.call("SelectFrom", table="t", schema=mine))
    refused(denied, lambda: other.call("SelectFrom", table=f"{mine}.t"))
    schemas = "SELECT nspname::text AS name FROM pg_namespace WHERE nspname LIKE 't\\_%'"
    theirs = names.postgres_schema(other.tenant)
    try:
        seen = [row["name"] for row in rows(other.call("Query", sql=schemas))]
    except RpcError as error:
        same(error.code(), StatusCode.PERMISSION_DENIED)
    else:
        same(seen, [theirs], "the schemas that are seen")
    other.call("Execute", sql="CREATE TABLE t (secret text)")
    same(rows(other.call("Query", sql="SELECT count(*) n FROM t")), [{"n": 0}])
    same(look(w, "t"), [("mine",)])
