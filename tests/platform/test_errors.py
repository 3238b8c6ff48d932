from __future__ import annotations

import errno
import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray.exceptions
import torch

from recalltrap.errors import (
    FailureClass,
    InputError,
    RecalltrapError,
    StageError,
    is_out_of_memory,
    nearest,
)
from recalltrap.run.failures import classify
from recalltrap_cluster.failure_reasons import failure_reason


@pytest.mark.parametrize("error", [InputError("say why"), StageError("nan", "row 3 is NaN")])
def test_errors_survive_pickling(error: RecalltrapError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert back.args == error.args


def test_a_stage_error_keeps_its_class() -> None:
    back = pickle.loads(pickle.dumps(StageError("oom", "too large")))
    assert (back.failure, back.message) == ("oom", "too large")


def test_nearest_names_the_closest_or_all() -> None:
    assert nearest("kl_wieght", ["kl_weight", "rate"]) == "did you mean 'kl_weight'?"
    assert nearest("zzz", ["b", "a"]) == "allowed: 'a', 'b'"


def raised(call: Any) -> Exception:
    """What a call raises."""
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("it raised nothing")


RAY_OUT_OF_MEMORY: Any = ray.exceptions.OutOfMemoryError  # its constructor has no types
EXHAUSTED = {
    "python": MemoryError(),
    "numpy": raised(lambda: np.empty(10**15)),
    "arrow": pa.ArrowMemoryError("malloc of size 1000000000000000 failed"),
    "system": OSError(errno.ENOMEM, "Cannot allocate memory"),
    "torch, CPU": raised(lambda: torch.empty(10**15)),
    "torch, CPU of Windows": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: not enough memory: you "
        "tried to allocate 4000000000 bytes."
    ),
    "torch, GPU": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "torch, C++": RuntimeError("std::bad_alloc"),
    "CUDA": torch.AcceleratorError("CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA`"),
    "NCCL": torch.distributed.DistBackendError(
        "NCCL error in: NCCLUtils.hpp:268, unhandled cuda error\nLast error:\n"
        "Cuda failure 2 'out of memory'"
    ),
    "cuBLAS": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(h)`"),
    "cuDNN": RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "Ray": RAY_OUT_OF_MEMORY(
        "Task was killed due to the node running low on memory.\nMemory on the node was 15.2GB"
    ),
    "Ray 2.56": RAY_OUT_OF_MEMORY(
        "1 worker(s) were killed due to the node running low on memory. Memory was 15.2GB"
    ),
}


@pytest.mark.parametrize("error", EXHAUSTED.values(), ids=EXHAUSTED)
def test_exhausted_memory_is_recognised_as_an_error_and_in_a_trial_s_text(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert classify(error)[0] == "oom"
    text = f"Failure # 1 (occurred at 2026-01-02)\n{type(error).__name__}: {error}\n"
    assert failure_reason(text)[0] == "oom"


def test_an_actor_that_was_killed_for_memory_died_of_it() -> None:
    text = (
        "The actor died unexpectedly before finishing this task.\n\tclass_name: PackTrainable\n"
        "Worker exit type: NODE_OUT_OF_MEMORY Worker exit detail: it was killed"
    )
    assert failure_reason(text)[0] == "oom"


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (RuntimeError("shapes don't match"), "user_code"),
        (ValueError("settings.batch_size: you would run out of memory"), "user_code"),
        (OSError(errno.ENOSPC, "No space left on device"), "user_code"),
        (StageError("nan", "the loss is no number (not out of memory)"), "nan"),
    ],
)
def test_other_errors_are_not_taken_for_it(error: Exception, failure: FailureClass) -> None:
    assert not is_out_of_memory(error)
    assert classify(error)[0] == failure


@pytest.mark.parametrize(
    "guess",
    [
        "Worker unexpectedly exits with a connection error code 2. There are some potential root "
        "causes. (1) The process is killed by SIGKILL by OOM killer due to high memory usage.",
        "- The agent is killed by the OS (e.g., out of memory).",
    ],
)
def test_what_ray_guesses_of_every_lost_process_is_not_taken_for_it(guess: str) -> None:
    assert failure_reason(f"The actor died unexpectedly.\n{guess}")[0] == "worker_lost"
