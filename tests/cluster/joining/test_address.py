"""Which addresses are joined, and which are refused before anything is sent there."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from recalltrap.errors import InputError
from recalltrap_cluster.joining.address import (
    check_address,
    check_jobs_address,
    has_token,
    is_sent_openly,
    resolve_address,
)


@pytest.fixture(autouse=True)
def _no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "")  # so that what a test sets is taken back after it
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    "address",
    ["local", "auto", "ray://127.0.0.1:10001", "ray://localhost:10001", "127.0.0.1:6379",
     "ray://[::1]:10001"],
)  # fmt: skip
def test_this_machine_needs_no_token(address: str) -> None:
    check_address(address)


FAR = ["ray://10.0.0.5:10001", "ray://head.example.org:10001", "203.0.113.7:6379",
       "ray://localhost.example.org:10001", "ray://0.0.0.0:10001"]  # fmt: skip


@pytest.mark.parametrize("address", FAR)
def test_beyond_it_a_token_is_asked_for(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"no authentication token.*RAY_AUTH_TOKEN"):
        check_address(address)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "hunter2")
    check_address(address)


def test_the_token_that_ray_left_at_home_is_this_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not has_token()
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("hunter2")
    assert has_token()
    with pytest.raises(InputError, match="no authentication token"):
        check_address("ray://10.0.0.5:10001")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    check_address("ray://10.0.0.5:10001")


@pytest.mark.parametrize("address", ["127.0.0.1:6379", "ray://10.0.0.5:10001"])
def test_a_token_is_sent_where_there_is_one(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "hunter2")
    check_address(address)
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_without_a_token_the_mode_is_left_alone() -> None:
    check_address("127.0.0.1:6379")
    assert "RAY_AUTH_MODE" not in os.environ


def test_where_nothing_answers_it_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(InputError, match="nothing answers there"):
        resolve_address(nobody)
    monkeypatch.setenv("RAY_ADDRESS", nobody)
    with pytest.raises(InputError, match=f"{nobody}: nothing answers there"):
        resolve_address("auto")


def test_somebody_elses_ray_address_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://10.0.0.5:10001")
    with pytest.raises(InputError, match="no authentication token"):
        resolve_address("auto")
    monkeypatch.delenv("RAY_ADDRESS")
    assert resolve_address("auto") == "auto"
    assert resolve_address("local") == "local"


def test_what_answers_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert resolve_address(address) == address


@pytest.mark.parametrize(
    "address",
    ["", "http://127.0.0.1:8265", "ray://", "ray://127.0.0.1", "ray://host:port", "localhost",
     "127.0.0.1:99999", "file:///etc", "ray://[::1", "ray://:10001"],
)  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="--address"):
        check_address(address)


def test_a_dashboard_is_no_cluster_to_join() -> None:
    with pytest.raises(InputError, match="`recalltrap submit STUDY --address`"):
        check_address("http://127.0.0.1:8265")


@pytest.mark.parametrize(
    ("address", "why"),
    [("ray://127.0.0.1:10001", "run --address"), ("auto", "run --address"),
     ("127.0.0.1:8265", "run --address"), ("http://", "is not where jobs are sent"),
     ("http://h:99999", "Port out of range"), ("http://[::1", "--address"),
     ("http://h/?token=hunter2", "is not where jobs are sent"),
     ("file:///etc/passwd", "is not where jobs are sent"),
     ("https://me:hunter2@head:8265", "holds a user or a password")],
)  # fmt: skip
def test_jobs_are_sent_to_dashboards_alone(address: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as refused:
        check_jobs_address(address)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("address", ["http://10.0.0.5:8265", "https://head.example.org"])
def test_no_job_goes_beyond_this_machine_without_a_token(address: str) -> None:
    with pytest.raises(InputError, match=r"no authentication token.*RAY_AUTH_TOKEN"):
        check_jobs_address(address)


def test_a_dashboard_that_answers_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert check_jobs_address(f"{address}/") == address
    with pytest.raises(InputError, match="nothing answers"):
        check_jobs_address(address)


def test_a_token_can_be_read_on_the_way_of_http_alone() -> None:
    assert is_sent_openly("http://10.0.0.5:8265")
    assert not is_sent_openly("https://10.0.0.5:8265")
    assert not is_sent_openly("http://127.0.0.1:8265")
