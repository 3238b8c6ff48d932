"""Trial-updates a second of the mixture program's inner loop, against three other ways to write it.

    python tests/benchmarks/mog_throughput.py [--jax-python PYTHON] [--rows 20 280] [--cores 1 2]
    python tests/benchmarks/mog_throughput.py --device cuda --rows 20 2560 --cores 1 --one-block

PPO, 256 samples and 6 components. `update`: loss, gradient and Adam on given samples. `iteration`:
random numbers, sampling, the reference's log-probabilities, reward and update. The variants are
(a) a plain torch loop, one cell at a time, with autograd and `torch.optim.Adam`, (b) the batched
program in eager mode, (c) JAX `jit(vmap)` with autograd, if an interpreter that has jax is named,
(d) the program as it runs, compiled. All are measured in turns in one run; the best turn counts.
(b) and (d) run on `--device`, the plain loop on one core of the CPU. `--one-block` puts all rows
into one block, where the studies cut them into blocks of 20: a GPU wants more.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

BATCH, COMPONENTS = 256, 6
TURN_SECONDS = 0.4
OURS = ("eager", "compiled")
Run = Callable[[], object]


def best_rate(run: Run, updates: int) -> float:
    """Updates a second in one turn; `run` does `updates` of them."""
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < TURN_SECONDS:
        run()
        done += updates
    return done / (time.perf_counter() - began)


def plain_loop() -> dict[str, tuple[Run, int]]:
    """(a): one cell, autograd, torch.distributions."""
    import torch
    from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

    target = torch.tensor([1.0, -1.0])

    def mixture(p: Sequence[torch.Tensor]) -> Any:
        parts = Independent(Normal(p[1], p[2].exp(), validate_args=False), 1, validate_args=False)
        weights = Categorical(logits=p[0], validate_args=False)
        return MixtureSameFamily(weights, parts, validate_args=False)

    def parameters() -> list[torch.Tensor]:
        start = torch.zeros(COMPONENTS), torch.randn(COMPONENTS, 2), torch.zeros(COMPONENTS, 2)
        return [t.requires_grad_() for t in start]

    policy, value = parameters(), torch.zeros((), requires_grad=True)
    reference = mixture([p.detach().clone() for p in policy])
    adam = torch.optim.Adam([{"params": policy, "lr": 0.01}, {"params": [value], "lr": 0.1}])

    def rollout() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            current = mixture(policy)
            x = current.sample((BATCH,))
            logp = current.log_prob(x)
            reward = 10.0 * torch.exp(-2.0 * ((x - target) ** 2).sum(1))
            return x, logp, reward - (logp - reference.log_prob(x))

    def update(x: torch.Tensor, old: torch.Tensor, returns: torch.Tensor) -> None:
        advantage = returns - value.detach()
        ratio = torch.exp(mixture(policy).log_prob(x) - old)
        surrogate = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
        loss = -surrogate.mean() + 0.5 * ((returns - value) ** 2).mean()
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()

    fixed = rollout()
    return {"update": (lambda: update(*fixed), 1), "iteration": (lambda: update(*rollout()), 1)}


def batched(
    rows: int, *, compiled: bool, on: str = "cpu", one_block: bool = False
) -> dict[str, tuple[Run, int]]:
    """(b) and (d): blocks of the program's own width, or of all rows, one after another."""
    import numpy as np
    import torch

    from recalltrap.graph import Node
    from recalltrap_studies.mog import execution
    from recalltrap_studies.mog.alignment.ppo import ppo_rollout
    from recalltrap_studies.mog.alignment.registry import PPO, Ppo
    from recalltrap_studies.mog.models import Model
    from recalltrap_studies.mog.program.compilation import repeated_function, step_function
    from recalltrap_studies.mog.rows import Row, Tensors
    from recalltrap_studies.mog.stages import ALIGN

    os.environ["RECALLTRAP_COMPILE"] = "1" if compiled else "0"
    device, node = torch.device(on), Node("align", 0, {})
    width = rows if one_block else execution.WIDTH
    iterations = 10 * execution.NOISE if compiled else execution.NOISE
    blocks = []
    for first in range(0, rows, width):
        part = []
        for seed in range(first, first + width):
            means = np.random.default_rng(seed).standard_normal((COMPONENTS, 2))
            model = Model(np.zeros(COMPONENTS), means, np.tile([0.4, 0.0, 0.4], (COMPONENTS, 1)))
            settings = Ppo(algorithm=PPO.name, batch_size=BATCH)
            part.append(Row(ALIGN, PPO, seed, settings, model, model, {}, {1: node}))
        tensors = Tensors(part, device)
        block = execution.Block(part, device)
        hp = tensors.hyperparameters()
        blocks.append((tensors.state(), hp, block.batches(tensors, hp)))
    step = step_function(block.iteration, device, compiled=compiled)
    again = repeated_function(block.iteration, device, compiled=compiled)
    rollouts = []
    for state, hp, noise in blocks:
        rollouts.append(ppo_rollout(state, hp, noise(0)))

    def finish() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    @torch.no_grad()
    def update() -> None:
        for (state, hp, _), rollout in zip(blocks, rollouts, strict=True):
            for _ in range(iterations):
                state = again(state, hp, rollout)
        finish()

    @torch.no_grad()
    def iterate() -> None:
        for state, hp, noise in blocks:
            for i in range(iterations):
                state = step(state, hp, noise(i))
        finish()

    count = iterations * rows
    return {"update": (update, count), "iteration": (iterate, count)}


