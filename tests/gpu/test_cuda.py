"""What CUDA must compute as the CPU does: to the last bit, or to a stated tolerance."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from recalltrap.graph import Cell, ancestry
from recalltrap.orderings import Ordering
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap.streams import key
from recalltrap_studies.llm.alignment.policy import Policy
from recalltrap_studies.llm.alignment.rollouts import RolloutContext, roll_out
from recalltrap_studies.llm.data.responses import PromptRows, Request
from recalltrap_studies.llm.inference import captured_steps, response_batches, sampling_engines
from recalltrap_studies.llm.models import weights
from recalltrap_studies.llm.models.architectures import config_of
from recalltrap_studies.llm.rewards.protocol import Judgement
from recalltrap_studies.mog.kind import KIND
from recalltrap_studies.mog.models import MODEL_FILE, unpack
from recalltrap_studies.mog.program.compilation import noise_function
from recalltrap_studies.mog.program.noise import PLANES
from recalltrap_studies.mog.settings import MogSettings
from tests.studies.llm.scoring import response_sums

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(120),  # the first program of a process is compiled
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]
DEVICE, CPU = torch.device("cuda"), torch.device("cpu")
TOKENS, ROWS = 20, 64
REQUEST = Request(PromptRows.same([2, 3]), TOKENS, 1.0, 0, 1)


@pytest.fixture
def model() -> PreTrainedModel:
    """An untrained nano model on the CPU, far enough from uniform to make a difference."""
    config = config_of("nano-small")
    config.initializer_range = 0.2
    fresh = weights.fresh_model(config, 0)
    fresh.train(False)
    return fresh


def on(device: torch.device, model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """A copy of the model on a device."""
    moved = copy.deepcopy(model)
    torch.nn.Module.to(moved, device=device, dtype=dtype)
    return moved


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_the_mixtures_uniforms_are_the_cpus_to_the_last_bit(compiled: bool) -> None:
    """Threefry is integer arithmetic; the normals go through log and cos, which may round apart."""
    words = np.stack([key(seed, "align/sampling") for seed in range(20)]).view(np.int32)
    drawn = []
    for device, turned in ((CPU, False), (DEVICE, compiled)):
        draw = noise_function(3, 64, PLANES, device, compiled=turned)
        start = torch.tensor(40, dtype=torch.int32, device=device)
        drawn.append(draw(torch.tensor(words, device=device), start).cpu())
    cpu, cuda = drawn
    assert torch.equal(cpu[:, 2:], cuda[:, 2:])
    torch.testing.assert_close(cpu[:, :2], cuda[:, :2], atol=1e-5, rtol=1e-5)


def test_the_same_logits_and_uniforms_draw_the_same_tokens() -> None:
    """A uniform would have to fall within rounding, 1e-7 of the whole, to draw another one."""
    random = torch.Generator().manual_seed(0)
    logits_BV = 4.0 * torch.randn(512, 49_152, generator=random)
    uniforms_B = torch.rand(512, dtype=torch.float64, generator=random)
    tokens_B, log_probs_B = sampling_engines.inverse_cdf(logits_BV, uniforms_B)
    there_B, theirs_B = sampling_engines.inverse_cdf(logits_BV.to(DEVICE), uniforms_B.to(DEVICE))
    assert int((tokens_B != there_B.cpu()).sum()) <= 1
    same_B = tokens_B == there_B.cpu()
    torch.testing.assert_close(log_probs_B[same_B], theirs_B.cpu()[same_B], atol=1e-5, rtol=0)


def test_the_compiled_mixture_program_is_the_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All stages of A-K, 20 updates each, compiled on the device and eager on the CPU."""
    settings = MogSettings(sft_iterations=20, distill_iterations=20, iterations=20)
    cell = KIND.cell(Ordering.model_validate("A-K"), settings, 0)
    found = []
    for device, compiled in (("cpu", "0"), (DEVICE.type, "1")):
        monkeypatch.setenv("RECALLTRAP_DEVICE", device)
        monkeypatch.setenv("RECALLTRAP_COMPILE", compiled)
        found.append(built(cell, ArtifactStore(Storage(str(tmp_path / device)))))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def built(cell: Cell, store: ArtifactStore) -> list[np.ndarray]:
    """The parameters of every model of a cell, built one stage after the other."""
    arrays = []
    for node in ancestry(list(cell.outputs)):
        failures = [lost for step in KIND.build([node], store) for lost in step.failures]
        assert not failures
        model, _ = unpack(store.read(node, MODEL_FILE))
        arrays += [model.logits, model.means, model.cholesky]
    return arrays


