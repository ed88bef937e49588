"""Databases by the published client: what its sync and async form have in common."""

import io
import os
import tempfile
from typing import Any

import duckdb

from conformance import names
from conformance.case import between, cases, holds, same
from conformance.world import World

case = cases("duckdb", "sync", "async")


def database(w: World, name: str = "") -> str:
    """A new database of the tenant, made through the service."""
    name = name or names.fresh("db")
    same(w.client.create_database(name)["database_name"], name)
    return name


def bucket(w: World, name: str = "files") -> str:
    """A bucket of the tenant, made by the engine's own client; its name on the engine."""
    on_engine = names.s3_bucket(w.tenant, name)
    w.engine.create_bucket(Bucket=on_engine)
    return on_engine


def stored(w: World, on_engine: str, key: str) -> bytes:
    return w.engine.get_object(Bucket=on_engine, Key=key)["Body"].read()


def parquet(data: bytes) -> list[tuple]:
    """The rows of a Parquet file, by DuckDB's own client."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "f.parquet")
        with open(path, "wb") as file:
            file.write(data)
        return duckdb.sql(f"from '{path}'").fetchall()


def rows(w: World, db: str, sql: str, **more: Any) -> list[dict[str, Any]]:
    return w.client.execute_query(db, sql, auto_qualify_tables=False, **more)


def run(w: World, db: str, sql: str) -> int:
    return w.client.execute_statement(db, sql, auto_qualify_tables=False)


@case("HealthCheck")
def health(w: World) -> None:
    found = w.client.health_check(detailed=True)
    holds(found if w.kind == "sync" else found and found.get("healthy"), f"not healthy: {found}")


@case("CreateDatabase", "ListDatabases", "GetDatabaseInfo", "DeleteDatabase")
def databases(w: World) -> None:
    same(w.client.list_databases(), [])
    b, a = database(w, names.fresh("b")), database(w, names.fresh("a"))
    same(w.client.create_database(b), None, "a database that there is")
    same(w.client.create_database("../x"), None, "a bad name")
    run(w, b, "create table t (a int)")
    found = {entry["name"]: entry["table_count"] for entry in w.client.list_databases()}
    same(found, {a: 0, b: 1})
    info = w.client.get_database_info(b)
    same((info["database_name"], info["table_count"], info["minio_bucket"]), (b, 1, ""))
    same(w.client.get_database_info("absent"), None)
    same(w.client.delete_database(b, force=True), True)
    same(w.client.delete_database(b, force=True), False, "deleted twice")
    same(w.client.delete_database(a), True)
    same(w.client.list_databases(), [])


@case("ExecuteQuery", "ExecuteStatement")
def queries(w: World) -> None:
    db = database(w)
    same(run(w, db, "create table t (n bigint, s varchar, f double, b boolean, d date, m decimal(9,2))"), 0)
    same(run(w, db, "insert into t values (1, 'größe 🦀', 0.5, true, '2024-02-29', 1.10), (2, null, null, null, null, null)"), 2)
    expected = [
        {"n": 1, "s": "größe 🦀", "f": 0.5, "b": True, "d": "2024-02-29", "m": "1.10"},
        {"n": 2, "s": None, "f": None, "b": None, "d": None, "m": None},
    ]
    same(rows(w, db, "select * from t order by n"), expected)
    same(len(rows(w, db, "from range(1000)")), 100, "the client's own limit")
    same(len(rows(w, db, "from range(1000)", limit=7)), 7)
    same(rows(w, db, "select * from absent"), [])
    same(rows(w, db, "select * from read_text('/etc/passwd')"), [])
    same(run(w, db, "update t set s = 'x'"), 2)
    # By default the client puts the user's name before tables; what its SQL says is what is meant.
    prefix = w.raw.get_table_prefix() if hasattr(w.raw, "get_table_prefix") else f"user_{w.user}_"
    same(w.client.execute_statement(db, "create table own (a int)"), 0)
    made = [row["table_name"] for row in rows(w, db, "select table_name from duckdb_tables()")]
    holds(f"{prefix}own" in made or "own" in made, f"tables {made}")


@case("ExecuteBatch")
def batches(w: World) -> None:
    db = database(w)
    run(w, db, "create table t (a int primary key)")
    insert = ["insert into t values (1)", "insert into t values (2), (3)"]
    found = w.client.execute_batch(db, insert, auto_qualify_tables=False)
    same([result["affected_rows"] for result in found["results"]], [1, 2])
    same(w.client.execute_batch(db, ["insert into t values (9)", "insert into t values (9)"], auto_qualify_tables=False), None)
    same(rows(w, db, "select count(*) c from t"), [{"c": 3}], "all or none")


@case("CreateTable", "ListTables", "GetTableSchema", "GetTableStats", "DropTable")
def tables(w: World) -> None:
    db = database(w)
    same(w.client.create_table(db, "events", {"id": "INTEGER", "name": "VARCHAR", "at": "TIMESTAMP"}), True)
    same(w.client.create_table(db, "events", {"id": "INTEGER"}), False, "a table that there is")
    same(w.client.create_table(db, "bad", {"id": "INTEGER); DROP TABLE events; --"}), False)
    same(w.client.list_tables(db), ["events"])
    run(w, db, "insert into events values (1, 'a', now()), (2, 'b', null), (3, 'b', null)")
    schema = w.client.get_table_schema(db, "events")
    same([column["name"] for column in schema["columns"]], ["id", "name", "at"])
    same(schema["columns"][2]["data_type"], "TIMESTAMP")
    stats = w.client.get_table_stats(db, "events")
    same(stats["row_count"], 3)
    by_name = {column["column_name"]: column for column in stats["column_stats"]}
    same((by_name["at"]["null_count"], by_name["name"]["distinct_count"]), (2, 2))
    same(w.client.get_table_schema(db, "absent"), None)
    same(w.client.drop_table(db, "events"), True)
    same(w.client.drop_table(db, "events"), True, "an absent table is no error")
    same(w.client.list_tables(db), [])


@case("ImportFromMinIO", "ExportToMinIO", "QueryMinIOFile")
def files(w: World) -> None:
    db, on_engine = database(w), bucket(w)
    run(w, db, "create table t as select range a, 'v' || range b from range(100)")
    for file_format in ("parquet", "csv", "json"):
        key = f"out/{file_format}.{file_format}"
        found = w.client.export_to_minio(
            db, "select * from t order by a", "files", key, file_format, auto_qualify_tables=False
        )
        data = stored(w, on_engine, key)
        same((found["rows_exported"], found["file_size"]), (100, len(data)))
        if file_format == "parquet":
            same(parquet(data)[99], (99, "v99"))
        else:
            same(data.count(b"\n"), 100 + (file_format == "csv"))
        same(len(w.client.query_minio_file(db, "files", key, file_format, limit=10)), 10)
        same(w.client.query_minio_file(db, "files", key, file_format)[3], {"a": 3, "b": "v3"})
        same(w.client.import_from_minio(db, f"from_{file_format}", "files", key, file_format), True)
        same(rows(w, db, f"select sum(a)::bigint s, count(*) c from from_{file_format}"), [{"s": 4950, "c": 100}])
    buffer = io.BytesIO()
    duckdb.sql("select 7 as n, 'own client' as s").write_parquet(path := tempfile.mktemp(suffix=".parquet"))
    with open(path, "rb") as file:
        buffer.write(file.read())
    os.remove(path)
    w.engine.put_object(Bucket=on_engine, Key="own.parquet", Body=buffer.getvalue())
    same(w.client.query_minio_file(db, "files", "own.parquet"), [{"n": 7, "s": "own client"}])
    same(w.client.import_from_minio(db, "x", "files", "absent.parquet"), False)
    same(w.client.query_minio_file(db, "absent", "own.parquet"), [])
    between(len(stored(w, on_engine, "own.parquet")), 100, 10_000)
