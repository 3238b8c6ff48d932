"""The parts of the acceptance, each run by `acceptance.py` as `python -m tests.gpu.parts NAME`.

A part appends a row to a file as soon as it has measured something, so that what is measured
stands whatever happens after. Language models decode without `torch.compile` wherever a study is
run: each model and batch would be compiled for half a minute, and decodes for seconds. How fast
the compiled step is, `language` measures; that it is right, `test_cuda.py`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.gpu.acceptance import ROOT, Row, Status

BENCHMARKS = ROOT / "tests" / "benchmarks"
SIZES = ("smollm2-135m", "smollm2-360m")
WIDE = 2560
"""Rows that fill an H100: 4 million components of samples at once."""
CORPUS = 70_000, 4000
"""Words tried, and documents, of the text that p* learns."""
FASTER, ROOFLINE, MFU = 1000.0, 0.6, 0.40
"""Goals: times the plain loop, share of the memory roofline, share of the matrix product."""


@dataclass
class Report:
    """Where a part's rows go, and what all parts are told."""

    part: str
    rows: Path
    scratch: Path
    device: str
    tiny: bool
    p_star: str | None
    began: float = field(default_factory=time.monotonic)

    def row(self, what: str, goal: str, measured: str, status: Status) -> None:
        """Append a row; its seconds are those since the last one."""
        now = time.monotonic()
        line = json.dumps(asdict(Row(self.part, what, goal, measured, status, now - self.began)))
        self.began = now
        with open(self.rows, "a") as file:
            file.write(line + "\n")

    def goal(self, what: str, least: float, value: float, unit: str = "") -> None:
        """A number with a goal; tiny sizes have none."""
        met: Status = "ok" if self.tiny or value >= least else "missed"
        self.row(what, "-" if self.tiny else f">= {least:g}{unit}", f"{value:.3g}{unit}", met)

    def fact(self, what: str, measured: str) -> None:
        """A number without a goal."""
        self.row(what, "-", measured, "ok")

    def holds(self, what: str, goal: str, measured: str, holds: bool) -> None:
        """Something that is right or wrong."""
        self.row(what, goal, measured, "ok" if holds else "failed")


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run to the end, and keep what it wrote on stdout, which also stands in the part's log: line
    by line, so that the log of one that runs out of time says how far it came."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | variables
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    return subprocess.CompletedProcess(command, process.wait(), "".join(lines))


def tests(report: Report) -> None:
    """The tests marked `gpu`: only the files that have one, for others may need what isn't here."""
    files = [p for p in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in p.read_text()]
    results = report.scratch / "junit.xml"
    options = ["-m", "gpu", "-q", "-p", "no:cacheprovider", f"--junitxml={results}"]
    done = run(sys.executable, "-m", "pytest", *options, *map(str, sorted(files)))
    if not results.exists():
        raise SystemExit(f"pytest wrote no results (exit {done.returncode})")
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        outcome = {child.tag: child.get("message", "") for child in case}
        status: Status = "ok"
        if "skipped" in outcome:
            status = "skipped"
        elif outcome:
            status = "failed"
        message = " ".join(outcome.values())[:160].replace("\n", " ").replace("|", "/")
        report.row(case.get("name", "?"), "passes", message or "passed", status)


def equality(report: Report) -> None:
    """A mixture and a nano language study, on the CPU and on the device at the same time."""
    import recalltrap as rt
    from tests.gpu import comparison, studies

    made = [studies.mixture(tiny=report.tiny), studies.language(tiny=report.tiny)]
    files = [report.scratch / f"{study['kind']}.json" for study in made]
    for study, file in zip(made, files, strict=True):
        file.write_text(json.dumps(study))
    program = (
        "import sys, torch, recalltrap as rt; torch.set_num_threads(1)\n"
        "for path in sys.argv[2:]: rt.run(path, storage=sys.argv[1], local=True)"
    )
    storages = [report.scratch / "cpu", report.scratch / "device"]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(storage), *map(str, files)],
            env=os.environ | {"RECALLTRAP_DEVICE": device, "RECALLTRAP_COMPILE": "0"},
        )
        for storage, device in zip(storages, ("cpu", report.device), strict=True)
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        raise SystemExit(f"a run ended with {codes} (CPU, {report.device})")
    for study in made:
        both = [rt.open_run(str(study["name"]), str(storage)) for storage in storages]
        for check in comparison.compare(both[0], both[1], str(study["kind"])):
            report.holds(check.what, check.tolerance, check.found, check.holds)


def throughput(report: Report) -> None:
    """The mixture program's inner loop in one wide block, against a plain loop over cells; then in
    a block as studies run it."""
    script, ours = str(BENCHMARKS / "mog_throughput.py"), "eager" if report.tiny else "compiled"
    options = ["--device", report.device, "--one-block", "--json", "--cores", "1"]
    options += ["--turns", "1" if report.tiny else "2", "--variants", ours]
    for count in [20] if report.tiny else [WIDE, 20]:
        done = run(sys.executable, script, *options, "--rows", str(count))
        if done.returncode:
            raise SystemExit(f"mog_throughput.py ended with {done.returncode}")
        rates = {(r["variant"], r["what"]): float(r["updates_per_second"])
                 for r in json.loads(done.stdout)}  # fmt: skip
        for what in ("update", "iteration"):
            rate, plain = rates[ours, what], rates["plain loop", what]
            name = f"{what}, {count} rows ({rate:,.0f}/s)"
            if count == WIDE:
                report.goal(name, FASTER, rate / plain, " x the plain loop")
            else:
                report.fact(name, f"{rate / plain:.3g} x the plain loop")


