"""A command that is watched by another process: it ends as it would, or is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from recalltrap.cli import command_line

PROGRAM = """
import os, sys, time
from recalltrap.cli.output import listening, say
from recalltrap.cli.watched import go_on_watched

with listening():
    watch = go_on_watched({seconds}, 50, lambda limit: "too much " + limit)
    watch.begin()
    {work}
"""


def ran(work: str, seconds: float = 30.0) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a watched process."""
    program = PROGRAM.format(seconds=seconds, work=work)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=50
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("status", [0, 1, 2, 130])
def test_it_ends_as_the_command_does(status: int) -> None:
    assert ran(f"say('done'); sys.exit({status})") == (status, "done\n", "")


def test_a_traceback_stays_one() -> None:
    status, _, error = ran("raise ValueError('x')")
    assert status == 1
    assert error.count("ValueError: x") == 1


def test_what_looks_at_no_clock_is_ended() -> None:
    began = time.monotonic()
    # One call, in C, that holds Python's lock and lets no signal through.
    status, out, error = ran("sum(range(10**12)); say('done')", seconds=0.2)
    assert (status, out, error) == (2, "", "recalltrap: too much time\n")
    assert time.monotonic() - began < 20


def test_what_comes_after_the_answer_is_not_its_time() -> None:
    """A process that ends slowly, on a busy machine, was killed with its answer said."""
    work = "watch.end(); say('answer'); time.sleep(2.5); say('done')"
    assert ran(work, seconds=0.2) == (0, "answer\ndone\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")
@pytest.mark.parametrize("work", ["bytearray(2 * 10**9)", "os.kill(os.getpid(), 9)"])
def test_what_takes_too_much_memory_is_ended(work: str) -> None:
    status, _, error = ran(work)
    if work.startswith("os"):  # as the system ends it
        assert (status, error) == (2, "recalltrap: too much memory\n")
    else:
        assert "MemoryError" in error


def test_to_end_the_watcher_ends_the_command() -> None:
    program = PROGRAM.format(seconds=60, work="say(os.getpid()); time.sleep(60)")
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_caller_s_own_process_isn_t_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("split"))
    done = CliRunner().invoke(command_line.main, ["query", "no/such-run", "select 1"])
    assert done.exit_code == 2
    assert "no/such-run" in done.output
