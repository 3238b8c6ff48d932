"""The wheel that a job's processes import: whole, the same for the same code, without needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from email import message_from_bytes
from importlib.metadata import distribution
from pathlib import Path

import pytest

from recalltrap_cluster.jobs.wheel import build_wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_equal_code_makes_an_equal_wheel(wheel: Path, tmp_path: Path) -> None:
    again = build_wheel(tmp_path)
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_it_holds_all_that_a_study_needs(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("recalltrap/run/run.py", "recalltrap_studies/mog/named/quick.yaml",
                   "recalltrap_cluster/jobs/entry.py", "recalltrap/py.typed"):  # fmt: skip
        assert wanted in names
    assert any(name.startswith("recalltrap_analysis/report/templates/") for name in names)
    assert not [name for name in names if "__pycache__" in name]


def test_its_version_says_its_content_and_pip_has_nothing_to_fetch(wheel: Path) -> None:
    opened = zipfile.ZipFile(wheel)
    (name,) = (name for name in opened.namelist() if name.endswith("/METADATA"))
    metadata = message_from_bytes(opened.read(name))
    assert metadata["Version"] == wheel.name.split("-")[1]
    assert metadata["Version"].startswith(f"{distribution('recalltrap').version}+")
    assert metadata.get_all("Requires-Dist") is None


@pytest.mark.slow
def test_what_pip_makes_of_it_is_found_first_and_knows_its_commit(
    wheel: Path, tmp_path: Path
) -> None:
    """As Ray installs it: by `pip install --target`, and the folder first on the path."""
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-index",
         "--disable-pip-version-check", str(wheel), f"--target={tmp_path / 'there'}"],
        check=True,
    )  # fmt: skip
    program = (
        "import json, recalltrap.paths\n"
        "from recalltrap.registry import find_kind, room\n"
        "from recalltrap.store.provenance import collect\n"
        "room('summary'), room('jobs')\n"
        "print(json.dumps([recalltrap.paths.__file__, find_kind('mog').__module__, collect()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "there")},
    )  # fmt: skip
    file, kind, found = json.loads(done.stdout)
    assert Path(file).is_relative_to(tmp_path / "there")
    assert kind == "recalltrap_studies.mog.kind"
    assert found["versions"]["recalltrap"] == wheel.name.split("-")[1]
    source = zipfile.ZipFile(wheel)
    (name,) = (name for name in source.namelist() if name.endswith("recalltrap_source.json"))
    assert found["commit"] == json.loads(source.read(name))["commit"]