def language(report: Report) -> None:
    """Sampling against the memory's rate, training against the matrix product's, for each size."""
    failed = []
    for size in ("nano-small",) if report.tiny else SIZES:
        found = report.scratch / f"{size}.json"
        options = ["--sizes", size, "--turns", "1", "--no-plain", "--no-stages", "--compile-layers"]
        command = [sys.executable, str(BENCHMARKS / "llm.py"), *options, "--json", str(found)]
        if run(*command).returncode:
            failed.append(size)
            report.row(f"{size}: llm.py", "ends", "failed, see the log", "failed")
            continue
        content = json.loads(found.read_text())
        machine = content["machine"]
        report.fact(f"{size}: ceilings", f"copy {machine['bandwidth'] / 1e9:,.0f} GB/s, "
                    f"matrix product {machine['matmul'] / 1e12:,.1f} TFLOP/s")  # fmt: skip
        for rate in content["rates"]:
            name = f"{size}: {rate['what']} ({rate['rates']['ours']:,.0f} tok/s)"
            if rate["what"] == "sample":
                report.goal(name, ROOFLINE, rate["share"], " of the memory roofline")
            elif rate["what"] == "train":
                report.goal(name, MFU, rate["share"], " MFU")
            else:
                report.fact(name, f"{rate['share']:.3g} MFU")


def one_gpu(report: Report) -> None:
    """`llm/one-gpu-ppo` scaled down, both orderings, from the command to its report."""
    from tests.gpu import studies

    corpus = report.scratch / "corpus.txt"
    studies.write_corpus(corpus, *((300, 60) if report.tiny else CORPUS))
    study = studies.one_gpu(corpus, report.p_star, tiny=report.tiny)
    run_study(report, study, "gpu/one-gpu", cells=2)
    _stages(report, "gpu/one-gpu")


def phase(report: Report) -> None:
    """The named study `mog/phase` with half of its seeds, from the command to its report."""
    if not report.tiny:
        run_study(report, "mog/phase", "mog/phase", 4200, "seeds=10")
        return
    from tests.gpu import studies

    study = studies.mixture(tiny=True) | {"name": "gpu/phase"}
    run_study(report, study, "gpu/phase", cells=4, RECALLTRAP_COMPILE="0")


def run_study(
    report: Report,
    study: str | dict[str, Any],
    name: str,
    cells: int,
    *overrides: str,
    **variables: str,
) -> None:
    """`recalltrap run --local`: its exit, its cells, its report, its seconds."""
    import recalltrap as rt

    if not isinstance(study, str):
        path = report.scratch / "study.json"
        path.write_text(json.dumps(study))
        study = str(path)
    storage = str(report.scratch / "runs")
    command = "import sys; from recalltrap.cli.command_line import main; main()"
    began = time.monotonic()
    options = ["--local", "--storage", storage, *(w for o in overrides for w in ("-o", o))]
    done = run(sys.executable, "-c", command, "run", study, *options, **variables)
    seconds = time.monotonic() - began
    results = rt.open_run(name, storage)
    question = "select count(*) as n from cells where status = 'succeeded'"
    succeeded = results.sql(question)["n"][0].as_py()
    report.holds(f"{name}: cells", f"{cells} succeed", f"{succeeded} of {cells}",
                 succeeded == cells)  # fmt: skip
    values = results.sql("select value from metrics where metric = 'reward'")["value"].to_pylist()
    finite = bool(values) and all(math.isfinite(value) for value in values)
    report.holds(f"{name}: rewards", "finite", f"{len(values)} values", finite)
    page = Path(results.folder, "report", "index.html")
    report.holds(f"{name}: command", "exit 0 and a report",
                 f"exit {done.returncode}, {'a' if page.is_file() else 'no'} report",
                 done.returncode == 0 and page.is_file())  # fmt: skip
    report.fact(f"{name}: wall time", f"{seconds:.1f} s, report included")


def _stages(report: Report, name: str) -> None:
    """Seconds of each stage of a run, all executions together."""
    import recalltrap as rt

    question = """
        select stage, sum(wall_seconds) as s, count(*) as n from costs
        where stage != 'evaluate' group by stage order by s desc"""
    rows = rt.open_run(name, str(report.scratch / "runs")).sql(question).to_pylist()
    said = ", ".join(f"{row['stage']} {row['s']:.1f} s ({row['n']})" for row in rows)
    report.fact(f"{name}: stages", said)


RUN: dict[str, Callable[[Report], None]] = {
    "tests": tests,
    "equality": equality,
    "throughput": throughput,
    "language": language,
    "one-gpu": one_gpu,
    "phase": phase,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=RUN)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--p-star")
    args = parser.parse_args(arguments)
    args.scratch.mkdir(parents=True, exist_ok=True)
    RUN[args.part](Report(args.part, args.rows, args.scratch, args.device, args.tiny, args.p_star))


if __name__ == "__main__":
    main()
