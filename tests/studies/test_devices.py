"""RECALLTRAP_DEVICE: one rule for all kinds; what isn't there is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from recalltrap.cli.command_line import main
from recalltrap.errors import InputError
from recalltrap.registry import find_kind
from recalltrap_studies.devices import DEVICE_VARIABLE, check_device, choose_device


def see_gpus(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("wanted", "gpus", "device"),
    [
        (None, 0, "cpu"),
        ("", 0, "cpu"),
        ("cpu", 2, "cpu"),
        ("cpu:0", 0, "cpu"),
        (None, 1, "cuda"),
        ("cuda", 1, "cuda"),
        ("cuda:0", 1, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
    ],
)
def test_a_device_that_is_there_is_taken(
    wanted: str | None, gpus: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    see_gpus(gpus, monkeypatch)
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    if wanted is not None:
        monkeypatch.setenv(DEVICE_VARIABLE, wanted)
    assert choose_device() == torch.device(device)


NAMES = ("gpuu", "gpu", "CPU", " cpu", "cpu\n", "mps", "meta", "xpu", "cpu:1", "cuda:", "cuda:x",
         "cuda:-1", "cuda:01", "cuda:0,1", "0", "cuda:99999999999")  # fmt: skip


@pytest.mark.parametrize("wanted", NAMES)
def test_what_is_no_device_is_refused_wherever_it_should_run(
    wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    see_gpus(1, monkeypatch)
    monkeypatch.setenv(DEVICE_VARIABLE, wanted)
    for here in (True, False):
        with pytest.raises(InputError, match=r"RECALLTRAP_DEVICE = .*is no device.*unset"):
            check_device(here=here)


@pytest.mark.parametrize(
    ("wanted", "gpus", "way"),
    [
        ("cuda", 0, "torch sees no GPU here: set it to cpu"),
        ("cuda:7", 0, "torch sees no GPU here: set it to cpu"),
        ("cuda:1", 1, "torch sees 1 GPU here: set it to cuda, or cpu"),
        ("cuda:7", 4, "torch sees 4 GPUs here: set it to cuda:0 to cuda:3, or cpu"),
    ],
)
def test_a_gpu_that_is_not_here_is_refused_here_alone(
    wanted: str, gpus: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    see_gpus(gpus, monkeypatch)
    monkeypatch.setenv(DEVICE_VARIABLE, wanted)
    with pytest.raises(InputError, match=f"RECALLTRAP_DEVICE = '{wanted}', but {way}"):
        choose_device()
    check_device(here=False)  # a cluster's workers may have it


@pytest.mark.parametrize("study", ["mog/quick", "llm/nano"])
@pytest.mark.parametrize("wanted", ["gpuu", "cuda:7"])
def test_commands_refuse_it_once_and_write_nothing(
    study: str, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    see_gpus(0, monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DEVICE_VARIABLE, wanted)
    for command in (["plan"], ["run", "--local"], ["run"], ["forecast"]):
        done = CliRunner().invoke(main, [*command, study, "-o", "seeds=1"])
        assert done.exit_code == 2, done.output
        assert done.stdout == ""
        assert done.stderr.startswith(f"recalltrap: RECALLTRAP_DEVICE = {wanted!r}")
        assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_both_kinds_ask_the_same_question(monkeypatch: pytest.MonkeyPatch) -> None:
    from recalltrap_studies.llm.models.devices import device

    assert device is choose_device
    monkeypatch.setenv(DEVICE_VARIABLE, "gpuu")
    for name in ("mog", "llm"):
        kind = find_kind(name)
        with pytest.raises(InputError, match="gpuu"):
            kind.check_device(here=False)
