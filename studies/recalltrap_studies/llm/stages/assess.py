"""One model assessed once: its own samples under every scorer, and others' samples under it.

All metrics of a cell are computed from these files, whatever the cell's `kl_weight`, so a model
that several cells name is sampled and scored once.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from transformers import PreTrainedTokenizerBase

from recalltrap.errors import StageError
from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.data import prompts, responses
from recalltrap_studies.llm.data.corpus import GRAMMAR
from recalltrap_studies.llm.data.prompts import PromptSet
from recalltrap_studies.llm.data.responses import PromptRows
from recalltrap_studies.llm.data.sample_shards import read_shards
from recalltrap_studies.llm.data.truth import TruthRows
from recalltrap_studies.llm.grammar import sentences
from recalltrap_studies.llm.inference import response_batches
from recalltrap_studies.llm.inference.cost_meter import CostMeter
from recalltrap_studies.llm.inference.log_probs import score_responses
from recalltrap_studies.llm.inference.response_batches import Batch
from recalltrap_studies.llm.models import tokenizers, weights
from recalltrap_studies.llm.rewards.judges import read_reward, read_scorers
from recalltrap_studies.llm.rewards.oracle import SAMPLES_FILE, Oracle, mean_per_token
from recalltrap_studies.llm.rewards.protocol import Reward
from recalltrap_studies.llm.stage_settings import FEW_TEXTS, ORACLE, SCORER_PLACES, Texts
from recalltrap_studies.llm.stages.registry import TRUTH
from recalltrap_studies.llm.stages.truth import ROWS_FILE

OWN_FILE, TRUTH_FILE, TARGET_FILE = "own.parquet", "truth.parquet", "target.parquet"
PROMPTS_FILE = "prompts.parquet"
"""The held-out prompts, in the order of the column `prompt`; where they are a file's."""
REWARD_FILE = "reward.json"
"""What a reward says of itself; where it isn't the oracle's."""
TEXTS_FILE = "texts.parquet"
"""What a person can read of the own samples; where any is kept."""
FEW, LEAST_OF_A_PROMPT = 32, 2
"""Texts that are `few`: so many of a model, but of each prompt two."""
TEXT_BYTES = 4_000_000
"""Of prompts and responses that are kept of a model at most."""

Rows = dict[str, Any]


