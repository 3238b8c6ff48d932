"""What preference distillations learn from: of two responses the better and the worse one.

Two responses of the model that the teacher was aligned from are a pair, and the reward says which
is better, as in an offline alignment; or a file's rows are pairs. Legend: P pairs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from recalltrap.errors import StageError
from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.alignment.dpo import flipped_labels
from recalltrap_studies.llm.data import preferences
from recalltrap_studies.llm.data.responses import PromptRows, padded
from recalltrap_studies.llm.data.sample_shards import map_sequences
from recalltrap_studies.llm.data.token_sequences import Array, Sequences
from recalltrap_studies.llm.inference.response_batches import collect, shares
from recalltrap_studies.llm.models import devices
from recalltrap_studies.llm.rewards.judges import read_reward
from recalltrap_studies.llm.rewards.noise import reward_noise
from recalltrap_studies.llm.rewards.protocol import Reward


def labelled_pairs(
    node: Node,
    store: ArtifactStore,
    tokenizer: PreTrainedTokenizerBase,
    scratch: Path,
    vocabulary: int,
    context: int,
    group: WorkerGroup,
) -> tuple[Sequences, Sequences, float]:
    """The better and the worse sequence of every pair, P rows each, and the operations that their
    labels took; every worker calls it.

    Raises:
        InputError: a file's rows can't be learned from.
        StageError: the reward gives no finite numbers, or no two responses differ.
    """
    if "pairs" not in node.parents:
        return *_of_file(preferences.learned_from(node.config, tokenizer, context)), 0.0
    drawn = map_sequences(store.open(node.parents["pairs"]), "train", scratch, vocabulary, group)
    reward = read_reward(store, node, tokenizer)
    preference_N = judged(drawn, reward, group)
    deviation = float(node.config.get("reward_noise", 0.0))
    added_N = reward_noise(node.seed, "distill/preferences", len(drawn), deviation)
    if added_N is not None:
        preference_N = preference_N + added_N.numpy()
    pair_P2 = pairs_to_one_prompt(drawn)
    pair_P2 = pair_P2[[not _equal(drawn, pair) for pair in pair_P2]]
    if not len(pair_P2):
        raise StageError(
            "user_code",
            "no two responses to one prompt differ, so that none is the better one: raise "
            "settings.training_samples",
        )
    noise = float(node.config["preference_noise"])
    flipped_P = flipped_labels(node.seed, "distill/preferences", len(pair_P2), noise).numpy()
    # The first wins where both are equal, as in an alignment.
    first_wins_P = (preference_N[pair_P2[:, 0]] >= preference_N[pair_P2[:, 1]]) != flipped_P
    better_P = np.where(first_wins_P, pair_P2[:, 0], pair_P2[:, 1])
    worse_P = np.where(first_wins_P, pair_P2[:, 1], pair_P2[:, 0])
    judge = reward.model
    parameters = 0 if judge is None else sum(p.numel() for p in judge.parameters())
    flops = 2.0 * parameters * int(drawn.lengths.sum())
    return drawn.take(better_P), drawn.take(worse_P), flops


def pairs_to_one_prompt(drawn: Sequences) -> Array:
    """Rows [P, 2] whose prompts are the same, each row once; one that is left over is in none."""
    waiting: dict[bytes, int] = {}
    found: list[tuple[int, int]] = []
    for row in range(len(drawn)):
        prompt = drawn.row(row)[: int(drawn.prompts[row])].tobytes()
        if prompt in waiting:
            found.append((waiting.pop(prompt), row))
        else:
            waiting[prompt] = row
    return np.array(found, np.int64).reshape(-1, 2)


def judged(drawn: Sequences, reward: Reward, group: WorkerGroup) -> np.ndarray:
    """By which each response is preferred [N]; the workers share them."""
    where = devices.device()
    scored = []
    for batch in shares(len(drawn), group):
        rows = [drawn.row(row).astype(np.int64) for row in range(batch.start, batch.stop)]
        before = [int(n) for n in drawn.prompts[batch.start : batch.stop]]
        asked = PromptRows.of([row[:n].tolist() for row, n in zip(rows, before, strict=True)])
        tokens_BT, mask_BT = padded([row[n:] for row, n in zip(rows, before, strict=True)])
        found = reward.judge(tokens_BT.to(where), mask_BT.to(where), asked)
        scored.append((batch.index, found.preference_B.float().cpu()))
        group.report(Progress("labelling pairs", batch.stop, len(drawn)))
    return torch.cat(collect(scored, group)).numpy()


def _equal(drawn: Sequences, pair: Array) -> bool:
    first, second = (drawn.row(int(row)) for row in pair)
    return np.array_equal(first, second)


def _of_file(found: preferences.PreferencePairs) -> tuple[Sequences, Sequences]:
    prompts = found.prompts.lists()
    asked = [prompts[index] for index in found.prompt_P.tolist()]
    sides = []
    for side in (0, 1):
        answers = zip(found.tokens_P2T[:, side], found.mask_P2T[:, side], strict=True)
        rows = [tokens_T[mask_T].tolist() for tokens_T, mask_T in answers]
        whole = [prompt + answer for prompt, answer in zip(asked, rows, strict=True)]
        sides.append(Sequences.of_lists(whole, [len(prompt) for prompt in asked]))
    return sides[0], sides[1]
