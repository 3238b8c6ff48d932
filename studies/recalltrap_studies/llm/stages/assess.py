"""One model assessed once: its own samples under every scorer, and others' samples under it.

All metrics of a cell are computed from these files, whatever the cell's `kl_weight`, so a model
that several cells name is sampled and scored once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from transformers import PreTrainedTokenizerBase

from recalltrap.errors import StageError
from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.data import responses
from recalltrap_studies.llm.data.corpus import GRAMMAR
from recalltrap_studies.llm.data.sample_shards import read_shards
from recalltrap_studies.llm.grammar import sentences
from recalltrap_studies.llm.inference import response_batches
from recalltrap_studies.llm.inference.cost_meter import CostMeter
from recalltrap_studies.llm.inference.log_probs import score_responses
from recalltrap_studies.llm.inference.response_batches import Batch
from recalltrap_studies.llm.models import tokenizers, weights
from recalltrap_studies.llm.rewards.oracle import (
    SAMPLES_FILE,
    Oracle,
    mean_per_token,
    read_oracle,
)

OWN_FILE, TRUTH_FILE, TARGET_FILE = "own.parquet", "truth.parquet", "target.parquet"

Rows = dict[str, Any]


@dataclass(frozen=True)
class EvaluationInputs:
    """A model q, and the models, the prompt and the reward that it is evaluated with."""

    model: torch.nn.Module
    p_star: torch.nn.Module
    oracle: Oracle
    tokenizer: PreTrainedTokenizerBase
    request: responses.Request
    align_tokens: int
    topics: bool
    seed: int
    meter: CostMeter

    def own(self, batch: Batch) -> Rows:
        """Samples of q. The reward sees as many tokens of each as an alignment would."""
        drawn = response_batches.draw(self.model, self.request, batch, self.seed, "assess/own")
        self.meter.forward(self.model, drawn.mask_BT.sum())
        tokens_BT, mask_BT = torch.from_numpy(drawn.tokens_BT), torch.from_numpy(drawn.mask_BT)
        star_BT = self._score(self.p_star, tokens_BT, mask_BT)
        target_BT = self._score(self.oracle.model, tokens_BT, mask_BT)
        # An alignment never sees more of a response than this.
        rewarded_BT = mask_BT[:, : self.align_tokens]
        nll_B = -mean_per_token(target_BT[:, : self.align_tokens], rewarded_BT)
        return {
            "length": drawn.mask_BT.sum(axis=1),
            "finished": drawn.finished_B,
            "log_q": drawn.log_probs_BT.sum(axis=1),
            "log_p_star": _sum(star_BT),
            "log_p_target": _sum(target_BT),
            "reward": self.oracle.reward(nll_B).double().numpy(),
            "nll": nll_B.double().numpy(),
            **self.read([r[kept] for r, kept in zip(drawn.tokens_BT, drawn.mask_BT, strict=True)]),
        }

    def read(self, responses: Sequence[npt.NDArray[np.int64]]) -> Rows:
        """What a reader sees in responses; nothing where p* doesn't speak the grammar."""
        if self.topics:
            return reading(self.tokenizer, self.request.prompt_ids, responses)
        nothing = [None] * len(responses)
        return {"topic": nothing, "grammatical": nothing}

    def others(self, batch: list[npt.NDArray[np.int64]]) -> Rows:
        """Others' responses under q: their lengths and log-likelihoods."""
        tokens_BT, mask_BT = responses.padded(batch)
        log_probs_BT = self._score(self.model, tokens_BT, mask_BT)
        return {"length": mask_BT.sum(dim=1).numpy(), "log_q": _sum(log_probs_BT)}

    def _score(
        self, scorer: torch.nn.Module, tokens_BT: torch.Tensor, mask_BT: torch.Tensor
    ) -> torch.Tensor:
        log_probs_BT = score_responses(scorer, tokens_BT, mask_BT, self.request.prompt_ids)
        self.meter.forward(scorer, int(mask_BT.sum()))
        return log_probs_BT