class Process:
    """Rates from another interpreter, which answers each line `rows what` with one."""

    def __init__(self, command: Sequence[str], **environment: str) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def ask(self, rows: int, what: str) -> None:
        assert self.process.stdin is not None
        print(rows, what, file=self.process.stdin, flush=True)

    def answer(self) -> float:
        assert self.process.stdout is not None
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def jax_process(python: str, cores: int) -> Process:
    """(c) on one core or on as many as it takes."""
    script = str(Path(__file__).with_name("mog_throughput_jax.py"))
    command = [python, script, str(BATCH), str(COMPONENTS), str(TURN_SECONDS)]
    pinned = ["taskset", "-c", "0"] if cores == 1 else []
    return Process([*pinned, *command], JAX_PLATFORMS="cpu")


class Ours:
    """(b) or (d) as the platform runs them: single-threaded processes that share the blocks."""

    def __init__(self, variant: str, cores: int, device: str, one_block: bool) -> None:
        self.one_block = one_block
        command = [sys.executable, __file__, "--serve", variant, "--device", device]
        if one_block:
            command.append("--one-block")
        self.processes = [Process(command, OMP_NUM_THREADS="1") for _ in range(cores)]

    def rate(self, rows: int, what: str) -> float:
        from recalltrap_studies.mog.execution import WIDTH

        width = rows if self.one_block else WIDTH
        blocks = -(-rows // width)
        busy = self.processes[: min(blocks, len(self.processes))]
        shares = [len(range(i, blocks, len(busy))) * width for i in range(len(busy))]
        for process, share in zip(busy, shares, strict=True):
            process.ask(share, what)
        return sum(process.answer() for process in busy)

    def close(self) -> None:
        for process in self.processes:
            process.close()


def serve(variant: str, device: str, one_block: bool) -> None:
    """Answer lines on standard input, see `Process`."""
    kept: dict[int, dict[str, tuple[Run, int]]] = {}
    for line in sys.stdin:
        rows, what = line.split()
        if int(rows) not in kept:
            compiled = variant == "compiled"
            kept[int(rows)] = batched(int(rows), compiled=compiled, on=device, one_block=one_block)
        kept[int(rows)][what][0]()
        print(best_rate(*kept[int(rows)][what]), flush=True)


def measure(args: argparse.Namespace, cores: int) -> list[dict[str, object]]:
    """Rates of every variant at every width, in turns; the first turn warms up."""
    import torch

    widths, turns = args.rows, args.turns
    torch.set_num_threads(1)
    plain = plain_loop()
    ours = {v: Ours(v, cores, args.device, args.one_block) for v in args.variants}
    jax = jax_process(args.jax_python, cores) if args.jax_python else None
    best: dict[tuple[str, int, str], float] = {}

    def keep(variant: str, rows: int, what: str, rate: float) -> None:
        best[variant, rows, what] = max(best.get((variant, rows, what), 0.0), rate)

    for turn in range(turns + 1):
        if turn == 1:
            best.clear()
        for what, rows in itertools.product(("update", "iteration"), widths):
            keep("plain loop", rows, what, best_rate(*plain[what]))
            for name, processes in ours.items():
                keep(name, rows, what, processes.rate(rows, what))
            if jax:
                jax.ask(rows, what)
                keep("jax", rows, what, jax.answer())
    for processes in ours.values():
        processes.close()
    if jax:
        jax.close()
    return [
        {
            "cores": cores,
            "device": args.device,
            "variant": v,
            "rows": r,
            "what": w,
            "updates_per_second": round(x),
        }
        for (v, r, w), x in best.items()
    ]


def show(results: Sequence[dict[str, object]]) -> None:
    """A table with what each variant does against the plain loop."""
    variants = list(dict.fromkeys(str(r["variant"]) for r in results))
    cases: dict[tuple[object, ...], dict[str, float]] = {}
    for r in results:
        case = (r["what"], r["rows"], r["cores"])
        cases.setdefault(case, {})[str(r["variant"])] = float(str(r["updates_per_second"]))
    print(f"{'what':10} {'rows':>5} {'cores':>8}", *(f"{v:>12}" for v in variants), sep="")
    for (what, rows, cores), rates in cases.items():
        numbers = "".join(f"{rates[v]:12,.0f}" for v in variants)
        best = OURS[-1] if OURS[-1] in rates else OURS[0]
        against = "  ".join(f"{rates[best] / rates[v]:.1f} x {v}" for v in variants if v != best)
        print(f"{what:10} {rows:>5} {cores:>8}{numbers}   {against}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[20, 280])
    parser.add_argument("--cores", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="of the batched variants: cpu or cuda")
    parser.add_argument("--one-block", action="store_true", help="all rows in one block")
    parser.add_argument("--variants", nargs="+", choices=OURS, default=OURS)
    parser.add_argument("--jax-python", help="an interpreter that has jax")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", choices=OURS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve, args.device, args.one_block)
        return
    results = []
    for cores in args.cores:
        results += measure(args, cores)
    if args.json:
        json.dump(results, sys.stdout, indent=1)
    else:
        show(results)


if __name__ == "__main__":
    main()
