"""The files for real clusters, as far as a machine without one can judge them."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
LOCKED = dict(
    line.partition(";")[0].split("==")
    for line in (ROOT / "requirements.lock").read_text().splitlines()
    if "==" in line
)
VERSION = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
RAY_UP = YAML(typ="safe").load((CLUSTER / "ray-up.yaml").read_text())
RAY_JOB = YAML(typ="safe").load((CLUSTER / "rayjob.yaml").read_text())
SLURM = CLUSTER / "recalltrap.slurm"


def check_ray_up(content: dict[str, Any]) -> None:
    """Against the schema that Ray ships."""
    schema = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
    jsonschema.validate(content, json.loads(schema.read_text()))


def check_ray_job(content: dict[str, Any]) -> None:
    schema = Path(__file__).with_name("kuberay_rayjob.schema.json")
    jsonschema.validate(content, json.loads(schema.read_text()))


def test_ray_takes_the_cluster_file() -> None:
    check_ray_up(RAY_UP)
    wrong = {**RAY_UP, "max_worker": 3}
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        check_ray_up(wrong)
    types = RAY_UP["available_node_types"]
    assert RAY_UP["head_node_type"] in types
    assert sum(kind.get("max_workers", 0) for kind in types.values()) <= RAY_UP["max_workers"]


def test_kuberay_takes_the_job() -> None:
    check_ray_job(RAY_JOB)
    wrong = copy.deepcopy(RAY_JOB)
    del wrong["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["maxReplicas"]
    with pytest.raises(jsonschema.ValidationError, match="maxReplicas"):
        check_ray_job(wrong)
    wrong = copy.deepcopy(RAY_JOB)
    wrong["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0
    with pytest.raises(jsonschema.ValidationError, match="0 is not of type 'string'"):
        check_ray_job(wrong)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("memory: 16Gi", "memory: 16GB"),
        ("key: auth_token", "kee: auth_token"),
        ("envFrom:", "envform:"),
        ("medium: Memory", "medum: Memory"),
        ("sizeLimit: 64Gi", "sizeLimit: 64 GB"),
        ("mountPath:", "mountpath:"),
        ("backoffLimit: 2", "backoffLimit: two"),
    ],
)
def test_kuberay_takes_no_slip_of_the_pen(right: str, wrong: str) -> None:
    """Each was refused by the CRD's own fields and by Kubernetes' client, too (2026-11-27)."""
    text = (CLUSTER / "rayjob.yaml").read_text()
    assert right in text
    with pytest.raises(jsonschema.ValidationError):
        check_ray_job(YAML(typ="safe").load(text.replace(right, wrong)))


def images() -> list[str]:
    pods = [
        RAY_JOB["spec"]["rayClusterSpec"]["headGroupSpec"],
        *RAY_JOB["spec"]["rayClusterSpec"]["workerGroupSpecs"],
    ]
    containers = [c for pod in pods for c in pod["template"]["spec"]["containers"]]
    return [RAY_UP["docker"]["image"], *(container["image"] for container in containers)]


def test_they_name_the_versions_that_are_locked() -> None:
    assert RAY_JOB["spec"]["rayClusterSpec"]["rayVersion"] == LOCKED["ray"]
    assert VERSION is not None
    assert {image.rpartition(":")[2] for image in images()} == {VERSION[1]}
    dockerfile = (CLUSTER / "Dockerfile").read_text()
    assert f"recalltrap:{VERSION[1]}" in dockerfile
    assert "-r requirements.lock" in dockerfile


def test_the_image_copies_what_there_is() -> None:
    text = (CLUSTER / "Dockerfile").read_text()
    copied = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY ")]
    for name in [name for names in copied for name in names]:
        assert (ROOT / name).exists()
    packages = re.findall(r'"(\w+)/recalltrap\w*"', (ROOT / "pyproject.toml").read_text())
    assert set(packages) <= {name for names in copied for name in names}
    python = re.search(r"^FROM python:(\d+)\.(\d+)", text, re.MULTILINE)
    assert python is not None
    assert (int(python[1]), int(python[2])) >= (3, 11)
    assert "\nUSER ray\n" in text, "nothing runs as root"


def test_authentication_stays_on_and_no_file_holds_a_token() -> None:
    starts = [*RAY_UP["head_start_ray_commands"], *RAY_UP["worker_start_ray_commands"]]
    for command in starts:
        assert "ray start" not in command or "RAY_AUTH_MODE=token" in command
    for pod in (
        RAY_JOB["spec"]["rayClusterSpec"]["headGroupSpec"],
        *RAY_JOB["spec"]["rayClusterSpec"]["workerGroupSpecs"],
    ):
        (container,) = pod["template"]["spec"]["containers"]
        environment = {each["name"]: each for each in container["env"]}
        assert environment["RAY_AUTH_MODE"]["value"] == "token"
        assert "secretKeyRef" in environment["RAY_AUTH_TOKEN"]["valueFrom"]
    assert "RAY_AUTH_MODE=token" in SLURM.read_text()


def test_the_slurm_script_is_bash() -> None:
    subprocess.run(["bash", "-n", str(SLURM)], check=True)
    refused = subprocess.run(["bash", str(SLURM)], capture_output=True, text=True)
    assert refused.returncode != 0
    assert "usage: sbatch" in refused.stderr


def test_the_slurm_script_ends_what_it_started(tmp_path: Path) -> None:
    """With stand-ins for Slurm: the run's status is the job's, and the token's file is gone."""
    for name, body in {
        "scontrol": "echo one; echo two",
        "sleep": "true",
        # the run ends when both nodes have been started, as a run that uses them would
        "srun": 'echo "$@" >> "$LOG"; case "$*" in *"recalltrap run"*) '
        'until [ "$(wc -l < "$LOG")" -ge 3 ]; do /bin/sleep 0.05; done; exit 7;; esac; '
        "exec python3 -c 'import time; time.sleep(60)'",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    log = tmp_path / "log"
    done = subprocess.run(
        ["bash", str(SLURM), "mog/quick", "-o", "seeds=2"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path), "LOG": str(log),
             "SLURM_JOB_NODELIST": "x", "SLURM_JOB_ID": "12", "RECALLTRAP_STORAGE": "/shared"},
        capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert done.returncode == 7, done.stderr
    lines = log.read_text().splitlines()
    assert any("recalltrap run mog/quick -o seeds=2 --address one:20012" in line for line in lines)
    assert any("--nodelist=two" in line and "--address=one:20012" in line for line in lines)
    assert not list(tmp_path.glob(".recalltrap-token-*"))


@pytest.mark.parametrize(
    ("tool", "file"), [("shellcheck", "recalltrap.slurm"), ("hadolint", "Dockerfile")]
)
def test_their_own_checkers_have_nothing_to_say(tool: str, file: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} isn't installed")
    subprocess.run([tool, str(CLUSTER / file)], check=True)
