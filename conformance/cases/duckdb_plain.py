"""Databases by plain gRPC: what the published client does not send or read, and statuses."""

import tempfile
import time
from typing import Any

import duckdb
from grpc import StatusCode

from conformance import names
from conformance.case import between, cases, eventually, holds, refused, same
from conformance.cases.duckdb_published import bucket
from conformance.world import World

case = cases("duckdb", "plain")
INVALID = StatusCode.INVALID_ARGUMENT
NOT_FOUND = StatusCode.NOT_FOUND
DENIED = StatusCode.PERMISSION_DENIED


def database(w: World, **more: Any) -> str:
    name = names.fresh("db")
    same(w.call("CreateDatabase", database_name=name, **more).database_info.database_name, name)
    return name


def values(answer: Any) -> list[list[Any]]:
    """The rows, each value as Python has it."""
    return [[getattr(v, v.WhichOneof("value")) for v in row.values] for row in answer.rows]


def query(w: World, db: str, sql: str, **more: Any) -> list[list[Any]]:
    return values(w.call("ExecuteQuery", database_id=db, query=sql, **more))


def run(w: World, db: str, sql: str, **more: Any) -> int:
    return w.call("ExecuteStatement", database_id=db, statement=sql, **more).affected_rows


@case("CreateDatabase", "ListDatabases", "GetDatabaseInfo", "DeleteDatabase")
def databases(w: World) -> None:
    db = database(w, metadata={"team": "x"}, config={"TimeZone": "Europe/Berlin"})
    info = w.call("GetDatabaseInfo", database_id=db).database_info
    same((info.user_id, dict(info.metadata)), (w.user, {"team": "x"}))
    between(info.created_at.seconds - time.time(), -60, 60, "created_at")
    same(query(w, info.database_id, "select current_setting('TimeZone')"), [["Europe/Berlin"]], "by its id")
    page = w.call("ListDatabases", name_filter=db[2:6].upper(), page=1, page_size=1)
    same((page.total_count, page.page_size, page.databases[0].database_name), (1, 1, db))
    refused(StatusCode.ALREADY_EXISTS, lambda: w.call("CreateDatabase", database_name=db))
    refused(INVALID, lambda: w.call("CreateDatabase", database_name="a/b"), "database_name")
    refused(INVALID, lambda: w.call("CreateDatabase", database_name="x", config={"threads": "99"}), "config.threads")
    same(w.call("DeleteDatabase", database_id=db).success, True)
    refused(NOT_FOUND, lambda: w.call("GetDatabaseInfo", database_id=db))


@case("ExecuteQuery")
def types(w: World) -> None:
    db = database(w)
    found = w.call(
        "ExecuteQuery",
        database_id=db,
        query="select 1::tinyint, 2::hugeint, 0.5, 1e400::varchar, true, 'x'::blob, null, [1, 2], {'a': 1}, "
        "timestamp '2024-01-01', timestamptz '2024-01-01 00:00:00+01', $n + 1, $t",
        parameters={"n": {"int_value": 41}, "t": {"string_value": "'"}},
    )
    expected = [1, 2, "0.5", "inf", True, b"x", 0, "[1,2]", '{"a":1}', "2024-01-01T00:00:00", "2023-12-31T23:00:00Z", 42, "'"]
    same(values(found)[0][:3], expected[:3])
    same(values(found)[0][4:], expected[4:])
    same(list(found.column_types)[:3], ["TINYINT", "HUGEINT", "DECIMAL(2,1)"])
    plan = w.call("ExecuteQuery", database_id=db, query="select 42", explain=True)
    holds(plan.query_plan and not plan.rows, "no plan")
    refused(INVALID, lambda: query(w, db, "selec"), "no statement begins with")
    refused(INVALID, lambda: query(w, db, "select 1 +"), "syntax error")
    refused(NOT_FOUND, lambda: query(w, db, "from absent"), "absent")
    slow = "select count(*) from range(10000000) a, range(10000000) b where hash(a.range) = hash(b.range) + 1"
    refused(StatusCode.DEADLINE_EXCEEDED, lambda: query(w, db, slow, timeout_seconds=1))


@case("ExecuteQuery")
def confinement(w: World) -> None:
    db = database(w)
    for sql in (
        "select * from read_text('/etc/passwd')",
        "copy (select 1) to '/tmp/x'",
        "attach ':memory:' as x",
        "install httpfs",
        "set memory_limit = '1TB'",
        "from enable_logging()",
    ):
        refused(DENIED, lambda sql=sql: query(w, db, sql))