def test_scores_in_float32_are_the_cpus(model: PreTrainedModel) -> None:
    drawn = sampling_engines.generate(
        model, REQUEST, response_batches.uniforms(0, "gpu/score", ROWS, TOKENS)
    )
    here, count = response_sums(model, drawn, REQUEST.prompts.lists()[0])
    moved = on(DEVICE, model, torch.float32)
    there, _ = response_sums(moved, drawn, REQUEST.prompts.lists()[0])
    torch.testing.assert_close(here / count, there / count, atol=1e-3, rtol=0)


@pytest.mark.parametrize("cache", ["dynamic", "fixed"])
def test_what_is_drawn_has_the_scorers_log_probabilities(
    model: PreTrainedModel,
    cache: sampling_engines.Cache,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In bfloat16, as studies draw; the fixed cache's steps are captured in three windows."""
    monkeypatch.setattr(captured_steps, "WINDOW", 8)
    moved = on(DEVICE, model, torch.bfloat16)
    uniforms = response_batches.uniforms(1, "gpu/draw", ROWS, TOKENS)
    drawn = sampling_engines.generate(moved, REQUEST, uniforms, cache=cache)
    assert "captured" not in caplog.text  # each window's capture succeeds
    scored, count = response_sums(moved, drawn, REQUEST.prompts.lists()[0])
    own = drawn.log_probs_BT.double().sum(1).cpu()
    assert float((own / count - scored / count).abs().mean()) < 0.03
    assert abs(float((own - scored).sum() / count.sum())) < 0.01


def test_a_cpu_draws_nearly_the_same_responses(model: PreTrainedModel) -> None:
    """Float32 on both, the same uniforms: a row differs only where rounding moves an edge."""
    uniforms = response_batches.uniforms(2, "gpu/same", 256, TOKENS)
    here = sampling_engines.generate(model, REQUEST, uniforms)
    there = sampling_engines.generate(
        on(DEVICE, model, torch.float32), REQUEST, uniforms, cache="dynamic"
    )
    same = (here.tokens_BT == there.tokens_BT.cpu()).all(dim=1).float().mean()
    assert float(same) > 0.98


class Judge:
    """Likes short responses."""

    name = "short"
    supremum = -1.0
    model = None

    def judge(self, tokens_BT: Tensor, mask_BT: Tensor, prompts: PromptRows) -> Judgement:
        reward_B = -mask_BT.sum(dim=1).float()
        return Judgement(reward_B, reward_B)


def test_a_rollout_of_a_policy_in_training(model: PreTrainedModel) -> None:
    """Float32 weights under autocast, as PPO draws: it runs, and its ratios begin at 1."""
    policy = Policy(on(DEVICE, model, torch.float32), REQUEST.prompts, True).to(DEVICE)
    context = RolloutContext(on(DEVICE, model, torch.bfloat16), Judge(), REQUEST)
    with torch.autocast(DEVICE.type, torch.bfloat16):
        rollout = roll_out(policy, context, size=ROWS, index=0, seed=0, group=WorkerGroup())
        again_BT, _ = policy(rollout.tokens_NT[:8])
    mask_BT = rollout.mask_NT[:8]
    ratio = (again_BT - rollout.log_probs_NT[:8])[mask_BT].exp()
    torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=0.05, rtol=0)
    assert abs(rollout.measures()["kl"]) < 1.0  # policy and reference have the same weights
