"""Tokens a second sampled, trained and scored, against plain transformers on the same model.

    python tests/benchmarks/llm.py [--sizes SIZE ...] [--turns 3] [--no-plain] [--no-stages]
        [--compile-layers] [--json FILE] [-o SETTING=VALUE]

Prints two Markdown tables. The first: each size, ours and the plain loop in turns in one run, the
best turn of each; the roofline, measured here: for sampling the bytes that must be read (weights
and the cache's used part, a step) over the rate of a copy, for training FLOPs over the rate of a
matrix product (MFU). The second: every stage of a small nano study, see `llm_stages.py`. Sizes are
nano's on a CPU, SmolLM2's 135M and 360M on a GPU; vLLM is measured where it is installed.
`--json` writes the ceilings and the first table's rates and shares to a file.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor
from transformers import PrinterCallback, TrainerCallback

from recalltrap.graph import Node
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.settings_parts import part_config
from recalltrap.streams import stream
from recalltrap_studies.llm.data.datasets import TrainingData
from recalltrap_studies.llm.data.responses import PromptRows, Request, Responses
from recalltrap_studies.llm.data.token_sequences import Sequences
from recalltrap_studies.llm.inference import (
    batch_sizes,
    log_probs,
    response_batches,
    sampling_engines,
)
from recalltrap_studies.llm.models import devices
from recalltrap_studies.llm.models import weights as models
from recalltrap_studies.llm.models.architectures import config_of
from recalltrap_studies.llm.models.tokenizers import train_tokenizer
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stage_settings import Sft
from recalltrap_studies.llm.stages import train as students
from recalltrap_studies.llm.training.held_out_loss import HeldoutPoints

EOS, PAD, FIRST = 0, 1, 2


@dataclass(frozen=True)
class Case:
    """A size with what it is measured on: sequences of `shortest` to `longest` tokens."""

    size: str
    shortest: int
    longest: int
    batch: int
    updates: int

    @property
    def request(self) -> Request:
        return Request(PromptRows.same([FIRST]), self.longest, 1.0, EOS, PAD)

    def data(self, vocabulary: int) -> TrainingData:
        """Random tokens with EOS: lengths are what the model learns, and all that matters here."""
        random = stream(0, "benchmark/lesson")
        lengths = random.integers(self.shortest, self.longest + 1, self.batch * self.updates)
        rows = [[FIRST, *random.integers(FIRST, vocabulary, int(n) - 2), EOS] for n in lengths]
        tokenizer = train_tokenizer(["The"], 64)  # eos is 0, pad is 1
        return TrainingData(Sequences.of_lists(rows), Sequences.of_lists(rows[:4]), None, tokenizer)


def case_of(size: str) -> Case:
    if size.startswith("nano"):
        return Case(size, 8, 24, batch=64, updates=200)
    return Case(size, 512, 512, batch=32, updates=25)


@dataclass(frozen=True)
class Machine:
    """Measured rates: bytes a second of a copy, FLOPs a second of a matrix product."""

    bandwidth: float
    matmul: float


def finish() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    finish()
    began = time.perf_counter()
    result = run()
    finish()
    return time.perf_counter() - began, result


def measure_machine() -> Machine:
    where = devices.device()
    gpu, dtype = where.type == "cuda", devices.dtype(where)
    source = torch.ones(1 << (30 if gpu else 26), dtype=torch.uint8, device=where)
    target = torch.empty_like(source)
    side = 8192 if gpu else 1024
    # Random numbers: a GPU multiplies equal ones faster, for they take less power.
    a = torch.randn(side, side, dtype=dtype, device=where)
    copy = min(timed(lambda: target.copy_(source))[0] for _ in range(10))
    product = min(timed(lambda: a @ a)[0] for _ in range(10))
    return Machine(2 * source.numel() / copy, 2 * side**3 / product)


class Clock(TrainerCallback):
    """The time between the end of a fifth of the updates and the last one's."""

    def __init__(self, updates: int) -> None:
        self.first, self.began, self.ended = updates // 5, 0.0, 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.first:
            finish()
            self.began = time.perf_counter()
        if state.global_step == state.max_steps:
            finish()
            self.ended = time.perf_counter()


