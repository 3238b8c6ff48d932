"""Folders that fail: a small disk, and one where a write in so many fails.

Both are the operating system's own faults, whoever writes: us, Ray, Arrow or torch.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).with_name("failing_writes.c")
CAN_MOUNT = hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("mount") is not None
"""Whether this process may make a disk of its own."""
CAN_COMPILE = shutil.which("cc") is not None and Path("/proc/self/fd").is_dir()
"""Whether the library that makes writes fail can be built and works here."""


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Mount a disk of that size at a folder, which is made; full, it says ENOSPC. Needs root."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "recalltrap-test", str(folder)],
        check=True,
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def failing_writes(folder: Path | str, one_in: int = 20) -> dict[str, str]:
    """The environment of a process, and of all that it starts, in which one write in so many
    below a folder fails with EIO: also creating a file, and moving one to its place."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    library = Path(tempfile.gettempdir(), f"recalltrap-failing-writes-{os.getuid()}-{digest}.so")
    if not library.exists():
        fresh = library.with_suffix(f".{os.getpid()}")
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(fresh), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        fresh.rename(library)
    return {
        "LD_PRELOAD": str(library),
        "FAILING_WRITES_FOLDER": os.path.abspath(folder),
        "FAILING_WRITES_ONE_IN": str(one_in),
    }
