"""A pack executed by a group: all build, one decides and writes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_kind import KIND

from recalltrap.results.results import Results
from recalltrap.run.plan import Pack, make_plan
from recalltrap.run.run import execute_here, make_context, run, write_planned
from recalltrap.run.worker_group import WorkerGroup, current_group, joined
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap.study.named_studies import load_study

StudyFile = Callable[..., str]


class Telephone:
    """What processes say to one another, between threads."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=20)
        self.said: list[Any] = [None] * size

    def group(self, rank: int) -> WorkerGroup:
        def gather(value: Any) -> list[Any]:
            self.said[rank] = value
            self.barrier.wait()
            heard = list(self.said)
            self.barrier.wait()
            return heard

        def broadcast(value: Any) -> Any:
            return gather(value)[0]

        return WorkerGroup(rank, len(self.said), broadcast, gather)


def test_a_process_alone_is_its_own_group() -> None:
    group = current_group()
    assert (group.rank, group.size, group.leads) == (0, 1, True)
    assert group.broadcast("x") == "x"
    assert group.gather(3) == [3]
    other = WorkerGroup(1, 2)
    with joined(other):
        assert current_group() is other
        assert not other.leads
    assert current_group() is group


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_a_group_makes_what_one_process_makes(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    path = study_file(seeds=2)
    monkeypatch.setattr(type(KIND), "grouped", True)
    root = Storage(storage)
    root.prepare()
    study = load_study(path)
    plan = make_plan(study, KIND, ArtifactStore(root), ())
    context = make_context(plan, root)
    write_planned(root, context.run, plan.cells)
    root.write(f"{context.run}/study.yaml", Path(path).read_bytes())
    built: list[list[str]] = [[] for _ in range(size)]
    errors: list[BaseException] = []

    def work(rank: int, telephone: Telephone, pack: Pack) -> None:
        from recalltrap.run.execution import PackRun

        with joined(telephone.group(rank)):
            try:
                built[rank] += [step.stage for step in PackRun(pack, context).steps()]
            except BaseException as error:  # a thread's error would vanish
                errors.append(error)
                telephone.barrier.abort()

    for pack in plan.packs:
        telephone = Telephone(size)
        threads = [
            threading.Thread(target=work, args=(rank, telephone, pack)) for rank in range(size)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
    assert built[0] == built[1], "all ranks build the same"
    assert built[0]
    alone = run(path, storage=f"{storage}-alone", local=True)
    together = Results(root, context.run)
    query = "select cell_id, model, metric, value from metrics order by all"
    assert together.sql(query).equals(alone.sql(query))
    assert together.table("cells").num_rows == len(plan.cells)


def test_a_grouped_kind_gets_a_pack_per_cell_and_starts_few_groups(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(KIND), "grouped", True)
    root = Storage(storage)
    root.prepare()
    study = load_study(study_file(seeds=2, grid={"kl_weight": [0.5, 1.0]}))
    plan = make_plan(study, KIND, ArtifactStore(root), ())
    shared = [pack for pack in plan.packs if not pack.cells]
    assert [len(pack.cells) for pack in plan.packs if pack.cells] == [1] * len(plan.cells)
    # p' and p'' of a seed are wanted by the same cells, so one group makes both
    assert [[node.stage for node in pack.nodes] for pack in shared] == [["sft", "distill"]] * 2
    assert sorted(pack.seeds for pack in shared) == [[0], [1]]
    for pack in plan.packs:
        if pack.cells:
            assert pack.needs == {p.id for p in shared if p.seeds == pack.seeds}
    execute_here(plan, make_context(plan, root), _Counting())


class _Counting:
    def begin(self, plan: Any) -> None: ...
    def note(self, line: str) -> None: ...
    def progress(self, pack: Any, row: dict[str, Any]) -> None: ...
    def finished(self, pack: Any) -> None: ...
    def end(self) -> None: ...

    def failed(self, pack: Any, message: str) -> None:
        raise AssertionError(message)
