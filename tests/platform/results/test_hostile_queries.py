"""A hundred queries that mean harm: each is refused with a line, soon, and leaves nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from measured_commands import measured

import recalltrap as rt
from recalltrap.errors import InputError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Snapshot = Callable[[str], dict[str, Any]]
ENDLESS = "with recursive r(i) as (select 1 union all select i + 1 from r) "
SECRET = "hunter2hunter2"
WRITES = [
    "create table x as select 1", "create or replace view cells as select 1", "create schema s",
    "create macro m() as 1", "create type mood as enum ('sad')", "create sequence s",
    "create temp table x (i int)", "create secret s (type s3, key_id 'a', secret 'b')",
    "create index i on cells (seed)", "drop view cells", "drop table cells_parts cascade",
    "alter view cells rename to c", "insert into cells select * from cells",
    "update cells set status = 'succeeded'", "delete from cells", "truncate cells",
    "merge into cells using planned on true when matched then delete",
    "begin transaction", "commit", "rollback", "checkpoint", "force checkpoint", "vacuum",
    "analyze", "comment on view cells is 'x'", "prepare p as select 1", "execute p", "deallocate p",
    "use memory", "call pragma_version()", "load httpfs", "install httpfs",
    "install 'OUTSIDE/evil.duckdb_extension'", "load 'OUTSIDE/evil.duckdb_extension'",
    "attach 'OUTSIDE/new.db' as d", "attach ':memory:' as d", "detach memory",
    "copy cells to 'OUTSIDE/copied.parquet'", "copy (select 1) to 'OUTSIDE/copied.csv'",
    "copy cells from 'OUTSIDE/secret.csv'", "copy cells to '/dev/stdout'",
    "export database 'OUTSIDE/exported'", "import database 'OUTSIDE'",
    "set enable_external_access = true", "set allowed_directories = ['/']",
    "reset allowed_directories", "set lock_configuration = false", "set memory_limit = '100GB'",
    "set temp_directory = 'OUTSIDE/tmp'", "set python_enable_replacements = true",
    "set allow_unsigned_extensions = true", "set threads = 512", "set session timezone = 'x'",
    "set global memory_limit = '9TB'", "pragma database_list", "pragma memory_limit='100GB'",
    "pragma enable_profiling", "pragma threads=900",
]  # fmt: skip
"""They do something else than read."""
READS = [
    "select * from read_csv('OUTSIDE/secret.csv')", "select * from read_text('OUTSIDE/secret.csv')",
    "select * from read_blob('OUTSIDE/secret.csv')", "select * from 'OUTSIDE/secret.csv'",
    "select * from read_json('OUTSIDE/secret.json')", "from read_text('/etc/passwd')",
    "select * from read_parquet('OUTSIDE/*.parquet')", "select * from glob('OUTSIDE/*')",
    "select * from glob('/*')", "select * from sniff_csv('OUTSIDE/secret.csv')",
    "select * from parquet_metadata('OUTSIDE/x.parquet')", "select * from read_text('/dev/stdin')",
    "select * from read_csv('/proc/self/environ')", "select * from read_text('/proc/self/cmdline')",
    "select * from read_text('TABLES/../study.yaml')",
    "select * from read_text('TABLES/../../../../recalltrap-storage.json')",
    "select * from read_csv('http://127.0.0.1:1/x.csv')", "select * from 's3://bucket/x.parquet'",
    "select * from 'https://example.invalid/x.parquet'", "select * from read_text('file:///etc/hosts')",
    "select * from read_csv(getenv('HOME') || '/x')", "select getenv('RECALLTRAP_STORAGE')",
    "select * from pandas", "select * from arguments", "select * from sqlite_scan('x.db', 'x')",
    "select * from query('drop view cells')", "select * from query_table('OUTSIDE/secret.csv')",
    "select * from postgres_scan('host=127.0.0.1', 'a', 'b')", "select * from read_xlsx('x.xlsx')",
    "select * from duckdb_logs_parsed('x'); drop view cells", "select 1; select 2",
]  # fmt: skip
"""They want what isn't the run's, or more than one answer."""
ENDLESS_ONES = [
    ENDLESS + "select * from r", ENDLESS + "select count(*) from r",
    "select count(*) from range(1000000000000)", "select * from range(1000000000000)",
    "select count(*) from range(10000000) a, range(10000000) b",
    "select sum(a.range * b.range) from range(1000000) a, range(100000000) b",
    "select length(repeat('x', 2000000000) || repeat('y', 2000000000))",
    "select repeat('x', 2000000000)", "select list(range) from range(1000000000)",
    "select string_agg(range::varchar, ',') from range(100000000)",
    "select unnest(range(1000000000))", "select range(1000000000)",
    "select list_transform(range(100000000), x -> x * 2)",
    "select count(*) from metrics a, metrics b, metrics c, metrics d, metrics e, metrics f",
    "select * from metrics a, metrics b, metrics c order by random()",
    "select regexp_matches(repeat('a', 100000000), '(a*)*b')",
    "select lpad('', 2000000000, 'x')",
    "select array_agg(r) from (select unnest(range(300000000)) r)",
    "pivot (select range % 1000000 as r, 1 as v from range(100000000)) on r using sum(v)",
    "explain analyze select count(*) from range(10000000) a, range(10000000) b",
    "select generate_series(timestamp '0001-01-01', timestamp '9999-01-01', interval '1us')",
]  # fmt: skip
"""They have no end, or no room."""
NONSENSE = [
    "", ";", "   ", "--", "/*", "'", "select", "select * from nowhere", "select nothing from cells",
    "selec * from cells", "select * from cells where", "\x00", "select 'a\x07",
    "select " + "-" * 9_999, "select cast('x' as int)", "select 1/0::int::varchar::date",
    "select error('boom')", "select * from cells; -- \n drop view cells", "explain drop view cells",
    "explain analyze create table x as select 1", "explain (format json) copy cells to 'OUTSIDE/y'",
    "with x as (delete from cells returning *) select * from x", "show all tables extended",
]  # fmt: skip
DEEP = ["select " + sign * 20_000 + "1" + end * 20_000 for sign, end in ("()", ("1+", ""))]
LIMITS = ("--time-limit", "0.5", "--memory-limit", "200")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    storage = tmp_path_factory.mktemp("asked") / "runs"
    return Path(rt.run("toy/tiny", storage=storage, local=True).folder)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.csv").write_text(f"a,b\n{SECRET},1\n")
    (folder / "secret.json").write_text(f'{{"a": "{SECRET}"}}')
    return folder


def well_refused(asked: str, status: int, output: str, errors: str) -> None:
    assert status == 2, (asked, output[-300:], errors[-300:])
    assert output == "", asked
    assert errors.startswith("recalltrap: "), asked
    assert "Traceback" not in errors, asked
    assert SECRET not in errors, asked
    assert len(errors) < 2_000, asked
    assert not re.search(r"INTERNAL Error|Stack Trace", errors), asked


def test_there_are_more_than_a_hundred() -> None:
    assert len({*WRITES, *READS, *NONSENSE, *ENDLESS_ONES, *DEEP}) > 120


def test_what_does_more_than_read_the_run_is_refused(
    run_folder: Path, outside: Path, tmp_path: Path, snapshot: Snapshot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    before = snapshot(str(run_folder)), snapshot(str(outside))
    results = rt.open_run(run_folder)
    for template in (*WRITES, *READS, *NONSENSE):
        query = template.replace("OUTSIDE", str(outside))
        query = query.replace("TABLES", str(run_folder / "tables"))
        with pytest.raises(InputError) as refused:  # which the command line ends with status 2
            print(results.sql(query, seconds=10, megabytes=200))
        well_refused(query, 2, "", f"recalltrap: {refused.value}")
    assert results.sql("select count(*) as n from cells")["n"].to_pylist() == [12]
    assert (snapshot(str(run_folder)), snapshot(str(outside))) == before
    assert os.listdir(here) == []


def test_what_has_no_end_or_no_room_is_given_up(
    run_folder: Path, tmp_path: Path, snapshot: Snapshot
) -> None:
    """Each in a process of its own, as a user's is: what DuckDB doesn't end itself, we end."""
    before = snapshot(str(run_folder))
    outcomes = measured(
        (["query", str(run_folder), query, *LIMITS] for query in (*ENDLESS_ONES, *DEEP)),
        tmp_path, ["recalltrap.cli.commands", "recalltrap.results.sql", "recalltrap.results.views"],
    )  # fmt: skip
    for found in outcomes:
        asked = found.arguments[2][:200]
        well_refused(asked, found.status, found.output, found.errors)
        assert found.megabytes < 1000, (asked, found.megabytes)
        assert found.seconds < 5, (asked, found.seconds)
    assert snapshot(str(run_folder)) == before
    assert os.listdir(tmp_path) == []
