"""Tokens a second sampled, scored and trained with a real model, against plain transformers.

    make real-model
    python -m tests.benchmarks.real_model models/smollm2-135m-instruct [--rows 64] [--tokens 24]

Responses to our own prompts (`prompts: openings`), left-padded as they are in a study; ours and the
plain loop in turns in one run, the best turn of each. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PrinterCallback

from recalltrap.graph import Node
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.settings_parts import part_config
from recalltrap_studies.llm.data import prompts, responses
from recalltrap_studies.llm.data.datasets import TrainingData
from recalltrap_studies.llm.data.prompt_files import OPENINGS
from recalltrap_studies.llm.data.responses import Request, Responses
from recalltrap_studies.llm.data.token_sequences import Sequences
from recalltrap_studies.llm.inference import log_probs, response_batches, sampling_engines
from recalltrap_studies.llm.models.tokenizers import load_tokenizer
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stage_settings import Sft
from recalltrap_studies.llm.stages import train as students
from tests.benchmarks.llm import Clock, finish, race, timed

BATCH, UPDATES = 16, 5


def whole(drawn: Responses, request: Request) -> tuple[Tensor, Tensor, Tensor]:
    """Prompts and responses in one, their mask and their positions: [B, P + T] each."""
    ids_BP, mask_BP = request.prompts.ids_BP, request.prompts.mask_BP
    mask_BL = torch.cat([mask_BP, drawn.mask_BT.cpu()], dim=1).long()
    return torch.cat([ids_BP, drawn.tokens_BT.cpu()], dim=1), mask_BL, places(mask_BL)


def places(mask_BL: Tensor) -> Tensor:
    return (mask_BL.cumsum(1) - 1).clamp(min=0)


def sample_plain(model: Any, request: Request) -> int:
    ids_BP, mask_BP = request.prompts.ids_BP, request.prompts.mask_BP.long()
    with torch.no_grad():
        drawn = model.generate(
            ids_BP,
            attention_mask=mask_BP,
            do_sample=True,
            top_k=0,
            top_p=1.0,
            temperature=1.0,
            max_new_tokens=request.max_new_tokens,
            pad_token_id=request.pad_id,
        )
    answers_BT = drawn[:, ids_BP.shape[1] :]
    ended_BT = (answers_BT == request.eos_id).long()
    return int(((ended_BT.cumsum(1) - ended_BT) == 0).sum())


def score_plain(model: Any, drawn: Responses, request: Request) -> int:
    ids_BL, mask_BL, places_BL = whole(drawn, request)
    start = request.prompts.width
    with torch.no_grad():
        logits = model(input_ids=ids_BL, attention_mask=mask_BL, position_ids=places_BL).logits
        logits[:, start - 1 : -1].log_softmax(2).gather(2, ids_BL[:, start:, None])
    return int(drawn.mask_BT.sum())


def lesson(drawn: Responses, request: Request, tokenizer: Any) -> TrainingData:
    """As many rows as the updates take, from responses with their prompts."""
    lists = [
        [*prompt, *answer[kept].tolist()]
        for prompt, answer, kept in zip(
            request.prompts.lists(), drawn.tokens_BT.cpu(), drawn.mask_BT.cpu(), strict=True
        )
    ]
    rows = [lists[i % len(lists)] for i in range(BATCH * UPDATES)]
    return TrainingData(Sequences.of_lists(rows), Sequences.of_lists(rows[:2]), None, tokenizer)


def train_ours(folder: str, data: TrainingData) -> float:
    """Tokens a second of a stage's trainer."""
    config = part_config(LlmSettings(batch_size=BATCH, p_prime_epochs=1.0), Sft)
    node = Node("sft", 0, {**config, "learning_rate": 1e-5})
    schedule, clock = students.make_schedule(node, data), Clock(UPDATES)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as scratch:
        group = WorkerGroup(resources=LlmResources(checkpoint_updates=0))
        trainer = students.make_trainer(node, model, data, schedule, group, scratch)
        trainer.add_callback(clock)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    tokens = schedule.tokens * (1 - clock.first / UPDATES)
    return float(tokens / (clock.ended - clock.began))


def train_plain(folder: str, data: TrainingData, pad: int) -> float:
    """Tokens a second of a loop over transformers' own loss."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    adam = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def update(number: int) -> int:
        batch = data.train.padded(np.arange(number * BATCH, (number + 1) * BATCH), pad)
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad()
        return int(batch["attention_mask"].sum())

    update(0)
    seconds, tokens = timed(lambda: sum(update(number) for number in range(1, UPDATES)))
    finish()
    return float(tokens) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--turns", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = load_tokenizer(args.folder, "p_prime", local_only=True)
    model: Any = AutoModelForCausalLM.from_pretrained(args.folder, dtype=torch.float32)
    model.eval()
    config = {"prompts": OPENINGS, "prompt_holdout": 0.0}
    rows = prompts.asked(config, tokenizer).rows.take(torch.arange(args.rows) % 200)
    request = responses.request(tokenizer, rows, args.tokens, 1.0)
    uniforms = response_batches.uniforms(0, "benchmark", args.rows, args.tokens)
    drawn = sampling_engines.generate(model, request, uniforms)

    def sample_ours() -> int:
        return int(sampling_engines.generate(model, request, uniforms).mask_BT.sum())

    def score_ours() -> int:
        log_probs.score_responses(model, drawn.tokens_BT, drawn.mask_BT, request.prompts)
        return int(drawn.mask_BT.sum())

    print("| what | ours, tok/s | plain transformers, tok/s | ratio |\n| --- | --- | --- | --- |")

    def show(what: str, rates: dict[str, float]) -> None:
        ratio = rates["ours"] / rates["plain"]
        print(f"| {what} | {rates['ours']:.0f} | {rates['plain']:.0f} | {ratio:.2f} |", flush=True)

    plain = {"plain": lambda: sample_plain(model, request)}
    show("sample", race({"ours": sample_ours, **plain}, args.turns))
    plain = {"plain": lambda: score_plain(model, drawn, request)}
    show("score", race({"ours": score_ours, **plain}, args.turns))
    data, best = lesson(drawn, request, tokenizer), {"ours": 0.0, "plain": 0.0}
    pad = int(tokenizer.pad_token_id)
    for _ in range(args.turns):
        best["ours"] = max(best["ours"], train_ours(args.folder, data))
        best["plain"] = max(best["plain"], train_plain(args.folder, data, pad))
    show("train", best)


if __name__ == "__main__":
    main()
