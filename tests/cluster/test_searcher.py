"""The order of trials: parents first, nothing twice, an end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.search import Searcher
from toy_kind import KIND

from recalltrap.graph import Node
from recalltrap.run.plan import Pack, make_plan
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap.study.named_studies import load_study
from recalltrap_cluster.placement.admission import Admission
from recalltrap_cluster.placement.requests import ClusterNode, Request
from recalltrap_cluster.searcher import PackSearcher, trial_config


def pack(index: int, needs: tuple[Pack, ...] = ()) -> Pack:
    node = Node("sft", index, {})
    config = {"stage": "sft", "factors": {"index": index}}
    return Pack((node,), (), frozenset(parent.id for parent in needs), config)


def searcher_of(*packs: Pack, cores: float = 100.0, **options: Any) -> PackSearcher:
    """A searcher over packs of one core each, on a node that has room for many."""
    requests = {each.id: Request({"CPU": 1.0}) for each in packs}
    nodes = [ClusterNode("here", {"CPU": cores})]
    return PackSearcher(packs, Admission(requests, lambda: nodes, grouped=False), **options)


@given(
    st.lists(st.sets(st.integers(0, 30), max_size=3), max_size=12),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
def test_parents_end_before_their_children_start(
    wanted: list[set[int]], early: int, random: Random
) -> None:
    """But for `early` packs at a time, whose parents have started at least."""
    packs: list[Pack] = []
    for index, parents in enumerate(wanted):
        packs.append(pack(index, tuple(packs[p % index] for p in parents) if index else ()))
    searcher, started = searcher_of(*packs, early=early), list[str]()
    running, ended = dict[str, str](), set[str]()
    needs = {each.id: each.needs for each in packs}
    for turn in range(10 * len(packs) + 10):
        config = searcher.suggest(f"trial-{turn}")
        if config == Searcher.FINISHED:
            break
        ready = {name for name in running if needs[running[name]] <= ended}
        if config is not None:
            assert needs[config["pack"]] <= set(started)
            started.append(config["pack"])
            running[f"trial-{turn}"] = config["pack"]
            unready = [name for name in running.values() if not needs[name] <= ended]
            assert len(unready) <= early
        elif ready:
            trial = random.choice(sorted(ready))
            error = random.random() < 0.3
            searcher.on_trial_complete(trial, error=error)
            ended.add(running.pop(trial))
        else:
            raise AssertionError("nothing can run and nothing is offered")
    assert sorted(started) == sorted(needs)


def test_a_ready_pack_goes_before_one_that_would_wait() -> None:
    parent, other = pack(0), pack(2)
    child = pack(1, (parent,))
    searcher = searcher_of(parent, child, other, early=1)
    order = [searcher.suggest(str(turn))["pack"] for turn in range(3)]
    assert order == [parent.id, other.id, child.id]


def test_the_board_says_which_packs_have_ended(tmp_path: Path) -> None:
    parent = pack(0)
    searcher = searcher_of(parent, pack(1, (parent,)), early=1, marks=tmp_path)
    searcher.suggest("a"), searcher.suggest("b")
    assert list(tmp_path.iterdir()) == []
    searcher.on_trial_complete("a", error=True)
    assert [path.name for path in tmp_path.iterdir()] == [parent.id]


def test_a_failed_parent_does_not_stop_its_children() -> None:
    parent = pack(0)
    searcher = searcher_of(parent, pack(1, (parent,)))
    assert searcher.suggest("a")["pack"] == parent.id
    assert searcher.suggest("b") is None
    searcher.on_trial_complete("a", error=True)
    assert searcher.suggest("b")["index"] == 1
    assert searcher.suggest("c") == Searcher.FINISHED


def test_a_trials_config_is_its_setting(study_file: Callable[..., str], storage: str) -> None:
    study = load_study(study_file(seeds=2, orderings=["K-A"]))
    packs = make_plan(study, KIND, ArtifactStore(Storage(storage)), ()).packs
    configs = [trial_config(each) for each in packs]
    assert [config.pop("pack") for config in configs] == [each.id for each in packs]
    assert configs[-1] == {"ordering": "K-A", "kl_weight": 2.0, "seeds": [0, 1]}
    assert configs[0]["stage"] == "sft"
    assert configs[0]["rate"] == pytest.approx(0.1)


def test_packs_wait_where_there_is_no_room_and_one_of_them_with_ray() -> None:
    packs = [pack(index) for index in range(4)]
    searcher = searcher_of(*packs, cores=2.0)
    started = [searcher.suggest(str(turn)) for turn in range(4)]
    assert [config and config["index"] for config in started] == [0, 1, 2, None]
    searcher.on_trial_complete("0")
    assert searcher.suggest("4")["index"] == 3