def reading(
    tokenizer: PreTrainedTokenizerBase,
    prompt_ids: Sequence[int],
    responses: Sequence[npt.NDArray[np.int64]],
) -> Rows:
    """What a reader of the grammar's language sees: each response's topic, and its grammar."""
    ids = [[*prompt_ids, *response] for response in responses]
    texts = [str(text) for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
    return {
        "topic": [sentences.topic_of(text) for text in texts],
        "grammatical": [sentences.is_grammatical(text) for text in texts],
    }


def _sum(log_probs_BT: torch.Tensor) -> npt.NDArray[np.float64]:
    return np.asarray(log_probs_BT.double().sum(dim=1).numpy())


OWN_SCHEMA = pa.schema(
    [
        ("length", pa.int64()),
        ("finished", pa.bool_()),
        ("log_q", pa.float64()),
        ("log_p_star", pa.float64()),
        ("log_p_target", pa.float64()),
        ("reward", pa.float64()),
        ("nll", pa.float64()),
        ("topic", pa.string()),
        ("grammatical", pa.bool_()),
    ]
)
OTHERS_SCHEMA = pa.schema([("length", pa.int64()), ("log_q", pa.float64())])


def run_assess(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    """Sample and score the model of the node's first parent; `EvaluationInputs` has the columns.

    The parents are (model, sample set of p*, p*, p_target, oracle). Log-likelihoods are sums over
    a response's tokens, in nats.

    Raises:
        StageError: of the class `nan`, where a likelihood isn't finite.
    """
    truth, oracle_node = node.parents["truth"], node.parents["oracle"]
    inputs = _inputs(node, store, group)
    count = int(node.config["evaluation_samples"])
    own: list[tuple[int, pa.Table]] = []
    for batch in response_batches.shares(count, group):
        own.append((batch.index, _checked(inputs.own(batch), OWN_SCHEMA)))
        yield Progress(node.stage, batch.stop, 2 * count)
    # Others' responses under q: p*'s (recall), and p_target's (the penalty of moving to it).
    prompt = len(inputs.request.prompt_ids)
    truths = _responses(read_shards(store, truth, "train"), prompt)
    targets = store.read_table(oracle_node, SAMPLES_FILE)
    answers = [row.astype(np.int64) for row in _lists(targets["tokens"])]
    tables = {
        OWN_FILE: pa.concat_tables(response_batches.collect(own, group)),
        TRUTH_FILE: _others(inputs, truths[:count], group),
        TARGET_FILE: _with_target(_others(inputs, answers, group), targets, inputs.read(answers)),
    }
    cost = inputs.meter.cost()
    if group.leads:
        store.put(node, tables, cost)
    group.broadcast(None)
    reward = float(np.mean(tables[OWN_FILE]["reward"].to_numpy()))
    yield Progress(node.stage, 2 * count, 2 * count, {"reward": reward})


def _inputs(node: Node, store: ArtifactStore, group: WorkerGroup) -> EvaluationInputs:
    config, parents = node.config, node.parents
    model, p_star, oracle_node = parents["model"], parents["p_star"], parents["oracle"]
    tokenizer = tokenizers.read_tokenizer(store, model)
    return EvaluationInputs(
        meter=CostMeter(group),
        model=weights.read_model(store, model),
        p_star=weights.read_model(store, p_star),
        oracle=read_oracle(store, oracle_node, parents["p_target"]),
        tokenizer=tokenizer,
        request=responses.request(tokenizer, config["prompt"], int(config["sample_tokens"])),
        align_tokens=int(oracle_node.config["align_tokens"]),
        topics=p_star.config.get("corpus") == GRAMMAR,
        seed=node.seed,
    )


def _others(
    inputs: EvaluationInputs, responses: list[npt.NDArray[np.int64]], group: WorkerGroup
) -> pa.Table:
    """Others' responses under q, the batches shared by the workers."""
    parts = [
        (batch.index, _checked(inputs.others(responses[batch.start : batch.stop]), OTHERS_SCHEMA))
        for batch in response_batches.shares(len(responses), group)
    ]
    return pa.concat_tables(response_batches.collect(parts, group))


def _with_target(table: pa.Table, targets: pa.Table, read: Rows) -> pa.Table:
    """p_target's own log-likelihoods of its samples, and their topics, beside q's."""
    sums = pa.array([float(row.astype(np.float64).sum()) for row in _lists(targets["log_probs"])])
    table = table.append_column("log_p_target", sums)
    return table.append_column("topic", pa.array(read["topic"], pa.string()))


def _responses(samples: pa.Table, prompt: int) -> list[npt.NDArray[np.int64]]:
    """The responses of a sample set, without their prompt."""
    return [row[prompt:].astype(np.int64) for row in _lists(samples["input_ids"])]


def _lists(column: pa.ChunkedArray) -> list[npt.NDArray[Any]]:
    """The rows of a column of lists, as arrays."""
    values = column.combine_chunks()
    offsets = values.offsets.to_numpy()
    flat = values.values.to_numpy()
    return [flat[a:b] for a, b in itertools.pairwise(offsets)]


def _checked(rows: Rows, schema: pa.Schema) -> pa.Table:
    table = pa.table({name: pa.array(rows[name]) for name in schema.names}).cast(schema)
    for name in ("log_q", "log_p_star", "log_p_target"):
        if name in schema.names and not np.isfinite(table[name].to_numpy()).all():
            raise StageError(
                "nan", f"{name} of a response isn't finite: a model's training diverged"
            )
    return table