@case("ExecuteQueryStream", "ExecuteQueryArrow")
def streams(w: World) -> None:
    db = database(w)
    chunks = list(w.stream("ExecuteQueryStream", database_id=db, query="from range(50000)"))
    same((list(chunks[0].columns), chunks[-1].is_last), (["range"], True))
    same(sum(len(chunk.rows) for chunk in chunks), 50_000)
    pieces = list(w.stream("ExecuteQueryArrow", database_id=db, query="select range a from range(5000)"))
    same(sum(piece.row_count for piece in pieces), 5000)
    data = b"".join(piece.ipc for piece in pieces)
    same((pieces[0].row_count, data[:4], data[-8:]), (0, b"\xff" * 4, b"\xff" * 4 + b"\0" * 4), "an Arrow stream")


@case("PrepareStatement", "ExecuteQuery")
def prepared(w: World) -> None:
    db = database(w)
    made = w.call("PrepareStatement", database_id=db, statement="select $1::int * 2")
    same(len(made.parameter_types), 1)
    for n in (4, 5):
        parameters = {"1": {"int_value": n}}
        found = query(w, db, "", statement_id=made.statement_id, parameters=parameters)
        same(found, [[2 * n]])
    refused(INVALID, lambda: query(w, db, "", statement_id="x"), "statement_id")


@case("BeginTransaction", "CommitTransaction", "RollbackTransaction", "ExecuteStatement")
def transactions(w: World) -> None:
    db = database(w)
    run(w, db, "create table t (a int)")
    for end, rows in (("RollbackTransaction", 0), ("CommitTransaction", 1)):
        t = w.call("BeginTransaction", database_id=db).transaction_id
        same(run(w, db, "insert into t values (1)", transaction_id=t), 1)
        same(query(w, db, "select count(*) from t"), [[0]])
        same(w.call(end, database_id=db, transaction_id=t).success, True)
        same(query(w, db, "select count(*) from t"), [[rows]])
        refused(NOT_FOUND, lambda end=end, t=t: w.call(end, database_id=db, transaction_id=t))


@case("ExecuteBatch")
def batches(w: World) -> None:
    db = database(w)
    run(w, db, "create table t (a int primary key)")
    statements = ["insert into t values (1)", "insert into t values (1)", "insert into t values (2)"]
    found = w.call("ExecuteBatch", database_id=db, statements=statements, transaction=True)
    same((found.success, [r.error for r in found.results][::2]), (False, ["undone", "not run"]))
    found = w.call("ExecuteBatch", database_id=db, statements=statements)
    same([r.success for r in found.results], [True, False, True])


@case("CreateView", "ListViews", "DropView", "CreateFunction", "InstallExtension", "ListExtensions")
def views_and_functions(w: World) -> None:
    db = database(w)
    w.call("CreateView", database_id=db, view_name="v", query="select 42 a")
    refused(StatusCode.ALREADY_EXISTS, lambda: w.call("CreateView", database_id=db, view_name="v", query="select 1"))
    same(list(w.call("ListViews", database_id=db).views), ["v"])
    same(query(w, db, "from v"), [[42]])
    w.call("DropView", database_id=db, view_name="v")
    refused(NOT_FOUND, lambda: w.call("DropView", database_id=db, view_name="v"))
    w.call("CreateFunction", database_id=db, function_name="twice", function_body="x * 2", parameters=["x"])
    same(query(w, db, "select twice(21)"), [[42]])
    same(w.call("InstallExtension", database_id=db, extension_name="json").success, True)
    refused(DENIED, lambda: w.call("InstallExtension", database_id=db, extension_name="httpfs"))
    holds("icu" in [e.name for e in w.call("ListExtensions", database_id=db).extensions], "no icu")