@dataclass(frozen=True)
class EvaluationInputs:
    """A model q, and the models, the prompts and the reward that it is evaluated with.

    `request` asks every prompt once; a batch takes its own of them.
    """

    model: torch.nn.Module
    p_star: torch.nn.Module
    reward: Reward
    scorers: Mapping[str, Reward]
    tokenizer: PreTrainedTokenizerBase
    asked: PromptSet
    request: responses.Request
    align_tokens: int
    topics: bool
    store_texts: Texts
    seed: int
    meter: CostMeter

    def own(self, batch: Batch) -> Rows:
        """Samples of q. Rewards see as many tokens of each as an alignment would."""
        prompt_B = self.asked.evenly(batch.stop - batch.start, batch.start)
        request = self.request.take(prompt_B)
        drawn = response_batches.draw(self.model, request, batch, self.seed, "assess/own")
        self.meter.forward(self.model, drawn.mask_BT.sum())
        tokens_BT, mask_BT = torch.from_numpy(drawn.tokens_BT), torch.from_numpy(drawn.mask_BT)
        star_BT = self._score(self.p_star, tokens_BT, mask_BT, request.prompts)
        judged = {
            place: self._judged(scorer, tokens_BT, mask_BT, request.prompts)
            for place, scorer in self.scorers.items()
        }
        answers = [r[kept] for r, kept in zip(drawn.tokens_BT, drawn.mask_BT, strict=True)]
        return {
            "length": drawn.mask_BT.sum(axis=1),
            "finished": drawn.finished_B,
            "log_q": drawn.log_probs_BT.sum(axis=1),
            "log_p_star": _sum(star_BT),
            **self.rewarded(tokens_BT, mask_BT, request.prompts),
            **judged,
            **self.read(answers, request.prompts),
            **self.texts(batch, answers, request.prompts),
        }

    def rewarded(self, tokens_BT: torch.Tensor, mask_BT: torch.Tensor, prompts: PromptRows) -> Rows:
        """The reward of q's samples; where it is the oracle's, the likelihoods behind it too."""
        if not isinstance(self.reward, Oracle):
            return {"reward": self._judged(self.reward, tokens_BT, mask_BT, prompts)}
        # p_target is asked once, for the whole response and for as much as is rewarded.
        target_BT = self._score(self.reward.model, tokens_BT, mask_BT, prompts)
        rewarded_BT = mask_BT[:, : self.align_tokens]
        nll_B = -mean_per_token(target_BT[:, : self.align_tokens], rewarded_BT)
        return {
            "log_p_target": _sum(target_BT),
            "reward": self.reward.reward(nll_B).double().numpy(),
            "nll": nll_B.double().numpy(),
        }

    def _judged(
        self, judge: Reward, tokens_BT: torch.Tensor, mask_BT: torch.Tensor, prompts: PromptRows
    ) -> npt.NDArray[np.float64]:
        """What a reward says of responses, of as many tokens as an alignment ever sees."""
        seen_BT, kept_BT = tokens_BT[:, : self.align_tokens], mask_BT[:, : self.align_tokens]
        if judge.model is not None:
            self.meter.forward(judge.model, int(kept_BT.sum()))
        return np.asarray(judge.judge(seen_BT, kept_BT, prompts).reward_B.double().numpy())

    def texts(
        self, batch: Batch, answers: Sequence[npt.NDArray[np.int64]], prompts: PromptRows
    ) -> Rows:
        """Prompt and response of those whose texts are kept, None of the others."""
        rounds = kept_rounds(self.store_texts, len(self.asked))
        kept = [row // len(self.asked) < rounds for row in range(batch.start, batch.stop)]

        def decoded(lists: Sequence[Any]) -> list[str | None]:
            wanted = [list(ids) for ids, keep in zip(lists, kept, strict=True) if keep]
            texts = iter(self.tokenizer.batch_decode(wanted, skip_special_tokens=True))
            return [str(next(texts)) if keep else None for keep in kept]

        asked = prompts.expanded(len(answers)).lists()
        return {"asked": decoded(asked), "text": decoded(answers)}

    def read(self, answers: Sequence[npt.NDArray[np.int64]], prompts: PromptRows) -> Rows:
        """What a reader sees in responses; nothing where p* doesn't speak the grammar."""
        if self.topics:
            return reading(self.tokenizer, prompts.expanded(len(answers)).lists(), answers)
        nothing = [None] * len(answers)
        return {"topic": nothing, "grammatical": nothing}

    def others(self, batch: list[npt.NDArray[np.int64]], prompts: PromptRows) -> Rows:
        """Others' responses under q: their lengths and log-likelihoods."""
        tokens_BT, mask_BT = responses.padded(batch)
        log_probs_BT = self._score(self.model, tokens_BT, mask_BT, prompts)
        return {"length": mask_BT.sum(dim=1).numpy(), "log_q": _sum(log_probs_BT)}

    def _score(
        self,
        scorer: torch.nn.Module,
        tokens_BT: torch.Tensor,
        mask_BT: torch.Tensor,
        prompts: PromptRows,
    ) -> torch.Tensor:
        log_probs_BT = score_responses(scorer, tokens_BT, mask_BT, prompts)
        self.meter.forward(scorer, int(mask_BT.sum()))
        return log_probs_BT


def reading(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[npt.NDArray[np.int64]],
) -> Rows:
    """What a reader of the grammar's language sees: each sequence's topic, and its grammar."""
    ids = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
    texts = [str(text) for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
    return {
        "topic": [sentences.topic_of(text) for text in texts],
        "grammatical": [sentences.is_grammatical(text) for text in texts],
    }


def kept_rounds(store_texts: Texts, prompts: int) -> float:
    """Of how many responses to each prompt the text is kept, the first of them."""
    if store_texts == FEW_TEXTS:
        return max(math.ceil(FEW / prompts), LEAST_OF_A_PROMPT)
    return 0 if store_texts == "none" else math.inf


def kept_texts(texts: pa.Table) -> pa.Table | None:
    """The texts with their places in the sample, as far as `TEXT_BYTES` go; None without any."""
    sample = pa.array(np.arange(texts.num_rows), pa.int64())
    wanted = texts.append_column("sample", sample).filter(pc.is_valid(texts["text"]))
    sizes = (pc.binary_length(wanted[name]) for name in TEXTS.names)
    spent = np.cumsum(np.sum([size.to_numpy() for size in sizes], axis=0))
    fitting = int(np.searchsorted(spent, TEXT_BYTES, side="right"))
    return wanted.slice(0, fitting) if fitting else None


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
        *((place, pa.float64()) for place in SCORER_PLACES),
        ("topic", pa.string()),
        ("grammatical", pa.bool_()),
    ]
)
"""Columns that nothing was measured for are left out: p_target's, where it is no oracle's study."""
TEXTS = pa.schema([("asked", pa.string()), ("text", pa.string())])
OTHERS_SCHEMA = pa.schema([("length", pa.int64()), ("log_q", pa.float64())])


