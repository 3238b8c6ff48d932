"""The installed packages: their versions, the trainers that are used of them, DeepSpeed's ops.

Nothing of it is imported: torch alone would take seconds.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from recalltrap_cluster.doctor.findings import Finding, ok, problem, warning

NAMES: Mapping[str, tuple[str, str]] = {
    "trl.trainer.sft_trainer.SFTTrainer": ("trl", "class SFTTrainer"),
    "trl.trainer.sft_config.SFTConfig": ("trl", "class SFTConfig"),
    "trl.models.utils.unwrap_model_for_generation": ("trl", "def unwrap_model_for_generation"),
    "transformers.trainer.Trainer": ("transformers", "class Trainer"),
    "transformers.training_args.TrainingArguments": ("transformers", "class TrainingArguments"),
    "ray.train.v2.api.config.ScalingConfig": ("ray", "class ScalingConfig"),
}
"""What language models are trained with, and which distribution has it."""
SHOWN = ("torch", "ray", "transformers", "trl", "deepspeed", "accelerate", "pyarrow")

Version = Callable[[str], str]
Locate = Callable[[str, str], Path]


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """The interpreter's version."""
    shown = ".".join(map(str, version))
    if version < (3, 11):
        return problem("python", shown, "use Python 3.11 or newer: make PYTHON=python3.12 setup")
    return ok("python", shown)


def check_versions(
    requirements: Iterable[str] | None = None, version: Version = metadata.version
) -> Finding:
    """Every package that this one requires, at a version that it allows.

    Args:
        requirements: by default what the installed `recalltrap` says of itself.
        version: of a distribution; raises PackageNotFoundError.
    """
    if requirements is None:
        requirements = metadata.requires("recalltrap") or []
    wrong, found = [], {}
    for text in requirements:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found[wanted.name] = version(wanted.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is missing ({wanted.specifier})")
            continue
        if not wanted.specifier.contains(found[wanted.name], prereleases=True):
            wrong.append(f"{wanted.name} {found[wanted.name]} is not {wanted.specifier}")
    if wrong:
        return problem("packages", "; ".join(wrong), "pip install -r requirements.lock")
    shown = ", ".join(f"{name} {found[name]}" for name in SHOWN if name in found)
    return ok("packages", f"{len(found)} as required: {shown}")


def _locate(distribution: str, file: str) -> Path:
    return Path(str(metadata.distribution(distribution).locate_file(file)))


def check_trainers(
    names: Mapping[str, tuple[str, str]] = NAMES, locate: Locate = _locate
) -> Finding:
    """The classes and functions that trainings are built on, by their sources."""
    missing = []
    for name, (distribution, what) in names.items():
        module = name.rpartition(".")[0]
        try:
            source = locate(distribution, f"{module.replace('.', '/')}.py").read_text("utf-8")
        except (OSError, metadata.PackageNotFoundError):
            missing.append(name)
            continue
        if not re.search(rf"^{what}\b", source, re.MULTILINE):
            missing.append(name)
    if missing:
        return problem(
            "trainers", f"missing: {', '.join(missing)}",
            "install the versions of requirements.lock: these have moved or gone upstream",
        )  # fmt: skip
    return ok("trainers", f"{len(names)} names of TRL, transformers and Ray Train are there")


def check_deepspeed(
    *,
    wanted: bool,
    gpus: int,
    installed: str | None = None,
    compiler: str | None = None,
    extensions: Path | None = None,
) -> Finding:
    """DeepSpeed and its ops, which are compiled at their first use on a GPU.

    Args:
        wanted: whether the study asks for ZeRO.
        gpus: this machine's. On CPUs nothing is compiled: gloo reduces.
        installed: the package's version, "" for none; None: look.
        compiler: the C++ compiler's path, "" for none; None: look.
        extensions: where torch keeps what it built; None: look.
    """
    worse = problem if wanted else warning
    installed = _deepspeed() if installed is None else installed
    if not installed:
        return worse("deepspeed", "not installed (it exists for Linux alone)",
                     "leave resources.zero_stage out, or pip install deepspeed")  # fmt: skip
    if not gpus:
        return ok("deepspeed", f"{installed}; none of its ops is built for CPUs: gloo reduces")
    built = sorted({path.parent.name for path in (extensions or _extensions()).glob("*/*/*.so")})
    compiler = (shutil.which(os.environ.get("CXX", "c++")) or "") if compiler is None else compiler
    done = f"{installed}; ops built so far: {', '.join(built) or 'none'}"
    if not compiler:
        return worse("deepspeed", f"{done}, and there is no C++ compiler for others",
                     "install g++: DeepSpeed and torch.compile build with it")  # fmt: skip
    return ok("deepspeed", f"{done}; others at their first use, in about a minute, by {compiler}")


def _deepspeed() -> str:
    try:
        return metadata.version("deepspeed")
    except metadata.PackageNotFoundError:
        return ""


def _extensions() -> Path:
    given = os.environ.get("TORCH_EXTENSIONS_DIR")
    return Path(given) if given else Path.home() / ".cache" / "torch_extensions"
