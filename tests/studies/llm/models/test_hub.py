"""A hub that doesn't answer is asked once, and what is said of it is one line."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from click.testing import CliRunner
from huggingface_hub import constants

from recalltrap.cli.command_line import main
from recalltrap.errors import InputError
from recalltrap_studies.llm import preflight
from recalltrap_studies.llm.models import hub
from recalltrap_studies.llm.settings import LlmSettings

SIZES = {"p_prime": "smollm2-360m", "student": "smollm2-135m", "p_target": "smollm2-135m"}


class Session:
    """The hub's HTTP client: counts what it is asked, and answers with a status or an error."""

    def __init__(self, answer: int | Exception) -> None:
        self.answer, self.asked = answer, 0

    def head(self, url: str, timeout: float) -> Any:
        assert 0 < timeout <= 10
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return SimpleNamespace(status_code=self.answer)


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No answer is remembered, and nothing is cached."""
    hub.forget()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield
    hub.forget()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (OSError("[Errno -2] Name or service not known"), r"\[Errno -2\] Name or service"),
        (TimeoutError(), "TimeoutError"),
        (ValueError("unknown url\ntype"), "unknown url"),
        (503, "status 503"),
        (429, "status 429"),
    ],
)
def test_many_models_are_one_question_and_one_line(
    answer: int | Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(answer)
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: session)
    settings = LlmSettings(p_star="a/b", p_prime="a/c", student="a/d", p_target="a/e@main")
    for check in (preflight.check_sources, preflight.check_access):
        with pytest.raises(InputError) as caught:
            check(settings)
        message = str(caught.value)
        assert message.startswith("settings.p_star = 'a/b': ")
        assert reason.replace("\\", "") in message
        assert "isn't cached here" in message
        assert "give a local folder" in message
        assert "\n" not in message
    assert session.asked == 1


@pytest.mark.parametrize("status", [200, 307, 401, 404])
def test_a_hub_that_answers_is_asked_for_models(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: Session(status))
    assert hub.fault() is None


def test_offline_mode_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: pytest.fail("asked"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"settings\.p_star = 'a/b'.*HF_HUB_OFFLINE is set"):
        preflight.check_access(LlmSettings(p_star="a/b"))


def test_a_lone_hub_id_is_planned_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: pytest.fail("asked"))
    preflight.check_sources(LlmSettings(p_star="a/b", sample_tokens=512, **SIZES))


def test_a_run_of_it_ends_at_once_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the real client, and a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{probe.getsockname()[1]}")
        monkeypatch.chdir(tmp_path)
        clock = time.perf_counter()
        with caplog.at_level(logging.WARNING):
            done = CliRunner().invoke(main, ["run", "llm/one-gpu-ppo", "--local"])
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith("recalltrap: settings.p_star = ")
    assert done.stderr.count("\n") == 1
    assert caplog.records == []
    assert time.perf_counter() - clock < 20
    assert not (tmp_path / "runs").exists()
