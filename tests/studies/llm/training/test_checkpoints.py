"""Which checkpoint a stage goes on from."""

from __future__ import annotations

from pathlib import Path

from recalltrap.graph import Node
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.training import checkpoints

NODE = Node("sft", 0, {})


def write(scratch: Path, update: int, size: int = 1, state: str = "{}") -> Path:
    folder = scratch / f"checkpoint-{update}"
    folder.mkdir(parents=True)
    names = ["rng_state.pth"] if size == 1 else [f"rng_state_{rank}.pth" for rank in range(size)]
    for name in names:
        (folder / name).write_bytes(b"")
    (folder / checkpoints.STATE).write_text(state)
    return folder


def test_the_newest_complete_one_is_taken_and_broken_ones_go(tmp_path: Path) -> None:
    assert checkpoints.last(tmp_path / "nothing") is None
    write(tmp_path, 20)
    newest = write(tmp_path, 100)
    broken = write(tmp_path, 200, state='{"global_st')
    (tmp_path / "candidates").mkdir()
    assert checkpoints.last(tmp_path) == str(newest)
    assert not broken.exists()
    assert (tmp_path / "candidates").exists()


def test_every_rank_s_state_must_stand(tmp_path: Path) -> None:
    whole = write(tmp_path, 10, size=2)
    write(tmp_path, 20, size=1)
    assert checkpoints.last(tmp_path, WorkerGroup(size=2)) == str(whole)


def test_ranks_take_what_rank_0_found(tmp_path: Path) -> None:
    other = WorkerGroup(rank=1, size=2, broadcast=lambda value: "chosen by rank 0")
    assert checkpoints.last(tmp_path, other) == "chosen by rank 0"


def test_layouts_do_not_share_a_folder(store: ArtifactStore) -> None:
    groups = [
        WorkerGroup(),
        WorkerGroup(size=2, distributed=True),
        WorkerGroup(size=2, distributed=True, resources=LlmResources(zero_stage=2)),
        WorkerGroup(size=2, distributed=True, resources=LlmResources(zero_stage=3)),
    ]
    folders = [checkpoints.scratch_folder(store, NODE, group) for group in groups]
    assert len(set(folders)) == 4
    assert {folder.parent.name for folder in folders} == {NODE.id}
    for folder in folders:
        folder.mkdir(parents=True)
    checkpoints.clear(folders[0])
    assert not folders[3].exists()