def run_assess(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    """Sample and score the model of the node's first parent; `EvaluationInputs` has the columns.

    The parents are (model, sample set of p*, p*), and p_target and oracle where the reward is
    theirs. Log-likelihoods are sums over a response's tokens, in nats.

    Raises:
        StageError: a likelihood isn't finite, or a reward.
    """
    truth = node.parents["truth"]
    inputs = _inputs(node, store, group)
    count = int(node.config["evaluation_samples"])
    # Others' responses under q: p*'s, or a file's (recall); and p_target's.
    truths, truth_prompts, groups = _truths(inputs, store, truth, count)
    targets = _targets(node, store, inputs)
    total = count + len(truths) + (len(targets.answers) if targets else 0)
    tell = partial(_tell, node, group, total)
    own: list[tuple[int, tuple[pa.Table, pa.Table]]] = []
    for batch in response_batches.shares(count, group):
        rows = inputs.own(batch)
        texts = pa.table({name: rows[name] for name in TEXTS.names}, TEXTS)
        own.append((batch.index, (_checked(rows, OWN_SCHEMA), texts)))
        yield Progress(node.stage, batch.stop, total)
    measured, readable = zip(*response_batches.collect(own, group), strict=True)
    tables = {
        OWN_FILE: pa.concat_tables(measured),
        TRUTH_FILE: _others(inputs, truths, truth_prompts, group, partial(tell, count)),
    }
    if targets is not None:
        told = partial(tell, count + len(truths))
        tables[TARGET_FILE] = _scored_targets(inputs, targets, group, told)
    if groups is not None:
        tables[TRUTH_FILE] = tables[TRUTH_FILE].append_column(
            "group", pa.array(groups, pa.string())
        )
    if "prompts" in node.config:  # of a file, be it that only one of them is held out
        asked_of = (OWN_FILE, TRUTH_FILE) if groups is None else (OWN_FILE,)
        tables |= _with_prompts(inputs.asked, {name: tables[name] for name in asked_of})
    if kept := kept_texts(pa.concat_tables(readable)):
        tables[TEXTS_FILE] = kept
    files: dict[str, Any] = dict(tables)
    if ORACLE not in node.parents:  # whose node says it
        files[REWARD_FILE] = json.dumps({"supremum": inputs.reward.supremum}).encode()
    cost = inputs.meter.cost()
    if group.leads:
        store.put(node, files, cost)
    group.broadcast(None)
    reward = float(np.mean(tables[OWN_FILE]["reward"].to_numpy()))
    yield Progress(node.stage, total, total, {"reward": reward})


def _tell(node: Node, group: WorkerGroup, total: int, before: int, rows: int) -> None:
    group.report(Progress(node.stage, before + rows, total))


def _inputs(node: Node, store: ArtifactStore, group: WorkerGroup) -> EvaluationInputs:
    config, parents = node.config, node.parents
    model, p_star = parents["model"], parents["p_star"]
    tokenizer = tokenizers.read_tokenizer(store, model)
    asked = prompts.asked(config, tokenizer)
    return EvaluationInputs(
        meter=CostMeter(group),
        model=weights.read_model(store, model),
        p_star=weights.read_model(store, p_star),
        reward=read_reward(store, node, tokenizer),
        scorers=read_scorers(store, node, tokenizer),
        tokenizer=tokenizer,
        asked=asked,
        request=responses.request(tokenizer, asked.rows, int(config["sample_tokens"])),
        align_tokens=int(parents.get(ORACLE, node).config["align_tokens"]),
        topics=p_star.config.get("corpus") == GRAMMAR,
        store_texts=config.get("store_texts", FEW_TEXTS),
        seed=node.seed,
    )


def _others(
    inputs: EvaluationInputs,
    answers: list[npt.NDArray[np.int64]],
    prompts: PromptRows,
    group: WorkerGroup,
    tell: Callable[[int], None],
) -> pa.Table:
    """Others' responses under q, the batches shared by the workers; `tell` hears how many."""
    parts = []
    for batch in response_batches.shares(len(answers), group):
        theirs = prompts.take(torch.arange(batch.start, batch.stop))
        rows = inputs.others(answers[batch.start : batch.stop], theirs)
        parts.append((batch.index, _checked(rows, OTHERS_SCHEMA)))
        tell(batch.stop)
    return pa.concat_tables(response_batches.collect(parts, group))


def _truths(
    inputs: EvaluationInputs, store: ArtifactStore, node: Node, count: int
) -> tuple[list[npt.NDArray[np.int64]], PromptRows, list[str | None] | None]:
    """What overall recall is of, what each row of it is to, and of a file's rows the groups."""
    if node.stage == TRUTH.name:
        rows = TruthRows.of(store.read_table(node, ROWS_FILE))
        return rows.answers, rows.prompts, rows.groups
    samples = read_shards(store, node, "train").slice(0, count)
    prompt_tokens = samples["prompt_tokens"].to_numpy()
    drawn = zip(_lists(samples["input_ids"]), prompt_tokens, strict=True)
    answers = [ids[prompt:].astype(np.int64) for ids, prompt in drawn]
    return answers, inputs.request.prompts.take(inputs.asked.evenly(count)), None


@dataclass(frozen=True)
class Targets:
    """p_target's samples: as they stand, each as tokens, and what it is to."""

    table: pa.Table
    answers: list[npt.NDArray[np.int64]]
    asked: PromptRows


def _targets(node: Node, store: ArtifactStore, inputs: EvaluationInputs) -> Targets | None:
    """p_target's samples; none without an oracle."""
    if ORACLE not in node.parents:
        return None
    oracle = node.parents[ORACLE]
    targets = store.read_table(oracle, SAMPLES_FILE)
    answers = [row.astype(np.int64) for row in _lists(targets["tokens"])]
    return Targets(targets, answers, _prompts_of_target(inputs, oracle, targets))


def _scored_targets(
    inputs: EvaluationInputs, targets: Targets, group: WorkerGroup, tell: Callable[[int], None]
) -> pa.Table:
    """p_target's samples under q: the penalty of moving to it."""
    scored = _others(inputs, targets.answers, targets.asked, group, tell)
    return _with_target(scored, targets.table, inputs.read(targets.answers, targets.asked))


def _prompts_of_target(inputs: EvaluationInputs, oracle: Node, targets: pa.Table) -> PromptRows:
    """What p_target's samples are to: prompts that are learned from, as the reward is."""
    asked = prompts.asked(oracle.config, inputs.tokenizer)
    if len(asked) == 1:
        return asked.rows
    return asked.rows.take(torch.from_numpy(targets["prompt"].to_numpy().astype(np.int64)))


def _with_prompts(asked: PromptSet, tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """The tables of what is sampled from the held-out prompts with each row's, and their list."""
    found = {}
    for name, table in tables.items():
        prompt = pa.array(asked.evenly(table.num_rows).numpy(), pa.int32())
        found[name] = table.append_column("prompt", prompt)
    found[PROMPTS_FILE] = pa.table({"prompt_id": list(asked.ids), "weight": asked.weight_K})
    return found


def _with_target(table: pa.Table, targets: pa.Table, read: Rows) -> pa.Table:
    """p_target's own log-likelihoods of its samples, and their topics, beside q's."""
    sums = pa.array([float(row.astype(np.float64).sum()) for row in _lists(targets["log_probs"])])
    table = table.append_column("log_p_target", sums)
    return table.append_column("topic", pa.array(read["topic"], pa.string()))


def _lists(column: pa.ChunkedArray) -> list[npt.NDArray[Any]]:
    """The rows of a column of lists, as arrays."""
    values = column.combine_chunks()
    offsets = values.offsets.to_numpy()
    flat = values.values.to_numpy()
    return [flat[a:b] for a, b in itertools.pairwise(offsets)]


def _checked(rows: Rows, schema: pa.Schema) -> pa.Table:
    schema = pa.schema([field for field in schema if field.name in rows])
    table = pa.table({name: pa.array(rows[name]) for name in schema.names}).cast(schema)
    for name in ("log_q", "log_p_star", "log_p_target"):
        if name in schema.names and not np.isfinite(table[name].to_numpy()).all():
            raise StageError(
                "nan", f"{name} of a response isn't finite: a model's training diverged"
            )
    return table
