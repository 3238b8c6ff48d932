"""Folders and files that are no reward model and no language model, though they look like one."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.studies.llm.hostile.case import Hostile, Make

Change = Callable[[Path], object]
DEEP = "[" * 100_000 + "]" * 100_000


def copied(good: Path, *changes: Change) -> Make:
    """A copy of a good folder, changed."""

    def make(path: Path) -> None:
        shutil.copytree(good, path)
        for change in changes:
            change(path)

    return make


def written(name: str, content: bytes | str) -> Change:
    """Another content of a file."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def edited(name: str, **fields: Any) -> Change:
    """Other fields of a file of JSON; None takes one away."""

    def edit(folder: Path) -> None:
        found = json.loads((folder / name).read_text()) | fields
        kept = {key: value for key, value in found.items() if value is not None}
        (folder / name).write_text(json.dumps(kept))

    return edit


def without(*names: str) -> Change:
    """Files taken away."""

    def remove(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return remove


def cut(name: str, size: int | None = None) -> Change:
    """A file cut to so many bytes, or to a half."""

    def cut_off(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2 if size is None else size])

    return cut_off


def renamed(name: str, other: str) -> Change:
    """A file under another name."""
    return lambda folder: (folder / name).rename(folder / other)


WEIGHTS = "model.safetensors"


def _header(content: bytes | str, size: int | None = None) -> Change:
    """Weights that begin with this header, of this or its own stated length, and hold nothing."""
    data = content.encode() if isinstance(content, str) else content
    return written(WEIGHTS, struct.pack("<Q", len(data) if size is None else size) + data)


def _relabelled(folder: Path) -> None:
    """Weights whose header names other tensors, as long as before."""
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data.replace(b".weight", b".wright"))


