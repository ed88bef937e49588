"""PostgreSQL by the published clients, many calls at once."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from conformance.case import cases, same
from conformance.cases.postgres_published import look, table
from conformance.world import World


@cases("postgres", "sync")("Execute", "QueryRow")
def twenty_threads(w: World) -> None:
    t = table(w, "id int PRIMARY KEY, name text")

    def work(thread: int) -> None:
        for i in range(10):
            n = thread * 10 + i
            same(w.client.execute(f"INSERT INTO {t} VALUES ($1, $2)", [n, f"n{n}"]), 1)
            same(w.client.query_row(f"SELECT name FROM {t} WHERE id = $1", [n]), {"name": f"n{n}"})

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(work, range(20)))
    same(look(w, t, "count(*), count(DISTINCT name)"), [(200, 200)])


@cases("postgres", "async")("Query", "Execute")
async def many_at_once(w: World) -> None:
    t = f"t_{w.user}"
    same(await w.raw.execute(f"CREATE TABLE {t} (id int PRIMARY KEY)"), 0)
    statements = [{"sql": f"INSERT INTO {t} VALUES ($1)", "params": [i]} for i in range(100)]
    same(await w.raw.execute_many_concurrent(statements), [1] * 100)
    same(look(w, t, "count(*)"), [(100,)])
    queries = [{"sql": f"SELECT id FROM {t} WHERE id = $1", "params": [i]} for i in range(100)]
    same(await w.raw.query_many_concurrent(queries), [[{"id": i}] for i in range(100)])


@cases("postgres", "async")("Query")
async def a_slow_query_holds_up_no_other(w: World) -> None:
    slow = asyncio.create_task(w.raw.query("SELECT pg_sleep(2)"))
    await asyncio.sleep(0)
    same(await asyncio.wait_for(w.raw.query("SELECT 1 AS one"), 1.5), [{"one": 1}])
    same(slow.done(), False)
    slow.cancel()
