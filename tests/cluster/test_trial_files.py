"""Tune's results from plain files: the same views, and nothing that a planted file could run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray import cloudpickle
from ray.tune import ResultGrid

from recalltrap.errors import InputError
from recalltrap.store.storage import Storage
from recalltrap_cluster.executor import result_grid
from tests.cluster.tune_errors import BROKE, LOST

RUN = "studies/toy/test"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "runs"))


def write_trial(
    storage: Storage, name: str, rewards: list[float], *, done: bool = True, error: str = ""
) -> Path:
    """A trial's files, as Tune writes them."""
    folder = Path(storage.path(f"{RUN}/tune/20260102T030405-abc/{name}"))
    folder.mkdir(parents=True)
    config = {"kl_weight": 0.5, "seeds": [0, 1], "pack": name}
    (folder / "params.json").write_text(json.dumps(config, indent=2))
    rows = [
        {"reward_mean": reward, "training_iteration": step, "timestamp": ord(name[0]),
         "done": done and step == len(rewards), "trial_id": name, "config": config}
        for step, reward in enumerate(rewards, 1)
    ]  # fmt: skip
    (folder / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if error:
        (folder / "error.txt").write_text(error)
    return folder


def test_the_grid_shows_what_tune_left(storage: Storage) -> None:
    write_trial(storage, "b", [1.0, 5.0, 2.0])
    write_trial(storage, "a", [3.0], error=LOST)  # tried again, and it ended well
    write_trial(storage, "c", [0.5], done=False, error=LOST + BROKE)
    write_trial(storage, "d", [], done=False)
    grid: Any = result_grid(storage, RUN)
    assert isinstance(result_grid(storage, RUN), ResultGrid)
    assert len(grid) == 4
    assert [result.metrics["trial_id"] for result in grid] == ["a", "b", "c", "d"]
    assert all(result.config["kl_weight"] == 0.5 for result in grid)
    assert [result.error is None for result in grid] == [True, True, False, True]
    assert grid.num_errors == len(grid.errors) == 1
    assert grid.num_terminated == 2
    assert "broke on purpose" in str(grid.errors[0])
    assert "unexpectedly" not in str(grid.errors[0])
    assert list(grid[1].metrics_dataframe["reward_mean"]) == [1.0, 5.0, 2.0]
    assert grid[3].metrics_dataframe.empty
    assert [Path(result.path).name for result in grid] == ["a", "b", "c", "d"]
    assert grid.get_best_result("reward_mean", "max").metrics["trial_id"] == "a"
    assert grid.get_best_result("reward_mean", "max", scope="all").metrics["trial_id"] == "b"
    frame = grid.get_dataframe()
    assert sorted(frame["trial_id"]) == ["a", "b", "c"]  # d reported nothing
    assert set(frame["config/kl_weight"].dropna()) == {0.5}
    assert len(repr(grid)) > 100


@pytest.mark.parametrize(
    ("status", "done", "errors"),
    [("TERMINATED", True, 0), ("ERROR", False, 1), ("RUNNING", False, 1)],
)
def test_the_experiments_state_says_how_a_trial_ended(
    status: str, done: bool, errors: int, storage: Storage
) -> None:
    """A function's last result doesn't: what was tried again and ended well keeps its error."""
    folder = write_trial(storage, "a", [1.0], done=False, error=LOST)
    trial = json.dumps({"trial_id": "a", "status": status})
    state = json.dumps({"trial_data": [[trial, "{}"]]})
    (folder / "../experiment_state-2026-01-02_03-04-05.json").write_text(state)
    grid: Any = result_grid(storage, RUN)
    assert grid[0].metrics["done"] is done
    assert len(grid.errors) == errors


def test_the_last_launch_with_trials_counts(storage: Storage) -> None:
    write_trial(storage, "a", [1.0])
    Path(storage.path(f"{RUN}/tune/20270102T030405-abc/scraps")).mkdir(parents=True)
    grid: Any = result_grid(storage, RUN)
    assert [result.metrics["trial_id"] for result in grid] == ["a"]


def test_a_line_that_was_being_written_is_left_out(storage: Storage) -> None:
    folder = write_trial(storage, "a", [1.0, 2.0])
    text = (folder / "result.json").read_text()
    (folder / "result.json").write_text(text[:-20])
    grid: Any = result_grid(storage, RUN)
    assert list(grid[0].metrics_dataframe["reward_mean"]) == [1.0]


class Payload:
    """Pickled, it writes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return Path.write_text, (self.mark, "code ran")  # type: ignore[return-value]


def test_planted_pickles_never_run(storage: Storage, tmp_path: Path) -> None:
    """Neither in files that Ray would load, nor hidden in JSON that Ray would decode."""
    mark = tmp_path / "mark"
    pickled: bytes = cloudpickle.dumps(Payload(mark))  # type: ignore[no-untyped-call]
    hidden = {"_type": "CLOUDPICKLE_FALLBACK", "value": pickled.hex()}
    cloudpickle.loads(bytes.fromhex(hidden["value"]))
    assert mark.exists(), "the payload works where it is decoded"
    mark.unlink()
    folder = write_trial(storage, "a", [1.0], done=False, error=BROKE)
    for name in ("error.pkl", "params.pkl", "../tuner.pkl", "../trainable.pkl",
                 "../searcher-state-2026.pkl", "../search_gen_state-2026.json"):  # fmt: skip
        (folder / name).write_bytes(pickled)
    trial = {"trainable_name": "x", "trial_id": "a", "status": "ERROR", "config": hidden}
    state = {"trial_data": [[json.dumps(trial), json.dumps({"last_result": hidden})]],
             "runner_data": hidden, "stats": hidden}  # fmt: skip
    (folder / "../experiment_state-2026-01-02_03-04-05.json").write_text(json.dumps(state))
    row = {"reward_mean": 2.0, "done": False, "config": hidden, "extra": [hidden]}
    with (folder / "result.json").open("a") as file:
        file.write(json.dumps(row) + "\n")
    (folder / "params.json").write_text(json.dumps({"kl_weight": hidden}))
    grid: Any = result_grid(storage, RUN)
    assert len(grid) == 1
    for use in (grid.get_dataframe, lambda: grid.get_best_result("reward_mean", "max"),
                lambda: grid.errors, lambda: repr(grid), lambda: list(grid)):  # fmt: skip
        use()
    assert not mark.exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [("result.json", "nonsense\n"), ("result.json", "[1]\n"), ("params.json", "{"),
     ("params.json", "[" * 100_000), ("result.json", "\x80\x04\x95\n")],
)  # fmt: skip
def test_what_is_not_plain_json_is_refused(name: str, text: str, storage: Storage) -> None:
    folder = write_trial(storage, "a", [1.0])
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=rf"a/{name} isn't the JSON"):
        result_grid(storage, RUN)
