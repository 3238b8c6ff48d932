"""Progress from the cluster to the client that watches: without Ray running."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from toy_display import RecordingDisplay

from recalltrap.graph import Node
from recalltrap.run.plan import Pack
from recalltrap_cluster import ray_client
from recalltrap_cluster.ray_client import Events, RemoteDisplay


def test_what_is_shown_there_is_shown_here() -> None:
    pack = Pack((Node("sft", 0, {}),), (), frozenset(), {"stage": "sft", "factors": {}})
    events, here = Events(), RecordingDisplay()
    post = SimpleNamespace(post=SimpleNamespace(remote=events.post))
    there = RemoteDisplay(post)
    row: dict[str, Any] = {"stage": "sft", "step": 1, "steps": 2, "weights": np.zeros(3)}
    there.progress(pack, row)
    there.finished(pack)
    there.failed(pack, "it broke")
    taken = events.take()
    assert taken[0] == ("progress", pack.id, {"stage": "sft", "step": 1, "steps": 2})
    ray_client._show(here, {pack.id: pack}, taken)
    assert here.events == [(what, pack.name) for what in ("progress", "finished", "failed")]
    assert events.take() == [], "everything is taken once"
