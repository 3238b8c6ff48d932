"""A process that is watched: however it ends, one line says what stands, and nobody is left.

Each case is a small program of its own that goes on supervised.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from recalltrap.supervision.supervisor import is_here

pytestmark = pytest.mark.slow

KEPT = "finished work is kept, and running the same command again does the rest"
BEGINNING = """
import os, signal, subprocess, sys, time
from recalltrap.supervision import supervisor
from recalltrap.supervision.lifeline import LIFELINE, Door
supervisor.GRACE = {grace}
supervisor.go_on_supervised()
helper = subprocess.Popen(["sleep", "60"])
print(os.getpid(), helper.pid, flush=True)
sys.stdin.readline()
"""
"""Goes on when the test knows both processes: they may be gone at once."""
POLITE = """
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    helper.kill()
    print("interrupted", flush=True)
    LIFELINE.end(130)
    sys.exit(130)
"""
DEAF = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


class Watched:
    """A program that goes on supervised; it has said who it is."""

    def __init__(self, rest: str, grace: float = 10.0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", BEGINNING.format(grace=grace) + rest],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said, self.process.communicate()
        self.child, self.helper = (psutil.Process(int(pid)) for pid in said.split())
        self.process.stdin.write("go on\n")
        self.process.stdin.flush()

    def await_ready(self) -> None:
        """Until it has prepared for a signal."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def end(self) -> tuple[int, str]:
        """Its exit status and what it said on stderr; nobody may be left."""
        _, errors = self.process.communicate(timeout=60)
        _, alive = psutil.wait_procs([self.child, self.helper], timeout=30)
        assert not alive
        return self.process.returncode, errors


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_command_alone_interrupts_the_work(number: int, status: int) -> None:
    watched = Watched(POLITE)
    watched.await_ready()
    watched.process.send_signal(number)
    assert watched.end() == (status, ""), "the child said what was to be said"


def test_a_process_that_is_deaf_is_ended_and_its_own_with_it() -> None:
    watched, began = Watched(DEAF, grace=1.0), time.monotonic()
    watched.await_ready()
    watched.process.terminate()
    assert watched.end() == (143, f"recalltrap: interrupted; {KEPT}\n")
    assert time.monotonic() - began < 40, "it would have slept for 60"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed (SIGKILL, as the system does when "),
        ("os.abort()", "was killed (SIGABRT)"),
        ("os._exit(1)", "ended without a word (status 1)"),
    ],
)
def test_a_process_that_dies_without_a_word_has_one(how: str, said: str) -> None:
    status, errors = Watched(how).end()
    assert status == 1
    assert said in errors
    assert errors.endswith(f"{KEPT}\n")
    assert errors.count("\n") == 1


def test_a_process_that_ends_by_itself_has_the_last_word() -> None:
    assert Watched("helper.kill(); LIFELINE.end(3); sys.exit(3)").end() == (3, "")


def test_one_that_can_not_leave_is_ended_with_the_status_it_announced() -> None:
    watched = Watched("LIFELINE.end(0); time.sleep(60)", grace=0.5)
    assert watched.end() == (0, "")


def test_what_the_work_depends_on_must_answer() -> None:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        port = door.getsockname()[1]
        depends = f"LIFELINE.depend_on([Door('a raylet', '127.0.0.1', {port})])"
        watched = Watched(f"{depends}; time.sleep(60)")
        time.sleep(1.5)
        assert watched.process.poll() is None, "it answers"
    status, errors = watched.end()
    assert status == 1
    lost = f"Ray's cluster is lost: a raylet (127.0.0.1:{port}) no longer answers"
    assert errors == f"recalltrap: {lost}; {KEPT}\n"


def test_what_it_no_longer_depends_on_may_be_gone() -> None:
    gone = "LIFELINE.depend_on([Door('a raylet', '127.0.0.1', 1)]); LIFELINE.depend_on([])"
    assert Watched(f"{gone}; time.sleep(3); helper.kill(); LIFELINE.end(0)").end() == (0, "")


HEARING = """
with LIFELINE.hearing_of("a server", 4.0) as heard:
    for _ in range(12):
        time.sleep(0.5)
        heard()
    {then}
time.sleep(6.0)
helper.kill()
LIFELINE.end(0)
"""


def test_what_must_be_heard_of_is_lost_when_it_is_silent() -> None:
    status, errors = Watched(HEARING.format(then="time.sleep(60)")).end()
    assert status == 1
    lost = "Ray's cluster is lost: a server says nothing any more"
    assert errors == f"recalltrap: {lost}; {KEPT}\n"


def test_what_was_heard_of_in_time_or_is_no_longer_needed_is_not_lost() -> None:
    assert Watched(HEARING.format(then="pass")).end() == (0, "")


def test_silence_while_all_was_stopped_does_not_count() -> None:
    watched = Watched(HEARING.format(then="pass"))
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for process in (watched.child, psutil.Process(watched.process.pid)):
            process.send_signal(number)
        time.sleep(6.0)
    assert watched.end() == (0, "")


def test_without_its_watcher_the_work_ends() -> None:
    watched = Watched("time.sleep(60)")
    watched.process.kill()
    watched.process.communicate()
    _, alive = psutil.wait_procs([watched.child, watched.helper], timeout=30)
    assert not alive


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("192.0.2.1", False),
        ("head", False),
    ],
)
def test_this_machine_is_told_from_others(host: str, here: bool) -> None:
    assert is_here(host) is here