def _as_folder(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()


def of_weights() -> dict[str, tuple[Change, str]]:
    """What may be wrong with the weights of any model, and what is said of it."""
    outside = '{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}'
    return {
        "no weights": (without(WEIGHTS), "no usable weights"),
        "a pickle alone": (renamed(WEIGHTS, "pytorch_model.bin"), "a pickle"),
        "weights cut off": (cut(WEIGHTS), "no whole safetensors"),
        "weights without their last byte": (
            lambda folder: cut(WEIGHTS, (folder / WEIGHTS).stat().st_size - 1)(folder),
            "no whole safetensors",
        ),
        "weights of no byte": (written(WEIGHTS, b""), "no whole safetensors"),
        "weights of three bytes": (written(WEIGHTS, b"abc"), "no whole safetensors"),
        "weights that are a page": (
            written(WEIGHTS, "<!DOCTYPE html>" * 50), "no whole safetensors"),
        "weights that stand elsewhere (LFS)": (
            written(WEIGHTS, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
            "no whole safetensors",
        ),
        "a header of 2^63 bytes": (_header("{}", 2**63), "no whole safetensors"),
        "a header that is no JSON": (_header("{{{{"), "no whole safetensors"),
        "a header of brackets": (_header(DEEP), "no whole safetensors"),
        "a header that is a list": (_header("[1, 2]"), "no whole safetensors"),
        "a tensor beyond the end": (_header(outside), "no whole safetensors"),
        "tensors of other names": (_relabelled, "no usable model"),
        "weights that are a folder": (
            _as_folder,
            "weights|directory",
        ),
        "an index that is no JSON": (
            written(f"{WEIGHTS}.index.json", "{"), "index.json can't be read"),
        "an index of missing files": (
            written(f"{WEIGHTS}.index.json", '{"weight_map": {"a": "model-1.safetensors"}}'),
            "missing",
        ),
        "an index that leads elsewhere": (
            written(f"{WEIGHTS}.index.json", '{"weight_map": {"a": "../../rows.jsonl"}}'),
            "index.json",
        ),
    }  # fmt: skip


def of_config() -> dict[str, tuple[Change, str]]:
    """What may be wrong with the configuration of any model."""
    file = "config.json"
    code = {"AutoConfig": "code.Config", "AutoModelForSequenceClassification": "code.Model"}
    return {
        "no configuration": (without(file), "configuration"),
        "an empty configuration": (written(file, ""), "configuration"),
        "a configuration that is no JSON": (written(file, "{"), "configuration"),
        "a configuration in UTF-16": (
            written(file, json.dumps({"model_type": "bert"}).encode("utf-16")), "configuration"),
        "a configuration that is a list": (written(file, "[]"), "configuration"),
        "a configuration of brackets": (written(file, DEEP), "configuration"),
        "a configuration of NaN": (edited(file, hidden_size=float("nan")), "configuration"),
        "a strange family": (edited(file, model_type="nonesuch"), "configuration"),
        "a family that is a number": (edited(file, model_type=3), "configuration"),
        "no family": (edited(file, model_type=None), ""),
        "a family with code of its own": (
            edited(file, model_type="mine", auto_map=code), "configuration"),
        "another family's class": (edited(file, architectures=["BertForMaskedLM"]), "which is no"),
        "architectures of numbers": (edited(file, architectures=[7]), ""),
        "a negative size": (edited(file, hidden_size=-16), ""),
        "a size of text": (edited(file, hidden_size="wide"), ""),
        "no heads": (edited(file, num_attention_heads=0), ""),
        "a width that heads don't divide": (edited(file, num_attention_heads=3), ""),
        "a billion layers": (edited(file, num_hidden_layers=10**9), ""),
        "a vocabulary of 10^15": (edited(file, vocab_size=10**15), ""),
        "a context of text": (edited(file, max_position_embeddings="long"), ""),
        "a vocabulary of one": (edited(file, vocab_size=1), ""),
    }  # fmt: skip


def of_tokenizer() -> dict[str, tuple[Change, str]]:
    """What may be wrong with the tokenizer of any model."""
    file, config = "tokenizer.json", "tokenizer_config.json"
    return {
        "no tokenizer": (without(file, config), "tokenizer"),
        "an empty tokenizer": (written(file, ""), "tokenizer"),
        "a tokenizer cut off": (cut(file), "tokenizer"),
        "a tokenizer of brackets": (written(file, DEEP), "tokenizer"),
        "a tokenizer of nothing": (written(file, "{}"), "tokenizer"),
        "a tokenizer's settings that are no JSON": (written(config, "{"), "tokenizer"),
        "a tokenizer's settings that are a list": (written(config, "[]"), "tokenizer"),
    }


def of_rewards(good: Path) -> Iterator[Hostile]:
    """`good` is a classifier of one label called `good`."""

    def bad(name: str, *changes: Change, says: str = "") -> Hostile:
        return Hostile(f"reward: {name}", "reward", "judge", copied(good, *changes), says)

    for found in (of_weights(), of_config(), of_tokenizer()):
        for name, (change, says) in found.items():
            yield bad(name, change, says=says)
    yield bad("architectures that are a number", edited("config.json", architectures=7))
    labels = {"id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": 0, "good": 1}}
    yield bad("two labels, none named", edited("config.json", **labels), says="2 labels")
    yield bad("labels that are a list", edited("config.json", id2label=["bad", "good"]))
    yield bad("labels of no number", edited("config.json", id2label={"a": "bad"}))
    yield bad("labels that are a number", edited("config.json", id2label=5))
    yield bad("a context of four", edited("config.json", max_position_embeddings=4),
              says="reads 4 tokens")  # fmt: skip
    yield Hostile("reward: an empty folder", "reward", "judge", lambda p: p.mkdir(), "")
    yield Hostile("reward: a file", "reward", "judge", lambda p: p.write_text("x"), "")
    yield Hostile("reward: missing", "reward", "judge", lambda p: None, "no such folder")
    yield Hostile("reward: a link to itself", "reward", "judge", lambda p: p.symlink_to(p), "")
    yield Hostile("reward: /dev/zero", "reward", "judge", lambda p: p.symlink_to("/dev/zero"), "")


def of_models(good: Path, gguf: Path) -> Iterator[Hostile]:
    """`good` is a folder of a causal language model, `gguf` one in a file."""

    def bad(name: str, *changes: Change, says: str = "") -> Hostile:
        return Hostile(f"p_prime: {name}", "p_prime", "model", copied(good, *changes), says)

    for found in (of_weights(), of_config(), of_tokenizer()):
        for name, (change, says) in found.items():
            yield bad(name, change, says=says)

    data = gguf.read_bytes()

    def file(name: str, content: bytes) -> Hostile:
        def make(path: Path) -> None:
            path.write_bytes(content)

        return Hostile(f"p_prime: {name}", "p_prime", "model.gguf", make, "GGUF")

    huge = (2**62).to_bytes(8, "little")
    yield file("a GGUF file of no byte", b"")
    yield file("GGUF's magic alone", b"GGUF")
    yield file("a GGUF file cut in its header", data[:200])
    yield file("a GGUF file cut in half", data[: len(data) // 2])
    yield file("a GGUF file without its last byte", data[:-1])
    yield file("a GGUF file of an unknown version", data[:4] + b"\x63\0\0\0" + data[8:])
    yield file("a GGUF file of 2^62 tensors", data[:8] + huge + data[16:])
    yield file("a GGUF file of 2^62 fields", data[:16] + huge + data[24:])
    yield file("a GGUF file of no family", data.replace(b"llama", b"lhama"))
    yield file("a zip called GGUF", b"PK\x03\x04" + data[4:])
