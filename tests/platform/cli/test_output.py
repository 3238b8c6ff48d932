"""What a command says reaches whoever can take it, and costs nothing where nobody can."""

from __future__ import annotations

import errno
import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

import pytest
from toy_trouble import plant

from recalltrap.cli.command_line import main
from recalltrap.cli.output import escaped, listening, print_exactly, print_table, say
from recalltrap.run.run import run

StudyFile = Callable[..., str]
ROWS = [{"name": "é – 0.5 ± 0.1 😀", "value": 1.5}]


class Ascii(io.TextIOWrapper):
    """A stdout that knows ASCII alone."""

    def __init__(self) -> None:
        self.written = io.BytesIO()
        super().__init__(self.written, "ascii", write_through=True)

    def shown(self) -> str:
        return self.written.getvalue().decode("ascii")


@pytest.fixture
def closed_out() -> Iterator[TextIO]:
    """A stdout that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        yield stream


def test_people_read_our_typography_in_ascii() -> None:
    stream = Ascii()
    with redirect_stdout(stream), listening():
        print_table(ROWS)
        say("order effect ≥ 0.5 – a trap")
    assert r"\u00e9 - 0.5 +- 0.1 \ud83d\ude00" in stream.shown()
    assert "order effect >= 0.5 - a trap" in stream.shown()


def test_json_means_the_same_in_ascii() -> None:
    stream = Ascii()
    with redirect_stdout(stream), listening():
        print_table(ROWS, "json")
    assert json.loads(stream.shown()) == ROWS


def test_a_document_keeps_its_characters() -> None:
    stream = Ascii()
    with redirect_stdout(stream), listening():
        print_exactly(json.dumps(ROWS, ensure_ascii=False))
    assert json.loads(stream.shown()) == ROWS


def test_only_what_an_encoding_lacks_is_escaped() -> None:
    assert escaped("é–", "latin-1") == "é\\u2013"
    assert escaped("é–", "utf-8") == "é–"
    assert escaped("\udc80", "utf-8") == "\\udc80"  # a name that is no text on this system


def test_nothing_fails_where_nobody_reads(closed_out: TextIO) -> None:
    with redirect_stdout(closed_out), listening():
        for _ in range(3):
            say("anybody?")
            print_table(ROWS)
    closed_out.write("what was left")
    closed_out.flush()  # as the interpreter does at its end


def test_streams_come_back() -> None:
    stream = io.StringIO()
    with redirect_stdout(stream):
        with listening():
            assert sys.stdout is not stream
        assert sys.stdout is stream


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> str:
    storage = str(tmp_path_factory.mktemp("finished") / "runs")
    run("toy/tiny", storage=storage, local=True)
    return storage


COMMANDS = (
    ("studies",),
    ("studies", "--schema"),
    ("plan", "toy/tiny"),
    ("status", "toy/tiny"),
    ("query", "toy/tiny", "select 'é – ±' as x, *  from metrics"),
    ("query", "toy/tiny", "select 'é – ±' as x", "--format", "json"),
    ("query", "toy/tiny", "select 'é – ±' as x", "--format", "csv"),
)


def status_of(stream: TextIO, arguments: Sequence[str]) -> int:
    with redirect_stdout(stream), pytest.raises(SystemExit) as left:
        main(list(arguments))
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.mark.slow
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_speaks_to_anybody(
    arguments: tuple[str, ...], finished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECALLTRAP_STORAGE", finished)
    monkeypatch.delenv("TERM", raising=False)
    stream = Ascii()
    assert status_of(stream, arguments) == 0
    assert stream.shown().strip()


@pytest.mark.slow
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_speaks_to_nobody(
    arguments: tuple[str, ...], finished: str, closed_out: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECALLTRAP_STORAGE", finished)
    assert status_of(closed_out, arguments) == 0


EVERYTHING = (
    *COMMANDS, ("--help",), ("--version",), ("plan", "--help"), ("report", "toy/tiny"),
    ("forecast", "toy/tiny"), ("run", "toy/tiny", "--local"),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "redirection", "reason"),
    [*((arguments, ">/dev/full", "No space left on device") for arguments in EVERYTHING),
     *((arguments, ">&-", "it is closed") for arguments in (("studies",), ("--help",)))],
    ids=str,
)  # fmt: skip
def test_an_output_that_takes_nothing_is_one_line_and_status_1(
    arguments: tuple[str, ...], redirection: str, reason: str, finished: str
) -> None:
    """As a process, for what fails at the interpreter's end is part of it."""
    command = shlex.join([sys.executable, "-m", "recalltrap.cli.command_line", *arguments])
    done = subprocess.run(
        ["bash", "-c", f"{command} {redirection}"], stderr=subprocess.PIPE, check=False,
        env={**os.environ, "RECALLTRAP_STORAGE": finished},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    *progress, last = done.stderr.splitlines()
    assert last == f"recalltrap: the output could not be written: {reason}".encode()
    assert not progress or arguments[0] == "run"


def test_what_is_lost_leaves_the_work_going_on() -> None:
    with open("/dev/full", "w") as full, redirect_stdout(full):
        with listening() as out:
            say("one")
            say("two")
        assert out.lost is not None
        assert out.lost.errno == errno.ENOSPC
        full.write("what was left")
        full.flush()  # as the interpreter does at its end


def test_a_full_stderr_costs_nothing() -> None:
    with open("/dev/full", "w") as full, redirect_stderr(full), redirect_stdout(io.StringIO()):
        with pytest.raises(SystemExit) as left:
            main(["studies"])
        assert left.value.code == 0


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "failing"),
    [("ascii without TERM", False), ("nobody reads", True), ("nobody reads either", False)],
)
def test_a_run_ends_with_its_report_whoever_listens(
    case: str, failing: bool, study_file: StudyFile, tmp_path: Path
) -> None:
    """As a process: status, report and stderr, of a run that succeeds and of one that fails."""
    settings: dict[str, str] = {}
    if failing:
        plant(tmp_path / "trouble", "nan", "align", seed=1, kl_weight=2.0)
        settings = {"trouble": str(tmp_path / "trouble")}
    nobody = case.startswith("nobody")
    environment = {**os.environ, **({} if nobody else ASCII)}
    environment.pop("TERM", None)
    study = study_file(seeds=2, question="Does it work – or not?", settings=settings)
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "recalltrap.cli.command_line", "run", study, "--local"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, check=False,
        stdout=writing if nobody else subprocess.PIPE,
        stderr=writing if case == "nobody reads either" else subprocess.PIPE,
    )  # fmt: skip
    os.close(writing)
    assert done.returncode == int(failing), done.stderr
    assert (tmp_path / "runs/studies/toy/test/report/index.html").is_file()
    for said in (done.stdout, done.stderr):
        assert b"Traceback" not in (said or b"")
        assert b"BrokenPipe" not in (said or b"")
    if not nobody:
        assert done.stdout.decode().rstrip().endswith("report/index.html")