def train_ours(case: Case, data: TrainingData, *, compiled: bool) -> tuple[float, Any]:
    """Tokens a second of a stage's trainer, without its held-out points, and the trained model."""
    config = part_config(LlmSettings(batch_size=case.batch, p_prime_epochs=1.0), Sft)
    node = Node("sft", 0, {**config, "learning_rate": 3e-3 if case.batch == 64 else 5e-4})
    resources = LlmResources(checkpoint_updates=0, compile_layers=compiled)
    group = WorkerGroup(resources=resources)
    model, schedule = (
        models.fresh_model(config_of(case.size), 0),
        students.make_schedule(node, data),
    )
    clock = Clock(schedule.updates)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = students.make_trainer(node, model, data, schedule, group, scratch)
        trainer.add_callback(clock)
        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(HeldoutPoints)
        trainer.train()
    tokens = schedule.tokens * (schedule.updates - clock.first) / schedule.updates
    where = devices.device()
    trained: Any = models.fresh_model(config_of(case.size), 0)  # whose layers aren't compiled
    trained.load_state_dict(model.state_dict())
    return tokens / (clock.ended - clock.began), trained.to(where, devices.dtype(where)).eval()


def train_plain(case: Case, data: TrainingData) -> float:
    """Tokens a second of a loop over transformers' own loss."""
    where = devices.device()
    model: Any = models.fresh_model(config_of(case.size), 0)
    model.to(where).train()
    adam = torch.optim.AdamW(model.parameters(), lr=5e-4, betas=(0.9, 0.95), weight_decay=0.0)
    first, tokens, began = case.updates // 5, 0, 0.0
    for update in range(case.updates):
        if update == first:
            finish()
            began = time.perf_counter()
        rows = np.arange(update * case.batch, (update + 1) * case.batch)
        batch = {k: v.to(where) for k, v in data.train.padded(rows, PAD).items()}
        with torch.autocast(where.type, torch.bfloat16, enabled=where.type == "cuda"):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad()
        tokens += int(batch["attention_mask"].sum()) if update >= first else 0
    finish()
    return tokens / (time.perf_counter() - began)


def sample_plain(model: Any, request: Request, rows: int) -> int:
    """Tokens of a plain `generate`."""
    prompt = request.prompts.ids_BP.to(model.device).expand(rows, -1)
    with torch.no_grad():
        drawn = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=True,
            top_k=0,
            top_p=1.0,
            temperature=1.0,
            max_new_tokens=request.max_new_tokens,
            eos_token_id=EOS,
            pad_token_id=PAD,
        )
    return int(lengths_of(drawn[:, request.prompts.width :]).sum())


def lengths_of(tokens_BT: Tensor) -> Tensor:
    """Lengths [B] up to and including the first EOS."""
    ended_BT = (tokens_BT == EOS).long()
    return ((ended_BT.cumsum(1) - ended_BT) == 0).sum(1)


def score_ours(model: Any, responses: Responses, request: Request) -> int:
    """Tokens scored as the oracle and the assessments score them."""
    log_probs.score_responses(model, responses.tokens_BT, responses.mask_BT, request.prompts)
    return int(responses.mask_BT.sum())


def score_plain(model: Any, responses: Responses) -> int:
    """Tokens scored in batches of 64, all logits at once."""
    for tokens_BT in responses.tokens_BT.split(64):  # type: ignore[no-untyped-call]
        first = torch.full((len(tokens_BT), 1), FIRST, device=tokens_BT.device)
        whole = torch.cat([first, tokens_BT], dim=1)
        with torch.no_grad():
            scores = model(input_ids=whole).logits[:, :-1].float().log_softmax(2)
            scores.gather(2, whole[:, 1:, None])
    return int(responses.mask_BT.sum())


def race(runs: dict[str, Callable[[], int]], turns: int) -> dict[str, float]:
    """Tokens a second of each run's best turn; each returns its tokens, and warms up once."""
    best: dict[str, float] = {}
    for turn in range(turns + 1):
        for name, run in runs.items():
            seconds, tokens = timed(run)
            best[name] = max(best.get(name, 0.0), tokens / seconds) if turn else 0.0
    return best


@dataclass(frozen=True)
class Rate:
    """A row of the first table: tokens a second by whom, and ours as a share of a ceiling."""

    what: str
    size: str
    batch: str
    rates: dict[str, float]
    ceiling: str
    """`MFU`, or `memory`."""
    share: float

    def line(self) -> list[str]:
        shown = [f"{self.rates[by]:,.0f}" if by in self.rates else "-" for by in RIVALS]
        plain = self.rates.get("plain")
        ratio = f"{self.rates['ours'] / plain:.2f}" if plain else "-"
        roofline = f"{self.ceiling} {self.share:.2f}"
        return [self.what, self.size, self.batch, *shown[:2], ratio, shown[2], roofline]


RIVALS = ("ours", "plain", "vllm")


