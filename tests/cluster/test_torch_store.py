"""Where torch's workers meet: on loopback alone, where their address is loopback's."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from recalltrap_cluster.torch_store import LoopbackTorchConfig, bind_store_to_loopback

PROGRAM = """
import ipaddress, json, os, socket, sys
import psutil
from recalltrap_cluster.torch_store import bind_store_to_loopback
import torch, torch.distributed as dist
if sys.argv[1] == "bound":
    bind_store_to_loopback(), bind_store_to_loopback()
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK="0", WORLD_SIZE="1")
dist.init_process_group("gloo", init_method="env://")
total = torch.ones(3)
dist.all_reduce(total)
sockets = psutil.Process().net_connections("tcp")
print(json.dumps([total.tolist(), [s.laddr.ip for s in sockets if s.status == "LISTEN"]]))
"""


class Made(Exception):
    """Raised in place of a store being made; holds what it was asked for."""


def test_torch_makes_its_store_as_it_is_intercepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the module's own name, with these keywords, and by a class that takes a listener."""
    rendezvous: Any = importlib.import_module("torch.distributed.rendezvous")
    assert "master_listen_fd" in rendezvous.TCPStore.__init__.__doc__, (
        "torch's store no longer takes a socket that listens: groups would be open to the network"
    )

    def make(**options: Any) -> None:
        raise Made(options)

    monkeypatch.setattr(rendezvous, "TCPStore", make)
    with pytest.raises(Made) as asked:
        next(rendezvous.rendezvous("tcp://192.0.2.1:1?rank=0&world_size=1"))
    (options,) = asked.value.args
    assert (options["host_name"], options["port"], options["is_master"]) == ("192.0.2.1", 1, True)


def test_ray_starts_a_group_by_the_hook_that_binds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = LoopbackTorchConfig(backend="gloo").backend_cls()
    told: list[Any] = []
    monkeypatch.setattr(type(backend).__mro__[1], "on_start", lambda *_: told.append("torch"))
    group = SimpleNamespace(execute=told.append)
    backend.on_start(group, LoopbackTorchConfig())  # type: ignore[arg-type]
    assert told == [bind_store_to_loopback, "torch"], "every worker is bound before torch starts"
    worker_group = importlib.import_module("ray.train.v2._internal.execution.worker_group")
    assert callable(worker_group.WorkerGroup.execute), "WorkerGroup.execute has another name"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["bound", "as torch does"])
def test_a_group_of_this_machine_meets_on_loopback(how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
    )
    total, listening = json.loads(done.stdout)
    assert total == [1.0, 1.0, 1.0]
    assert len(listening) >= 2, "the store, and gloo"
    beyond = {"0.0.0.0", "::"} & set(listening)
    assert not beyond if how == "bound" else beyond
