"""Studies that name a hostile file, and the small models that they stand on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gguf import GGMLQuantizationType
from transformers import AutoModelForSequenceClassification, BertConfig

from recalltrap_studies.llm.models import tokenizers
from tests.studies.llm.conftest import tiny_sentences
from tests.studies.llm.gguf_files import write_gguf
from tests.studies.llm.given_folders import folder_of, layered
from tests.studies.llm.hostile.case import Hostile
from tests.studies.llm.hostile.folders import of_models, of_rewards
from tests.studies.llm.hostile.parquet import of_parquet
from tests.studies.llm.hostile.rows import every_row_file


@dataclass(frozen=True)
class Models:
    """A language model as a folder and as a GGUF file, and a classifier of one label."""

    folder: Path
    gguf: Path
    judge: Path

    @classmethod
    def made(cls, root: Path) -> Models:
        """Untrained, of two layers."""
        tokenizer = tokenizers.train_tokenizer(tiny_sentences(300), 160)
        model = layered(tokenizer, 2, width=32)
        found = cls(root / "model", root / "model.gguf", root / "judge")
        folder_of(found.folder, model, tokenizer)
        write_gguf(found.gguf, model, tokenizer, GGMLQuantizationType.F32)
        sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1,
                                 "num_attention_heads": 2, "intermediate_size": 24}  # fmt: skip
        config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64,
                            pad_token_id=tokenizer.pad_token_id, id2label={0: "good"},
                            label2id={"good": 0}, **sizes)  # fmt: skip
        torch.manual_seed(5)
        make: Any = AutoModelForSequenceClassification.from_config
        make(config).save_pretrained(found.judge)
        tokenizer.save_pretrained(found.judge)
        return found


def every_file(models: Models) -> list[Hostile]:
    """All that are made by hand."""
    return [
        *every_row_file(),
        *of_parquet(),
        *of_rewards(models.judge),
        *of_models(models.folder, models.gguf),
    ]


def study_of(case: Hostile, named: Path, models: Models) -> dict[str, Any]:
    """The smallest study that reads the file at `named`; everything else in it is right."""
    given: Mapping[str, Any] = {
        "p_prime": str(models.folder), "p_prime_weights": "given", "p_second": str(models.folder),
        "reward": "length", "sample_tokens": 16, "align_tokens": 16,
    }  # fmt: skip
    settings = {**given, case.setting: case.spec or str(named)}
    if case.setting == "corpus":
        settings = {"corpus": str(named), "reward": "length"}
    if case.setting == "preferences":
        settings |= {"algorithm": "dpo_offline"}
    return {"name": "llm/hostile", "kind": "llm", "question": "Is it refused?",
            "orderings": ["K-A"], "seeds": 1, "settings": settings}  # fmt: skip


def write_study(case: Hostile, folder: Path, models: Models) -> Path:
    """Make the file and a study that names it, both in a folder of their own."""
    folder.mkdir(parents=True)
    case.make(folder / case.file)
    path = folder / "study.yaml"
    path.write_text(json.dumps(study_of(case, folder / case.file, models)))
    return path
