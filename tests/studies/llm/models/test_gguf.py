"""GGUF files: read as transformers reads them, and plain models afterwards."""

from __future__ import annotations

from pathlib import Path

import gguf as format
import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from recalltrap.errors import InputError
from recalltrap_studies.llm.models import gguf
from tests.studies.llm.gguf_files import TEMPLATE, write_gguf

IDS = torch.tensor([[5, 9, 14, 30, 7, 2]])


@pytest.fixture(scope="module")
def file(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model: PreTrainedModel,
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> str:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(path, tiny_model, tiny_tokenizer)
    return str(path)


def test_the_weights_are_those_that_were_quantised(file: str, tiny_model: PreTrainedModel) -> None:
    read = gguf.read_model(file)
    kind = format.GGMLQuantizationType.Q4_1
    wanted = {name: values.numpy() for name, values in tiny_model.state_dict().items()}
    assert dict(read.state_dict()).keys() == wanted.keys()
    for name, values in read.state_dict().items():
        assert values.dtype == torch.float32
        matrix = wanted[name]
        if matrix.ndim > 1:
            matrix = format.quants.dequantize(format.quants.quantize(matrix, kind), kind)
        assert np.array_equal(values.numpy(), matrix), name


def test_the_logits_are_those_of_transformers(file: str, tiny_model: PreTrainedModel) -> None:
    folder, name = str(Path(file).parent), Path(file).name
    theirs = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    with torch.no_grad():
        ours = gguf.read_model(file)(IDS).logits
        assert torch.equal(ours, theirs(IDS).logits)
        assert not torch.equal(ours, tiny_model(IDS).logits), "nothing was quantised"


def test_a_converted_file_is_a_plain_folder(
    file: str, tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    folder = tmp_path / "models" / "tiny"
    written = gguf.convert(file, folder)
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert not hasattr(model.config, "quantization_config")
    assert model.config.tie_word_embeddings
    assert model.num_parameters() == written.num_parameters()
    with torch.no_grad():
        assert torch.equal(model(IDS).logits, written(IDS).logits)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "The fox sees the hill."
    assert tokenizer.encode(text) == tiny_tokenizer.encode(text)
    assert tokenizer.eos_token == tiny_tokenizer.eos_token
    assert tokenizer.pad_token == tiny_tokenizer.pad_token
    assert tokenizer.chat_template == TEMPLATE


def test_a_folder_that_is_there_stays(file: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is there already"):
        gguf.convert(file, tmp_path)
    assert not list(tmp_path.iterdir())


def test_half_a_folder_is_never_left(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(PreTrainedTokenizerFast, "save_pretrained", full)
    with pytest.raises(OSError, match="no space"):
        gguf.convert(file, tmp_path / "tiny")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "can't be read: No such file"),
        (b"", "no GGUF file"),
        (b"PK\x03\x04 and so on", "no GGUF file"),
        (b"GGUF\x03\x00\x00\x00", "transformers can't read this GGUF file"),
    ],
)
def test_what_is_no_such_file_is_refused(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    for read in (gguf.read_config, gguf.read_tokenizer, gguf.read_model):
        with pytest.raises(InputError, match=f"settings.p_prime = .*model.gguf.*{reason}"):
            read(str(path), "settings.p_prime")


@pytest.mark.parametrize("path", ["a/b.gguf", "B.GGUF", Path("x.gguf")])
def test_a_name_says_what_it_is(path: str | Path) -> None:
    assert gguf.is_gguf(path)
    assert not gguf.is_gguf(f"{path}.part")
