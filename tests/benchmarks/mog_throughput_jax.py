"""The JAX variant of `mog_throughput.py`: jit(vmap), autograd, Threefry; runs where jax is.

    python mog_throughput_jax.py BATCH COMPONENTS SECONDS

Each line `rows update|iteration` on standard input is answered with a rate.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import jax
import jax.numpy as jnp

BATCH, COMPONENTS, SECONDS = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
SCAN = 20  # iterations in one compiled call
TARGET = jnp.array([1.0, -1.0])


def log_prob(p: Any, x: Any) -> Any:
    z = (x[:, None] - p["mean"]) * jnp.exp(-p["scale"])
    joint = jax.nn.log_softmax(p["logit"]) - p["scale"].sum(1) - 1.8378771 - 0.5 * (z**2).sum(2)
    return jax.nn.logsumexp(joint, axis=1)


def rollout(p: Any, reference: Any, key: Any) -> Any:
    a, b = jax.random.split(key)
    edges = jnp.cumsum(jax.nn.softmax(p["logit"]))
    k = (jax.random.uniform(a, (BATCH, 1)) >= edges[:-1]).sum(1)
    x = p["mean"][k] + jnp.exp(p["scale"][k]) * jax.random.normal(b, (BATCH, 2))
    logp = log_prob(p, x)
    reward = 10.0 * jnp.exp(-2.0 * ((x - TARGET) ** 2).sum(1))
    return x, logp, reward - (logp - log_prob(reference, x))


def loss(trained: Any, x: Any, old: Any, returns: Any) -> Any:
    p, value = trained
    advantage = returns - jax.lax.stop_gradient(value)
    ratio = jnp.exp(log_prob(p, x) - old)
    surrogate = jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage)
    return -surrogate.mean() + 0.5 * ((returns - value) ** 2).mean()


RATES = ({"logit": 0.01, "mean": 0.01, "scale": 0.01}, 0.1)


def update(state: Any, batch: Any) -> Any:
    trained, m, v, t = state
    g = jax.grad(loss)(trained, *batch)
    t = t + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
    b1, b2 = 1 - 0.9**t, 1 - 0.999**t
    trained = jax.tree.map(
        lambda p, m, v, rate: p - rate * (m / b1) / (jnp.sqrt(v / b2) + 1e-8),
        trained, m, v, RATES,
    )  # fmt: skip
    return trained, m, v, t


def iterate(state: Any, reference: Any, key: Any) -> Any:
    return update(state, rollout(state[0][0], reference, jax.random.fold_in(key, state[3])))


def updates(states: Any, batches: Any) -> Any:
    step = jax.vmap(update)
    return jax.lax.scan(lambda s, _: (step(s, batches), None), states, None, SCAN)[0]


def iterations(states: Any, references: Any, keys: Any) -> Any:
    step = jax.vmap(iterate)
    return jax.lax.scan(lambda s, _: (step(s, references, keys), None), states, None, SCAN)[0]


def start(rows: int) -> Any:
    keys = jax.random.split(jax.random.key(0), rows)
    p = {
        "logit": jnp.zeros((rows, COMPONENTS)),
        "mean": jax.vmap(lambda k: jax.random.normal(k, (COMPONENTS, 2)))(keys),
        "scale": jnp.full((rows, COMPONENTS, 2), -0.9),
    }
    trained = (p, jnp.zeros(rows))
    zeros = jax.tree.map(jnp.zeros_like, trained)
    states = (trained, zeros, zeros, jnp.zeros(rows, jnp.int32))
    return states, p, keys, jax.jit(jax.vmap(rollout))(p, p, keys)


kept: dict[int, Any] = {}
run_updates, run_iterations = jax.jit(updates), jax.jit(iterations)
for line in sys.stdin:
    width, what = line.split()
    rows = int(width)
    if rows not in kept:
        kept[rows] = start(rows)
    states, references, keys, batches = kept[rows]
    call, rest = (
        (run_updates, (batches,)) if what == "update" else (run_iterations, (references, keys))
    )
    jax.block_until_ready(call(states, *rest))
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        states = jax.block_until_ready(call(states, *rest))
        done += SCAN * rows
    print(done / (time.perf_counter() - began), flush=True)
