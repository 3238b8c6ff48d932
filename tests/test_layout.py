"""The rooms: who may import whom, read from the sources, and the folder called `platform`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.structure import PACKAGES, arrows, circles, folder_sizes, imports

ROOT = Path(__file__).parents[1]
ROOMS = {package: ROOT / room / package for package, room in PACKAGES.items()}
ALLOWED = {
    "recalltrap": {"recalltrap"},
    "recalltrap_studies": {"recalltrap", "recalltrap_studies"},
    "recalltrap_cluster": {"recalltrap", "recalltrap_cluster"},
    "recalltrap_analysis": {"recalltrap", "recalltrap_analysis"},
}
FOREIGN = {
    "recalltrap": {"torch", "ray"},  # the platform starts fast and knows no framework
    "recalltrap_analysis": {"torch", "ray"},
}
FOLDERS = {"platform", "studies", "cluster", "analysis", "tests"}
SOURCES = [(room, path) for room, folder in ROOMS.items() for path in sorted(folder.rglob("*.py"))]


def forbidden(room: str, path: Path, source: str) -> list[str]:
    """The imports of a source that its room may not have."""
    found = []
    for module, _ in imports(source):
        top = module.partition(".")[0]
        launcher = (
            room == "recalltrap_studies"
            and "llm" in path.parts
            and (module + ".").startswith("recalltrap_cluster.training.")
        )
        strange = top in ROOMS and top not in ALLOWED[room] and not launcher
        if strange or top in FOREIGN.get(room, set()):
            found.append(module)
    return found


def test_imports_go_one_way() -> None:
    assert not [
        f"{path.relative_to(ROOT)} imports {module}"
        for room, path in SOURCES
        for module in forbidden(room, path, path.read_text())
    ]


@pytest.mark.parametrize(
    ("room", "file", "source", "refused"),
    [
        ("recalltrap", "run.py", "import recalltrap_cluster.executor", True),
        ("recalltrap", "run.py", "def f():\n    from ray import tune", True),
        ("recalltrap", "run.py", "import_module('recalltrap_analysis.report.build')", True),
        ("recalltrap_analysis", "a.py", "import recalltrap_studies", True),
        ("recalltrap_analysis", "a.py", "import torch.nn", True),
        ("recalltrap_analysis", "a.py", "from recalltrap.results.results import Results", False),
        ("recalltrap_cluster", "a.py", "import recalltrap_studies.mog", True),
        ("recalltrap_studies", "mog/a.py", "import recalltrap_cluster.training", True),
        ("recalltrap_studies", "llm/a.py", "import recalltrap_cluster.training", False),
        (
            "recalltrap_studies",
            "llm/a.py",
            "from recalltrap_cluster.joining.session import x",
            True,
        ),
    ],
)
def test_the_reader_of_imports_sees_a_wrong_one(
    room: str, file: str, source: str, refused: bool
) -> None:
    assert bool(forbidden(room, Path(file), source)) is refused


def test_every_room_has_its_folder() -> None:
    for folder in ROOMS.values():
        assert (folder / "__init__.py").is_file()
        assert (folder / "py.typed").is_file()


def test_no_other_top_level_folders() -> None:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    tops = {line.partition("/")[0] for line in listed.stdout.splitlines() if "/" in line}
    assert {top for top in tops if not top.startswith(".")} == FOLDERS


def test_the_standard_library_keeps_its_platform_module() -> None:
    assert not (ROOT / "platform/__init__.py").exists()
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import platform; "
        "print(platform.__file__); platform.python_version()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert not Path(done.stdout.strip()).is_relative_to(ROOT / "platform")
    assert Path(done.stdout.strip()).name == "platform.py"


def test_the_command_line_starts_without_the_frameworks() -> None:
    program = (
        "import sys, recalltrap.cli.command_line, recalltrap_cluster.placement.planning\n"
        "print([m for m in ('torch', 'ray', 'transformers', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_file_stays_small() -> None:
    lengths = {path: len(path.read_text().splitlines()) for _, path in SOURCES}
    large = {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > 400}
    assert not large, "split them where their subject changes"


def test_a_folder_holds_what_a_reader_takes_in_at_once() -> None:
    large = {folder: size for folder, size in folder_sizes(ROOT).items() if size > 15}
    assert not large, "give what belongs together a folder of its own"


def test_arrows_between_folders_go_one_way() -> None:
    """Draw them with `python tests/structure.py`."""
    assert not circles(arrows(ROOT))


def test_a_circle_would_be_found() -> None:
    ring = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": {"e"}, "e": set()}
    assert circles(ring) == [["b", "c"]]
    assert circles({**ring, "e": {"a"}}) == [["a", "b", "c", "d", "e"]]
    assert not circles({**ring, "c": {"d"}})


@pytest.mark.parametrize("room", ROOMS)
def test_tests_lie_where_what_they_test_lies(room: str) -> None:
    tests = ROOT / "tests" / PACKAGES[room]
    for path in tests.rglob("test_*.py"):
        folder = ROOMS[room] / path.parent.relative_to(tests)
        assert folder.is_dir(), f"{path.relative_to(ROOT)} mirrors no folder"
