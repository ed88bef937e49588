"""QueryStream, which is not in the published client."""

import hashlib

from grpc import StatusCode

from conformance.case import cases, eventually, refused, same
from conformance.plain import native
from conformance.world import World

case = cases("postgres", "plain")
# More rows than any window.
COUNT = 200_000
RUNNING = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s AND state <> 'idle' AND pid <> %s"


@case("QueryStream")
def rows_in_order(w: World) -> None:
    w.call("Execute", sql="CREATE TABLE t (id int PRIMARY KEY, name text, price numeric)")
    stream = w.stream("QueryStream", sql="SELECT id AS a, id AS b FROM t")
    (only,) = stream
    same((list(only.columns), list(only.column_types), len(only.rows)), (["a", "b"], ["int4", "int4"], 0), "no rows")
    w.call("Execute", sql="INSERT INTO t SELECT n, 'n' || n, n / 4.0 FROM generate_series(1, 1000) n")
    sql = "SELECT id, name, price FROM t WHERE id > $1 ORDER BY id"
    found = list(w.stream("QueryStream", sql=sql, params=[10], batch_rows=100))
    same(list(found[0].columns), ["id", "name", "price"])
    same(list(found[0].column_types), ["int4", "text", "numeric"])
    same([list(part.columns) for part in found[1:]], [[]] * (len(found) - 1), "columns come once")
    same(max(len(part.rows) for part in found) <= 100, True, "batch_rows")
    rows = [native(row) for part in found for row in part.rows]
    engine = w.engine.execute("SELECT n::float8, 'n' || n, (n / 4.0)::text FROM generate_series(11, 1000) n").fetchall()
    same(rows, [list(row) for row in engine])


@case("QueryStream", limit=60)
def many_rows(w: World) -> None:
    stream = w.stream("QueryStream", deadline=60, sql=f"SELECT n, md5(n::text) h FROM generate_series(1, {COUNT}) n")
    digest, count = hashlib.sha256(), 0
    for part in stream:
        for row in part.rows:
            count += 1
            digest.update(row.values[1].string_value.encode())
    same(count, COUNT)
    expected = hashlib.sha256("".join(hashlib.md5(str(n).encode()).hexdigest() for n in range(1, COUNT + 1)).encode())
    same(digest.hexdigest(), expected.hexdigest())


@case("QueryStream")
def a_reader_that_leaves(w: World) -> None:
    mark = f"/* {w.user} */"
    stream = w.stream("QueryStream", sql=f"SELECT repeat('x', 1000) t FROM generate_series(1, 10000000) {mark}")
    stream.next()
    stream.cancel()
    me = w.engine.info.backend_pid
    running = lambda: w.engine.execute(RUNNING, [f"%{mark}%", me]).fetchone()[0]  # noqa: E731
    eventually("the engine's query ends", lambda: not running(), 2)


@case("QueryStream", "BeginTransaction")
def within_a_transaction(w: World) -> None:
    w.call("Execute", sql="CREATE TABLE t (id int)")
    tx = w.call("BeginTransaction").transaction_id
    w.call("Execute", sql="INSERT INTO t VALUES (1), (2)", transaction_id=tx)
    found = list(w.stream("QueryStream", sql="SELECT id FROM t ORDER BY id", transaction_id=tx))
    same([native(row) for part in found for row in part.rows], [[1], [2]])
    w.call("RollbackTransaction", transaction_id=tx)
    for code, fields, part in (
        (StatusCode.INVALID_ARGUMENT, {"sql": "SELEC"}, "syntax"),
        (StatusCode.INVALID_ARGUMENT, {"sql": "SELECT 1 AS a", "batch_rows": -1}, "batch_rows"),
        (StatusCode.NOT_FOUND, {"sql": "SELECT * FROM absent"}, "absent"),
        (StatusCode.NOT_FOUND, {"sql": "SELECT 1 AS a", "transaction_id": tx}, "transaction"),
    ):
        refused(code, lambda fields=fields: w.stream("QueryStream", **fields).status(), part)
