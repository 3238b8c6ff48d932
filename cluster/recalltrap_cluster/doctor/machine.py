"""The machine: its memory, its GPUs, the room and the clock of its storage."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from recalltrap.errors import RecalltrapError
from recalltrap.store.storage import Storage
from recalltrap.units import size
from recalltrap_cluster.doctor.findings import Finding, ok, problem, warning
from recalltrap_cluster.schedulable.this_machine import count_cores, count_gpus

LITTLE_MEMORY, LITTLE_DISK = 2e9, 5e9
"""Bytes. A worker takes 0.3 to 1.2 GB before it does anything; Ray spills objects to /tmp."""
MOST_SKEW = 5.0
"""Seconds. Leases of an object store last for tens of seconds by its clock."""
GPU_BUSY = 0.5
QUERY = ["nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
GPU_SECONDS = 10.0


def check_memory(read: Callable[[], str] | None = None) -> Finding:
    """The memory that is free now, beside the cores."""
    lines = (read or _meminfo)().splitlines()
    known = {line.partition(":")[0]: float(line.split()[1]) * 1024 for line in lines if ":" in line}
    if "MemAvailable" not in known:
        return warning("memory", "this machine doesn't say how much is free", "look yourself")
    free, whole = known["MemAvailable"], known.get("MemTotal", 0.0)
    found = f"{size(free)} of {size(whole)} free, {count_cores()} cores"
    if free < LITTLE_MEMORY:
        return warning("memory", found, "close what takes it: a worker needs about 1 GB to begin")
    return ok("memory", found)


def _meminfo() -> str:
    try:
        return Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return ""


def check_gpus(
    *, wanted: float, count: int | None = None, query: Callable[[], str] | None = None
) -> Finding:
    """The GPUs and what of their memory is free.

    Args:
        wanted: how many a worker of the study asks for; 0: none.
        count: the devices that processes may see; None: look.
        query: what `nvidia-smi` says of names, memory and free memory (MiB).
    """
    count = count_gpus() if count is None else count
    if not count:
        if wanted:
            return problem("GPU", "none here, and the study asks for one",
                           "run it where there is one (--address), or with "
                           "-o resources.gpus_per_trial=0")  # fmt: skip
        return ok("GPU", "none, and none is asked for")
    try:
        gpus = [line.split(", ") for line in (query or _nvidia_smi)().strip().splitlines()]
        known = [(name, float(whole) * 2**20, float(free) * 2**20) for name, whole, free in gpus]
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return warning("GPU", f"{count}, but nvidia-smi can't be asked ({error})",
                       "install the driver's tools, or look at the GPUs yourself")  # fmt: skip
    found = ", ".join(f"{name} {size(free)} of {size(whole)} free" for name, whole, free in known)
    if any(free < GPU_BUSY * whole for _, whole, free in known):
        return warning("GPU", found, "another process holds much of one: see nvidia-smi")
    return ok("GPU", found)


def _nvidia_smi() -> str:
    done = subprocess.run(QUERY, capture_output=True, text=True, timeout=GPU_SECONDS, check=True)
    return done.stdout


def check_scratch(folder: Path | None = None, free: float | None = None) -> Finding:
    """The room for Ray's own files on this machine, which it stops working without."""
    folder = folder or Path(os.environ.get("RAY_TMPDIR") or "/tmp")
    if free is None:
        free = float(shutil.disk_usage(folder).free)
    found = f"{size(free)} free in {folder}"
    if free < LITTLE_DISK:
        return warning("scratch", found, "make room, or set RAY_TMPDIR to a folder that has some")
    return ok("scratch", found)


def check_storage(storage: Storage, needed: float = 0.0, free: float | None = None) -> Finding:
    """Whether results can be written, and whether what the study needs fits.

    Args:
        storage: where they go; a folder that doesn't exist yet is judged by the one around it.
        needed: bytes that the study still writes, by the plan's estimate.
        free: bytes; None: look.
    """
    if not storage.is_local:
        return ok("storage", f"{storage.shown}: an object store, whose room isn't known")
    folder = Path(storage.path(""))
    folder = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(folder, os.W_OK):
        return problem("storage", f"{folder} can't be written", "choose another with --storage DIR")
    free = float(shutil.disk_usage(folder).free) if free is None else free
    found = f"{size(free)} free in {folder}"
    if needed:
        found = f"{found}, {size(needed)} needed"
    if needed > free:
        return problem("storage", found, "make room, or choose another with --storage DIR")
    if free < LITTLE_DISK:
        return warning("storage", found, "make room: a full storage ends a run")
    return ok("storage", found)


def check_clock(storage: Storage, skew: Callable[[], float | None] | None = None) -> Finding:
    """The storage's clock against this machine's: leases and the order of launches go by them.

    Args:
        storage: where results go.
        skew: seconds that its clock is ahead; None where it isn't there yet. By default a file is
            written there and removed again.
    """
    try:
        ahead = (skew or (lambda: clock_skew(storage)))()
    except (OSError, RecalltrapError) as error:
        return problem("clock", f"{storage.shown} can't be written: {error}",
                       "choose another storage, or give its credentials")  # fmt: skip
    if ahead is None:
        return ok("clock", "this machine's: the storage is a folder of it, not made yet")
    if abs(ahead) > MOST_SKEW:
        which = "ahead of" if ahead > 0 else "behind"
        return warning("clock", f"the storage's clock is {abs(ahead):.0f} s {which} this machine's",
                       "set both by NTP: leases go by them")  # fmt: skip
    return ok(
        "clock", f"the storage's clock is within {max(abs(ahead), 1):.0f} s of this machine's"
    )


def clock_skew(storage: Storage) -> float | None:
    """Seconds that the storage's clock is ahead of this machine's; None where there is none yet."""
    if storage.is_local and not os.path.isdir(storage.path("")):
        return None  # an object store has no folders to be there
    path = storage.path(f".doctor-{uuid.uuid4().hex}")
    before = time.time()
    with storage.filesystem.open_output_stream(path) as stream:
        stream.write(b"0")
    after = time.time()
    try:
        written: datetime = storage.filesystem.get_file_info(path).mtime
    finally:
        storage.filesystem.delete_file(path)
    stamp = written.timestamp()
    return stamp - min(max(stamp, before), after)
