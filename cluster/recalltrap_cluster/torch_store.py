"""Where the workers of a group meet: on loopback, where the group's address is loopback's.

torch binds the store that they meet at to all interfaces, whatever address they are told, and
gloo and NCCL choose an interface of their own.
"""

from __future__ import annotations

import functools
import importlib
import ipaddress
import os
import socket
from typing import Any

from ray.train.backend import Backend, BackendConfig
from ray.train.torch import TorchConfig

INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


class LoopbackTorchConfig(TorchConfig):
    """Torch's process group, on loopback where Ray is."""

    @property
    def backend_cls(self) -> type[Backend]:
        base: type[Backend] = super().backend_cls

        class _Backend(base):  # type: ignore[valid-type, misc]
            def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
                worker_group.execute(bind_store_to_loopback)
                super().on_start(worker_group, backend_config)

        return _Backend


def bind_store_to_loopback() -> None:
    """From now on this process binds a store to the loopback address that it has, if it has one."""
    # Not an attribute: a function of the package has the module's name.
    rendezvous: Any = importlib.import_module("torch.distributed.rendezvous")
    if not isinstance(rendezvous.TCPStore, functools.partial):  # or it was used before
        rendezvous.TCPStore = functools.partial(_store, rendezvous.TCPStore)


def _store(unbound: Any, host_name: str, port: int, **options: Any) -> Any:
    if not _is_loopback(host_name):
        return unbound(host_name=host_name, port=port, **options)
    for name in INTERFACES:
        os.environ.setdefault(name, _loopback_interface())
    if options.get("is_master"):
        family = socket.AF_INET6 if ":" in host_name else socket.AF_INET
        listener = socket.create_server((host_name, port), family=family)
        options["master_listen_fd"] = listener.detach()
    return unbound(host_name=host_name, port=port, **options)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _loopback_interface() -> str:
    names = [name for _, name in socket.if_nameindex()]
    return next((name for name in ("lo", "lo0") if name in names), names[0])
