"""Students: what they learn, what is recorded, and that neither interruptions, nor seeds run twice,
nor the way a batch is shared change a curve."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import fs
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
)
from trl.trainer.sft_trainer import SFTTrainer

from recalltrap.errors import StageError
from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.data import datasets
from recalltrap_studies.llm.data.sample_shards import read_shards
from recalltrap_studies.llm.fingerprints import corpus_identity
from recalltrap_studies.llm.models import weights
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.stages import train
from recalltrap_studies.llm.stages.train import run_train
from recalltrap_studies.llm.training import checkpoints, resumable
from recalltrap_studies.llm.training.student_trainer import StudentTrainer
from tests.studies.llm.training_nodes import TEACHER, UPDATES, student_node

pytestmark = pytest.mark.slow  # they train


def run(node: Node, store: ArtifactStore, group: WorkerGroup | None = None) -> list[Progress]:
    return list(run_train(node, store, group or WorkerGroup()))


def curves(store: ArtifactStore, node: Node) -> pa.Table:
    return store.read_table(node, "curves.parquet")


def curve(store: ArtifactStore, node: Node, metric: str = "loss") -> list[float]:
    rows = curves(store, node).to_pylist()
    return [row["value"] for row in rows if row["metric"] == metric]


def facts(store: ArtifactStore, node: Node) -> dict[str, float]:
    return dict(json.loads(store.read(node, "facts.json")))


@pytest.fixture(scope="module")
def student(taught: ArtifactStore) -> Node:
    """The student that the others are compared with."""
    node = student_node(TEACHER)
    run(node, taught)
    return node


def test_a_student_learns_and_is_stored_in_the_hub_s_format(
    taught: ArtifactStore, student: Node
) -> None:
    losses = curve(taught, student)
    assert len(losses) == UPDATES
    assert losses[-1] < losses[0] - 1
    with weights.unpacked(taught, student) as folder:
        model = AutoModelForCausalLM.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) == model.config.vocab_size
    assert model.config.tie_word_embeddings
    assert not checkpoints.scratch_folder(taught, student, WorkerGroup()).parent.exists()


def test_the_gap_is_the_held_out_loss_above_the_teacher_s_entropy(
    taught: ArtifactStore, student: Node
) -> None:
    found = facts(taught, student)
    heldout = read_shards(taught, student.parents["samples"], "heldout")
    log_probs = np.concatenate([np.array(row) for row in heldout["log_probs"].to_pylist()])
    assert found["teacher_entropy"] == pytest.approx(-log_probs.mean())
    assert found["gap"] == pytest.approx(found["heldout_loss"] - found["teacher_entropy"])
    assert found["gap"] > 0  # a student is never better than its teacher on the teacher's samples
    assert found["updates"] == UPDATES
    last = curve(taught, student, "heldout_loss")
    assert last[-1] == found["heldout_loss"]
    assert last[0] > last[-1]


def test_the_rate_warms_up_and_decays_to_nothing(taught: ArtifactStore, student: Node) -> None:
    rates = curve(taught, student, "learning_rate")
    decay = round(0.2 * UPDATES)
    assert rates[0] == 0
    assert rates[1] == rates[UPDATES - decay] == pytest.approx(1e-2)
    assert rates[-1] == pytest.approx(1e-2 / decay)


def test_the_same_seed_twice_gives_the_same_curves_and_weights(
    taught: ArtifactStore, student: Node
) -> None:
    again = replace(student, version=2)  # the same work under another identity
    run(again, taught)
    assert curves(taught, again).equals(curves(taught, student))
    first, second = (taught.read(node, "model.safetensors") for node in (student, again))
    assert first == second


def test_another_seed_gives_another_student(taught: ArtifactStore, student: Node) -> None:
    other = replace(student, seed=4)
    run(other, taught)
    assert curve(taught, other) != curve(taught, student)


@pytest.mark.parametrize(
    ("version", "fields"),
    [(3, {"gradient_accumulation": 4}), (4, {"gradient_checkpointing": True})],
)
def test_sharing_a_batch_out_changes_no_curve(
    taught: ArtifactStore, student: Node, version: int, fields: dict[str, Any]
) -> None:
    shared = replace(student, version=version)
    run(shared, taught, WorkerGroup(resources=LlmResources(**fields)))
    np.testing.assert_allclose(curve(taught, shared), curve(taught, student), rtol=1e-4)
    assert facts(taught, shared)["heldout_loss"] == pytest.approx(
        facts(taught, student)["heldout_loss"], rel=1e-4
    )


def test_packing_changes_no_curve(taught: ArtifactStore, student: Node) -> None:
    packed = student_node(TEACHER, packing=True)
    run(packed, taught)
    np.testing.assert_allclose(curve(taught, packed), curve(taught, student), rtol=1e-4)


class Interrupted(Exception):
    """What a test breaks a training with."""


def breaking_at(step: int) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if progress.step >= step:
            raise Interrupted

    return report


def test_an_interrupted_training_ends_where_it_would_have(
    taught: ArtifactStore, student: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = replace(student, version=7)
    resources = LlmResources(checkpoint_updates=8)
    with pytest.raises(Interrupted):
        run(node, taught, WorkerGroup(resources=resources, report=breaking_at(19)))
    scratch = checkpoints.scratch_folder(taught, node, WorkerGroup())
    assert str(checkpoints.last(scratch)).endswith("checkpoint-16")
    steps: list[int] = []
    run(node, taught, WorkerGroup(resources=resources, report=lambda p: steps.append(p.step)))
    assert steps[0] == 17  # and not from the beginning
    assert curves(taught, node).equals(curves(taught, student))
    assert taught.read(node, "model.safetensors") == taught.read(student, "model.safetensors")
    assert not scratch.parent.exists()


def test_another_machine_goes_on_from_what_an_object_store_holds(
    taught: ArtifactStore, student: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = replace(student, version=8)
    resources = LlmResources(checkpoint_updates=8)
    steps: list[int] = []
    store = ArtifactStore(Storage("fsspec+memory://mirror/runs"))
    storage = store.storage
    fs.copy_files(
        taught.storage.location, storage.path(""), destination_filesystem=storage.filesystem
    )
    for machine in ("first", "second"):
        folder = tmp_path / machine
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        if machine == "first":
            with pytest.raises(Interrupted):
                run(node, store, WorkerGroup(resources=resources, report=breaking_at(19)))
            assert storage.list(f"scratch/{node.id}/1-workers") == ["checkpoint-16"]
        else:
            run(
                node, store, WorkerGroup(resources=resources, report=lambda p: steps.append(p.step))
            )
        assert any(folder.rglob("checkpoint-16")) == (machine == "first")
    assert steps[0] == 17
    assert curves(store, node).equals(curves(taught, student))
    assert store.read(node, "model.safetensors") == taught.read(student, "model.safetensors")
    assert not storage.list(f"scratch/{node.id}")


def test_a_resumption_that_lost_its_place_is_refused() -> None:
    monitor = resumable.LossMonitor(
        "sft", WorkerGroup(), resumable.SettingNames(), resume_tolerance=0.5
    )
    state: Any = type(
        "State", (), {"log_history": [{"loss": 1.0}], "global_step": 9, "max_steps": 9}
    )
    monitor.on_train_begin(None, state, None)  # type: ignore[arg-type]
    with pytest.raises(StageError, match=r"had left at 1\.0000.*scratch"):
        monitor.on_log(None, state, None, {"loss": 1.6})  # type: ignore[arg-type]


def test_a_loss_that_is_no_number_names_the_rate(
    taught: ArtifactStore, student: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: StudentTrainer, model: Any, *_: Any, **__: Any) -> torch.Tensor:
        parameter: torch.Tensor = next(model.parameters())
        return parameter.sum() * math.nan

    monkeypatch.setattr(StudentTrainer, "compute_loss", broken)
    with pytest.raises(StageError, match=r"lower settings\.learning_rate") as caught:
        run(replace(student, version=8), taught)
    assert caught.value.failure == "nan"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"
        ),
    ],
)
def test_exhausted_memory_names_the_batch_and_the_way_out(
    taught: ArtifactStore, student: Node, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*_: Any, **__: Any) -> torch.Tensor:
        raise error

    monkeypatch.setattr(StudentTrainer, "compute_loss", broken)
    with pytest.raises(StageError, match=r"resources\.gradient_accumulation.*batch_size") as caught:
        run(replace(student, version=9), taught)
    assert caught.value.failure == "oom"


def test_other_errors_stay_what_they_are() -> None:
    with (
        pytest.raises(RuntimeError, match="shapes"),
        resumable.memory_guard(resumable.SettingNames()),
    ):
        raise RuntimeError("shapes don't match")


def test_the_loss_is_trl_s(taught: ArtifactStore, student: Node, tmp_path: Path) -> None:
    data = datasets.prepare(student, taught, tmp_path)
    schedule = train.make_schedule(student, data)
    model = train.fresh_student(student, taught, data.tokenizer)
    trainer = train.make_trainer(student, model, data, schedule, WorkerGroup(), str(tmp_path))
    batch = data.train.padded(schedule.order[:16], data.tokenizer.pad_token_id)
    ours = trainer.compute_loss(model, dict(batch))
    theirs = SFTTrainer.compute_loss(trainer, model, dict(batch))  # type: ignore[no-untyped-call]
    torch.testing.assert_close(ours, theirs)
    trainer.chunked = True
    torch.testing.assert_close(trainer.compute_loss(model, dict(batch)), theirs)


@pytest.mark.parametrize(("fields", "norm"), [({}, 1.0), ({"max_gradient_norm": 0.1}, 0.1)])
def test_gradients_are_clipped_as_the_settings_say(
    taught: ArtifactStore, tmp_path: Path, fields: dict[str, Any], norm: float
) -> None:
    node = student_node(TEACHER, **fields)
    data = datasets.prepare(node, taught, tmp_path)
    schedule = train.make_schedule(node, data)
    model = train.fresh_student(node, taught, data.tokenizer)
    trainer = train.make_trainer(node, model, data, schedule, WorkerGroup(), str(tmp_path))
    assert trainer.args.max_grad_norm == norm


@pytest.mark.slow
def test_compiled_layers_learn_the_same(taught: ArtifactStore, student: Node) -> None:
    """By the first forward passes in each mode and at another length, all compiled for a CPU."""
    found = []
    for compiled in (False, True):
        node = replace(student, version=100 + compiled)
        group = WorkerGroup(resources=LlmResources(compile_layers=compiled))
        list(train.run_train(node, taught, group))
        found.append(weights.read_model(taught, node).state_dict())
    assert found[0].keys() == found[1].keys()
    for name, plain in found[0].items():
        torch.testing.assert_close(plain, found[1][name], atol=2e-3, rtol=0)


def test_eos_is_learned(taught: ArtifactStore) -> None:
    node = student_node(TEACHER, p_prime_epochs=6.0)
    run(node, taught)
    model = weights.read_model(taught, node)
    heldout = read_shards(taught, node.parents["samples"], "heldout").filter(
        pa.compute.field("finished")
    )
    rows = [torch.tensor(row) for row in heldout["input_ids"].to_pylist()[:50]]
    with torch.no_grad():
        logits = [model(input_ids=row[None, :-1]).logits[0, -1] for row in rows]
    rate = torch.stack(logits).softmax(-1)[:, model.config.eos_token_id].mean()
    assert rate > 0.8


def test_p_star_is_trained_on_a_corpus_with_a_tokenizer_of_its_own(
    store: ArtifactStore, tmp_path: Path, sentences: list[str]
) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(sentences))
    optimiser = {k: v for k, v in student_node(TEACHER).config.items() if k in OPTIMISER}
    config = {
        **optimiser,
        "p_star": "nano-small",
        "corpus": corpus_identity(str(path)),
        "corpus_sentences": 1,
        "vocabulary_size": 160,
        "p_star_epochs": 0.5,
    }
    node = Node("pretrain", 0, config)
    run(node, store)
    found = facts(store, node)
    assert "teacher_entropy" not in found  # nobody knows it
    assert found["updates"] == round(0.5 * 950 / 16)
    assert found["heldout_loss"] < math.log(160) - 1


OPTIMISER = (
    "learning_rate", "batch_size", "warmup_share", "decay_share", "adam_beta1", "adam_beta2",
    "weight_decay", "packing",
)  # fmt: skip