@case("CreateTable", "ListTables", "GetTableSchema", "GetTableStats", "DropTable")
def tables(w: World) -> None:
    db = database(w)
    columns = [
        {"name": "id", "data_type": "INTEGER"},
        {"name": "m", "data_type": "DECIMAL(10,2)", "default_value": "1.5", "comment": "it's"},
    ]
    made = w.call("CreateTable", database_id=db, table_name="t", columns=columns, primary_keys=["id"]).table_info
    same([(c.name, c.data_type, c.is_primary_key) for c in made.columns], [("id", "INTEGER", True), ("m", "DECIMAL(10,2)", False)])
    run(w, db, "insert into t (id) values (1), (2)")
    listed = w.call("ListTables", database_id=db, name_filter="T").tables
    same([(t.table_name, t.row_count) for t in listed], [("t", 2)])
    same(w.call("GetTableSchema", database_id=db, table_name="t").table_info.columns[1].comment, "it's")
    stats = w.call("GetTableStats", database_id=db, table_name="t", include_columns=True).stats
    same((stats.row_count, stats.column_stats[0].max_value.int_value), (2, 2))
    refused(NOT_FOUND, lambda: w.call("DropTable", database_id=db, table_name="absent"))
    same(w.call("DropTable", database_id=db, table_name="t").success, True)


@case("ImportData", "ImportFromMinIO", "ExportToMinIO", "QueryMinIOFile")
def files(w: World) -> None:
    db, on_engine = database(w), bucket(w)
    about = {"database_id": db, "table_name": "t", "format": "csv", "total_size": 12}
    same(w.upload("ImportData", about, b"a,b\n1,", b"x\n2,y\n"[:6]).rows_imported, 2)
    refused(INVALID, lambda: w.upload("ImportData", about, b"a,b\n"), "total_size")
    out = {"database_id": db, "bucket_name": "files", "object_key": "o.csv", "query": "from t"}
    done = w.call("ExportToMinIO", **out, options={"delim": ";"})
    same(w.engine.get_object(Bucket=on_engine, Key="o.csv")["Body"].read(), b"a;b\n1;x\n2;y\n")
    same((done.rows_exported, done.file_size), (2, 12))
    refused(StatusCode.ALREADY_EXISTS, lambda: w.call("ExportToMinIO", **out))
    source = {"database_id": db, "bucket_name": "files", "object_key": "o.csv"}
    found = w.call("QueryMinIOFile", **source, query="select sum(a)::int from $FILE", options={"delim": ";"})
    same(values(found), [[3]])
    done = w.call("ImportFromMinIO", **source, table_name="t", truncate=True, options={"delim": ";"})
    same((done.rows_imported, query(w, db, "select count(*) from t")), (2, [[2]]))
    refused(INVALID, lambda: w.call("ImportFromMinIO", **source, table_name="t", options={"x": "y"}), "options.x")


@case("BackupDatabase", "RestoreDatabase", limit=120)
def copies(w: World) -> None:
    db, on_engine = database(w), bucket(w, "copies")
    own = database(w, minio_bucket="copies")
    for name in (db, own):
        run(w, name, "create table t as select range a from range(10)")
    made = w.call("BackupDatabase", database_id=db, backup_name="noon")
    holds(made.backup_size > 0, "no size")
    objects = w.engine.list_objects_v2(Bucket=names.DUCKDB_PLACE, Prefix=f"{w.slug}/")["Contents"]
    data = next(o for o in objects if o["Key"].endswith("backups/noon.duckdb"))
    with tempfile.NamedTemporaryFile(suffix=".duckdb") as file:
        file.write(w.engine.get_object(Bucket=names.DUCKDB_PLACE, Key=data["Key"])["Body"].read())
        file.flush()
        with duckdb.connect(file.name, read_only=True) as copy:
            same(copy.sql("select count(*) from t").fetchall(), [(10,)], "by DuckDB's own client")
    run(w, db, "delete from t")
    back = names.fresh("back")
    w.call("RestoreDatabase", backup_path=made.backup_path, new_database_name=back)
    same(query(w, back, "select count(*) from t"), [[10]])
    stranger = w.other(user=names.fresh("user"))
    call = {"backup_path": made.backup_path, "new_database_name": "x"}
    refused(NOT_FOUND, lambda: stranger.call("RestoreDatabase", **call))

    def copied() -> bool:
        path = w.call("GetDatabaseInfo", database_id=own).database_info.minio_path
        return bool(path and w.engine.head_object(Bucket=on_engine, Key=path))

    eventually("a copy in the tenant's bucket within a minute", copied, 60)


@case("HealthCheck", "GetMetrics")
def monitoring(w: World) -> None:
    found = w.call("HealthCheck", detailed=True)
    same((found.healthy, found.status, found.details["version"].split(".")[0]), (True, "SERVING", "1"))
    holds("memory_bytes" in w.call("GetMetrics").metrics, "no memory_bytes")