def measure(
    case: Case, turns: int, machine: Machine, *, plain: bool, compiled: bool
) -> Iterator[Rate]:
    """Rows of the first table for one size; without `plain` ours alone."""
    data = case.data(config_of(case.size).vocab_size)
    train = {"ours": 0.0}
    for _ in range(turns):
        rate, model = train_ours(case, data, compiled=compiled)
        train["ours"] = max(train["ours"], rate)
        if plain:
            train["plain"] = max(train.get("plain", 0.0), train_plain(case, data))
    mfu = 3 * forward_flops(model, case.longest) * train["ours"] / machine.matmul
    yield Rate("train", case.size, f"{case.batch} x {case.longest}", train, "MFU", mfu)
    request = case.request
    rows = batch_sizes.rows_at_once(model.config, request, model.device, WorkerGroup())
    uniforms = response_batches.uniforms(0, "benchmark/sample", rows, request.max_new_tokens)
    drawn = sampling_engines.generate(model, request, uniforms)
    total = int(drawn.mask_BT.sum())
    runs: dict[str, Callable[[], int]] = {
        "ours": lambda: int(sampling_engines.generate(model, request, uniforms).mask_BT.sum()),
    }
    if plain:
        runs["plain"] = lambda: sample_plain(model, request, rows)
    sample = race(runs, turns)
    needed = sampling_bytes(model, drawn) / machine.bandwidth * sample["ours"] / total
    runs = {
        "ours": lambda: score_ours(model, drawn, request),
    }
    if plain:
        runs["plain"] = lambda: score_plain(model, drawn)
    score = race(runs, turns)
    mfu = forward_flops(model, case.longest) * score["ours"] / machine.matmul
    if importlib.util.find_spec("vllm"):
        sample |= sample_vllm(model, request, uniforms, turns)
    batch = f"{rows} x {request.max_new_tokens}"
    yield Rate("sample", case.size, batch, sample, "memory", needed)
    yield Rate("score", case.size, batch, score, "MFU", mfu)


def sample_vllm(model: Any, request: Request, uniforms: Tensor, turns: int) -> dict[str, float]:
    """vLLM's rate; the model goes to the CPU, for vLLM wants the device."""
    with sampling_engines.opened("vllm", model.to("cpu")) as draw:
        return race({"vllm": lambda: int(draw(request, uniforms).mask_BT.sum())}, turns)


def forward_flops(model: Any, length: int) -> float:
    """FLOPs per token: 2 a parameter, and attention over half the length on average."""
    positions = int(model.config.num_hidden_layers) * int(model.config.hidden_size) * length
    return 2.0 * (parameters_of(model) + positions)


def parameters_of(model: Any) -> int:
    return sum(int(p.numel()) for p in model.parameters())


def sampling_bytes(model: Any, drawn: Responses) -> float:
    """What has to be read: the weights at every step, and each row's cache at each of its steps."""
    config, width = model.config, torch.finfo(model.dtype).bits // 8
    head = config.hidden_size // config.num_attention_heads
    position = 2 * config.num_hidden_layers * config.num_key_value_heads * head * width
    lengths_B = drawn.mask_BT.sum(1).double()
    weights = width * parameters_of(model) * int(lengths_B.max())
    return float(weights + position * (lengths_B * (lengths_B + 1) / 2).sum())


HEADER = ("what", "model", "batch", "ours tok/s", "plain tok/s", "ratio", "vLLM", "roofline")


def show(rates: Iterator[Rate]) -> list[Rate]:
    """A Markdown table, row by row; returns its rows."""
    print("|", " | ".join(HEADER), "|")
    print("|", " | ".join("---" for _ in HEADER), "|")
    shown = []
    for rate in rates:
        print("|", " | ".join(rate.line()), "|", flush=True)
        shown.append(rate)
    return shown


def main() -> None:
    gpu = torch.cuda.is_available()
    sizes = ["smollm2-135m", "smollm2-360m"] if gpu else ["nano-large", "nano-medium", "nano-small"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", default=sizes)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--no-plain", action="store_true", help="ours alone, which is faster")
    parser.add_argument("--no-stages", action="store_true")
    parser.add_argument("--compile-layers", action="store_true", help="train with compiled layers")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("-o", dest="changes", action="append", default=[], metavar="SETTING=VALUE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    machine, where = measure_machine(), devices.device()
    name = torch.cuda.get_device_name(where) if gpu else "one CPU core"
    print(f"{name}: copy {machine.bandwidth / 1e9:,.0f} GB/s, ", end="")
    print(f"matrix product {machine.matmul / 1e12:,.2f} TFLOP/s\n")
    cases = (case_of(size) for size in args.sizes)
    rates = show(
        rate
        for case in cases
        for rate in measure(
            case, args.turns, machine, plain=not args.no_plain, compiled=args.compile_layers
        )
    )
    if args.json:
        found = {"device": name, "machine": asdict(machine), "rates": [asdict(r) for r in rates]}
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    if not args.no_stages:
        print(flush=True)
        changes = [word for change in args.changes for word in ("-o", change)]
        script = str(Path(__file__).with_name("llm_stages.py"))
        subprocess.run([sys.executable, script, *changes], check=True)


if __name__ == "__main__":
    main()
