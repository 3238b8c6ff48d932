"""Sample sets on disk: what a shard holds, and that maps of it are what was drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap.run.worker_group import ALONE, WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap.streams import stream
from recalltrap_studies.llm.data import sample_shards
from recalltrap_studies.llm.data.responses import PromptRows, Responses
from recalltrap_studies.llm.data.sample_shards import (
    Shard,
    map_sequences,
    read_shards,
    shard_table,
    shards_of,
    token_type,
)
from recalltrap_studies.llm.data.token_sequences import Sequences
from tests.studies.llm.conftest import NO_COST

Together = Callable[[int, Callable[[WorkerGroup], object]], None]
VOCABULARY = 300
NODE = Node("sample", 0, {"samples": 100, "heldout_samples": 40})
PROMPTS = ([7], [299, 8], [1, 2, 3])


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_shards, "SHARD", 16)


def drawn(shard: Shard) -> tuple[PromptRows, Responses]:
    """Responses of one to nine tokens to prompts of one to three."""
    random = stream(shard.start, "test/shards")
    lengths = random.integers(1, 10, shard.rows)
    mask_BT = torch.from_numpy(np.arange(9)[None, :] < lengths[:, None])
    tokens_BT = torch.from_numpy(random.integers(0, VOCABULARY, (shard.rows, 9)))
    log_probs_BT = torch.from_numpy(-random.exponential(size=(shard.rows, 9))).float()
    prompts = PromptRows.of([PROMPTS[int(i)] for i in random.integers(0, 3, shard.rows)])
    return prompts, Responses(tokens_BT, mask_BT, log_probs_BT, mask_BT.sum(dim=1) < 9)


def table_of_an_earlier_version(shard: Shard) -> pa.Table:
    """int32 tokens, and the log-probabilities of every response, which said where it began."""
    prompts, responses = drawn(shard)
    ids, log_probs = [], []
    rows = zip(prompts.lists(), responses.tokens_BT, responses.mask_BT, strict=True)
    for prompt, tokens_T, mask_T in rows:
        ids.append([*prompt, *tokens_T[mask_T].tolist()])
    for values_T, mask_T in zip(responses.log_probs_BT, responses.mask_BT, strict=True):
        log_probs.append(values_T[mask_T].tolist())
    return pa.table(
        {
            "sequence": pa.array(range(shard.start, shard.start + shard.rows), pa.int64()),
            "input_ids": pa.array(ids, pa.list_(pa.int32())),
            "log_probs": pa.array(log_probs, pa.list_(pa.float32())),
            "finished": pa.array(responses.finished_B.tolist()),
        }
    )


def put(store: ArtifactStore, old: Sequence[int] = ()) -> None:
    """The sample set, of which an earlier version wrote the shards of these places."""
    files = {}
    for index, shard in enumerate(shards_of(100, 40)):
        table = shard_table(shard, [drawn(shard)], VOCABULARY)
        if index in old:
            table = table_of_an_earlier_version(shard)
        files[shard.name] = store.put_table(NODE, shard.name, table)
    store.seal(NODE, files, NO_COST)


def rows_of(sequences: Sequences) -> list[tuple[list[int], int]]:
    rows = range(len(sequences))
    return [(sequences.row(row).tolist(), int(sequences.prompts[row])) for row in rows]


def test_a_shard_holds_what_is_read_of_it_and_no_more(store: ArtifactStore) -> None:
    put(store)
    artifact = store.open(NODE)
    train, heldout = (artifact.read_table(f"{name}-00000.parquet") for name in ("train", "heldout"))
    assert train.schema.names == ["sequence", "input_ids", "prompt_tokens", "finished"]
    assert heldout.schema.names == [*train.schema.names, "log_probs"]
    assert train["input_ids"].type.value_type == heldout["input_ids"].type.value_type == pa.uint16()


@pytest.mark.parametrize(
    ("vocabulary", "size"), [(2, 1), (256, 1), (257, 2), (65_536, 2), (65_537, 4)]
)
def test_tokens_are_of_the_smallest_type_that_holds_them(vocabulary: int, size: int) -> None:
    kind = token_type(vocabulary)
    assert kind.itemsize == size
    assert np.array([vocabulary - 1], kind)[0] == vocabulary - 1


@pytest.mark.parametrize("old", [(), range(10), (0, 3, 8)], ids=["new", "old", "mixed"])
def test_whoever_wrote_the_shards_they_are_read_alike(
    store: ArtifactStore, tmp_path: Path, old: Sequence[int]
) -> None:
    """A run that an earlier version began may be finished by this one."""
    put(store, old)
    for split, offset in (("train", 0), ("heldout", 100)):
        shards = [shard for shard in shards_of(100, 40) if shard.split == split]
        expected = pa.concat_tables([table_of_an_earlier_version(shard) for shard in shards])
        found = read_shards(store, NODE, "train" if split == "train" else "heldout")
        assert found["input_ids"].to_pylist() == expected["input_ids"].to_pylist()
        assert found["sequence"].to_pylist() == [*range(offset, offset + len(found))]
        assert found["finished"].to_pylist() == expected["finished"].to_pylist()
        prompts = [
            len(ids) - len(response)
            for ids, response in zip(expected["input_ids"], expected["log_probs"], strict=True)
        ]
        assert found["prompt_tokens"].to_pylist() == prompts
        if split == "heldout":
            assert found["log_probs"].to_pylist() == expected["log_probs"].to_pylist()
        mapped = map_sequences(
            store.open(NODE), shards[0].split, tmp_path / "maps", VOCABULARY, ALONE
        )
        assert rows_of(mapped) == [*zip(expected["input_ids"].to_pylist(), prompts, strict=True)]
        assert mapped.lengths.tolist() == [len(ids) for ids in expected["input_ids"]]


@pytest.mark.parametrize("size", [2, 3])
def test_workers_share_the_files_and_leave_none(
    store: ArtifactStore, tmp_path: Path, together: Together, size: int
) -> None:
    put(store, old=(1,))
    alone = map_sequences(store.open(NODE), "train", tmp_path / "maps", VOCABULARY, ALONE)
    everyone: list[Sequences] = []

    def work(group: WorkerGroup) -> None:
        artifact = store.open(NODE)
        everyone.append(map_sequences(artifact, "train", tmp_path / "maps", VOCABULARY, group))

    together(size, work)
    for found in everyone:
        for name in ("tokens", "starts", "lengths", "prompts"):
            array = getattr(found, name)
            assert isinstance(array.base, np.memmap)  # nothing was read into memory
            assert array.tolist() == getattr(alone, name).tolist()
    assert alone.tokens.dtype == np.uint16
    assert [*(tmp_path / "maps").iterdir()] == []


def test_a_damaged_shard_is_refused_and_leaves_no_file(
    store: ArtifactStore, tmp_path: Path
) -> None:
    put(store)
    path = Path(store.storage.path(f"{store.folder(NODE)}/train-00002.parquet"))
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"train-00002\.parquet was changed"):
        map_sequences(store.open(NODE), "train", tmp_path / "maps", VOCABULARY, ALONE)
    assert [*(tmp_path / "maps").iterdir()] == []
    path.write_bytes(b"no table")
    with pytest.raises(InputError, match=r"train-00002\.parquet was changed"):
        map_sequences(store.open(NODE), "train", tmp_path / "maps", VOCABULARY, ALONE)


def test_a_set_without_sequences_is_empty(store: ArtifactStore, tmp_path: Path) -> None:
    shards = shards_of(16, 0)
    table = shard_table(shards[0], [drawn(shards[0])], VOCABULARY)
    store.seal(NODE, {shards[0].name: store.put_table(NODE, shards[0].name, table)}, NO_COST)
    assert len(map_sequences(store.open(NODE), "heldout", tmp_path, VOCABULARY, ALONE)) == 0
