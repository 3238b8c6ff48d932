"""Everything that a GPU has to show, in one command and under ten minutes.

    python tests/gpu/acceptance.py [--out DIR] [--p-star FOLDER] [--parts NAME ...]
    python tests/gpu/acceptance.py --device cpu --tiny          the dry run

Each part is a process of its own under its own time limit; what it leaves unused, the later ones
get. A part that fails or runs out of time is recorded with what it measured until then, and the
rest goes on. Prints one table and writes it to `DIR/acceptance.json` (after every part anew), with
a log of each part beside it. Exit status: 0 all goals met, 1 not all, 2 nothing could be run.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]
ROOMS = ("platform", "studies", "cluster", "analysis")
Status = Literal["ok", "missed", "failed", "skipped"]
TOTAL = 560.0
"""Seconds that all parts have together."""
DRY = 6.0
"""A dry run may take as many times longer: it is for machines without a GPU, and shared ones."""


@dataclass(frozen=True)
class Part:
    """A part, and the seconds that it surely has; what it shows stands in `parts.py`."""

    name: str
    seconds: float


PARTS = (
    Part("tests", 75),
    Part("equality", 60),
    Part("throughput", 130),
    Part("language", 95),
    Part("one-gpu", 140),
    Part("phase", 60),
)
assert sum(part.seconds for part in PARTS) <= TOTAL


@dataclass(frozen=True)
class Row:
    """One line of the table: what was to be shown, and what was measured."""

    part: str
    what: str
    goal: str
    measured: str
    status: Status
    seconds: float


def environment(folder: Path, device: str) -> dict[str, str]:
    """What a part's process and all below it see: this checkout, one device, no network."""
    paths = [str(ROOT), *(str(ROOT / room) for room in ROOMS)]
    if not _installed():
        stand_in(folder)
        paths.append(str(folder))
    paths += [path for path in [os.environ.get("PYTHONPATH", "")] if path]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "RECALLTRAP_DEVICE": device,
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _installed() -> bool:
    try:
        importlib.metadata.distribution("recalltrap")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def stand_in(folder: Path) -> None:
    """Metadata that makes this checkout an installed package: its name, version, entry points."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{point} = {value}" for point, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


@dataclass(frozen=True)
class Acceptance:
    """The parts to run, and where: `out` keeps the table and the logs, `scratch` goes."""

    parts: Sequence[Part]
    out: Path
    scratch: Path
    arguments: Sequence[str]
    environment: Mapping[str, str]
    command: Sequence[str] = (sys.executable, "-m", "tests.gpu.parts")

    def run(self) -> Iterator[Row]:
        """Run part after part; each has its own seconds and what the earlier ones left."""
        left = 0.0
        for part in self.parts:
            began, limit = time.monotonic(), part.seconds + left
            yield from self.run_part(part, limit)
            left = max(limit - (time.monotonic() - began), 0.0)

    def run_part(self, part: Part, limit: float) -> list[Row]:
        """A part's rows, and one more that says how it ended where it didn't end well."""
        found = self.scratch / f"{part.name}.jsonl"
        command = [
            *self.command, part.name,
            "--rows", str(found), "--scratch", str(self.scratch / part.name), *self.arguments,
        ]  # fmt: skip
        began = time.monotonic()
        log = self.out / f"{part.name}.log"
        ended = self._watch(command, log, limit)
        seconds = time.monotonic() - began
        lines = found.read_text().splitlines() if found.exists() else []
        rows = [Row(**json.loads(line)) for line in lines if line.endswith("}")]
        if ended:
            rows.append(Row(part.name, "ends by itself", f"in {limit:.0f} s", ended, "failed",
                            seconds))  # fmt: skip
        return rows

    def _watch(self, command: Sequence[str], log: Path, limit: float) -> str:
        """Run to the end or to the limit; says what went wrong, or nothing."""
        with open(log, "wb") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT,
                env=self.environment, start_new_session=True,
            )  # fmt: skip
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                return "ran out of time"
            finally:
                end_group(process)
        return f"exit {code}: {last_line(log)}" if code else ""


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started: none of them may keep the GPU."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_line(log: Path) -> str:
    """The last thing a part said, cut to what fits a table."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    said = [line for line in lines if line]
    return said[-1][:200] if said else "said nothing"


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    head = ("part", "what", "goal", "measured", "status", "s")
    cells = [head, *((r.part, r.what, r.goal, r.measured, r.status, f"{r.seconds:.0f}")
                     for r in rows)]  # fmt: skip
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    lines = [
        "| " + " | ".join(f"{c:{w}}" for c, w in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    return "\n".join([lines[0], rule, *lines[1:]])


def write(path: Path, rows: Sequence[Row], facts: Mapping[str, object]) -> None:
    """The JSON file, whole at any time."""
    content = {**facts, "rows": [asdict(row) for row in rows]}
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content, indent=1) + "\n")
    new.replace(path)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    names = [part.name for part in PARTS]
    default = os.environ.get("OUT") or os.path.join(tempfile.gettempdir(), "recalltrap-acceptance")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, no goals: the dry run")
    parser.add_argument("--parts", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path(default), help="default $OUT")
    parser.add_argument("--p-star", type=Path, metavar="FOLDER", help="a real SmolLM2 for one-gpu")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)
    if args.p_star and not (args.p_star / "config.json").is_file():
        print(f"--p-star {args.p_star}: no config.json in it: give a folder in the hub's format",
              file=sys.stderr)  # fmt: skip
        return 2
    if args.device == "cuda" and not gpu():
        print("torch sees no GPU here. The dry run: --device cpu --tiny", file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    passed_on = ["--device", args.device, *(["--tiny"] if args.tiny else [])]
    if args.p_star:
        passed_on += ["--p-star", str(args.p_star.resolve())]
    patience = DRY if args.tiny else 1.0
    parts = [Part(p.name, patience * p.seconds) for p in PARTS if p.name in args.parts]
    facts = {"device": gpu() if args.device == "cuda" else "cpu", "tiny": args.tiny}
    rows: list[Row] = []
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and so the part that runs is ended
    with tempfile.TemporaryDirectory(prefix="acceptance-") as scratch:
        around = environment(Path(scratch, "site"), args.device)
        run = Acceptance(parts, args.out, Path(scratch), passed_on, around)
        for row in run.run():
            rows.append(row)
            print(f"{row.part}: {row.what}: {row.measured} ({row.status})", flush=True)
            write(args.out / "acceptance.json", rows,
                  {**facts, "seconds": round(time.monotonic() - began, 1)})  # fmt: skip
    print(f"\n{table(rows)}\n\n{args.out / 'acceptance.json'}")
    return 0 if all(row.status in ("ok", "skipped") for row in rows) else 1


def gpu() -> str | None:
    """The GPU's name, asked in a process of its own: this one never takes a device."""
    program = (
        "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
    )
    asked = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or None


if __name__ == "__main__":
    sys.exit(main())
