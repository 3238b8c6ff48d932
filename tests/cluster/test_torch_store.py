"""Where torch's workers meet: on loopback alone, where their address is loopback's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import ipaddress, json, os, socket, sys
import psutil
from recalltrap_cluster.torch_store import meet_on_loopback
import torch, torch.distributed as dist
if sys.argv[1] == "bound":
    meet_on_loopback(), meet_on_loopback()
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK="0", WORLD_SIZE="1")
dist.init_process_group("gloo", init_method="env://")
total = torch.ones(3)
dist.all_reduce(total)
sockets = psutil.Process().net_connections("tcp")
print(json.dumps([total.tolist(), [s.laddr.ip for s in sockets if s.status == "LISTEN"]]))
"""


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
