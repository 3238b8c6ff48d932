"""Joining has a deadline and ends at a signal, whatever answers at an address."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from recalltrap.errors import InputError
from recalltrap_cluster.joining.trial_join import JOIN_VARIABLE, join_seconds, try_to_join


@pytest.fixture(params=["silent", "talkative"])
def impostor(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of something that accepts connections and is no head of Ray."""
    taken: list[socket.socket] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def accept() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                    if request.param == "talkative":
                        taken[-1].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
    for connection in taken:
        connection.close()


@pytest.mark.slow
def test_what_is_no_head_is_given_up_in_time(
    impostor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JOIN_VARIABLE, "4")
    began = time.monotonic()
    with pytest.raises(InputError, match=rf"{impostor}.*ray start --head"):
        try_to_join(impostor)
    assert time.monotonic() - began < 30


@pytest.mark.slow
@pytest.mark.parametrize(("name", "status"), [("SIGTERM", -15), ("SIGINT", -2)])
def test_a_signal_ends_it(impostor: str, name: str, status: int) -> None:
    program = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from recalltrap_cluster.joining.trial_join import try_to_join\n"
        "print('now', flush=True); try_to_join(sys.argv[1])"
    )
    command = [sys.executable, "-c", program, impostor]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(getattr(signal, name))
    assert process.wait(20) == status


@pytest.mark.parametrize("address", ["local", "ray://127.0.0.1:10001"])
def test_no_trial_is_made_where_ray_gives_up_itself(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_: pytest.fail("tried"))
    try_to_join(address)


@pytest.mark.parametrize("said", ["0", "-1", "soon", "inf", "nan"])
def test_a_deadline_is_a_number_of_seconds(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JOIN_VARIABLE, said)
    with pytest.raises(InputError, match=JOIN_VARIABLE):
        join_seconds()


@pytest.mark.parametrize(("said", "seconds"), [("", 60.0), ("2.5", 2.5)])
def test_the_deadline_is_a_minute_unless_set(
    said: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JOIN_VARIABLE, said)
    assert join_seconds() == seconds
