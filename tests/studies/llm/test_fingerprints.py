"""Models and corpora of the user's: content decides, wherever it lies and however it is written."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.errors import InputError
from recalltrap.graph import Cell
from recalltrap.identity import canonical_json
from recalltrap.orderings import Ordering
from recalltrap.results.results import open_run
from recalltrap.run.run import _record_launch, make_context, plan_study
from recalltrap.store.contents import Content
from recalltrap.store.storage import Storage
from recalltrap.study.named_studies import load_study
from recalltrap_studies.llm.contents import opened, spec_of
from recalltrap_studies.llm.fingerprints import (
    architecture_identity,
    corpus_identity,
    model_identity,
)
from recalltrap_studies.llm.kind import KIND
from recalltrap_studies.llm.settings import LlmSettings

MODELS = ("p_star", "p_prime", "student", "p_target")


@pytest.fixture(autouse=True)
def home(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_model: PreTrainedModel,
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> Path:
    """The home folder with a model in `arch`; the working directory is `here`, beside it."""
    home = tmp_path / "home"
    (tmp_path / "here").mkdir()
    tiny_model.save_pretrained(home / "arch")
    tiny_tokenizer.save_pretrained(home / "arch")
    (home / "text.txt").write_text("The fox.\nThe hill.\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path / "here")
    return home


def cell(**settings: Any) -> Cell:
    return KIND.cell(Ordering.model_validate("K-A"), LlmSettings(**settings), 0)


def ids(cell: Cell) -> list[str]:
    return [cell.id, cell.setting, *sorted(node.id for node in cell.nodes)]


def everywhere(folder: str) -> Cell:
    return cell(**dict.fromkeys(MODELS, folder))


SPELLINGS = ("~/arch", "{home}/arch", "{home}/./arch/", "../home/arch", "file://{home}/arch",
             "file://~/arch", "link", "copy", "{home}/moved")  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_folders_name_and_place_decide_nothing(spelling: str, home: Path) -> None:
    before = everywhere("~/arch")
    os.symlink(home / "arch", "link")
    shutil.copytree(home / "arch", "copy", copy_function=shutil.copyfile)  # other times
    if "moved" in spelling:
        os.rename(home / "arch", home / "moved")
    after = everywhere(spelling.replace("{home}", str(home)))
    assert ids(before) == ids(after)
    hashed = b"".join(node.hashed for node in after.nodes) + canonical_json(after.identity)
    assert str(home).encode() not in hashed
    assert b"arch" not in hashed.replace(b'"architecture"', b"")
    for node in after.nodes:
        for name in ("p_star", "architecture"):
            if name in node.config:
                assert Path(spec_of(node.config[name]), "config.json").is_file()


def test_pathlib_and_the_times_of_files_decide_nothing(home: Path) -> None:
    before = everywhere("~/arch")
    for path in (home / "arch").iterdir():
        os.utime(path, (1, 1))
    (home / "arch/README.md").write_text("what it is")
    (home / "arch/.DS_Store").write_bytes(b"x")
    (home / "arch/._config.json").write_bytes(b"x")
    (home / "arch/.cache").mkdir()
    assert ids(everywhere(home / "arch")) == ids(before)  # type: ignore[arg-type]


CHANGES = {
    "config.json": set(MODELS),
    "model.safetensors": {"p_star"},
    "tokenizer.json": {"p_star"},
    "tokenizer_config.json": {"p_star"},
    "generation_config.json": {"p_star"},
    "chat_template.jinja": {"p_star"},
    "tokenizer.model": {"p_star"},
    "adapter_config.json": {"p_star"},
    "pytorch_model.bin": set(),
    "notes.txt": set(),
}
"""Which settings count a file of a folder, in whose name it is given."""


@pytest.mark.slow
@pytest.mark.parametrize("file", CHANGES)
@pytest.mark.parametrize("field", MODELS)
def test_what_is_read_of_a_folder_decides_also_with_its_old_size_and_time(
    field: str, file: str, home: Path
) -> None:
    path = home / "arch" / file
    path.touch()
    before, times = cell(**{field: "~/arch"}), path.stat()
    data = path.read_bytes()
    path.write_bytes(data[:-1] + (b" " if data[-1:] != b" " else b"\n"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = cell(**{field: "~/arch"})
    assert (before.id != after.id) == (field in CHANGES[file])
    assert (ids(before) != ids(after)) == (field in CHANGES[file])


def test_a_corpus_is_its_text(home: Path) -> None:
    before = cell(corpus="~/text.txt")
    (home / "text.txt").rename("other name.txt")
    assert ids(cell(corpus=Path("other name.txt"))) == ids(before)
    Path("other name.txt").write_text("The fox.\nThe hall.\n")
    assert ids(cell(corpus="other name.txt")) != ids(before)


def test_two_spellings_of_one_folder_are_one_cell(home: Path, tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(
        "name: x\nkind: llm\nquestion: x?\norderings: [K-A]\nseeds: 1\n"
        f"settings: {{p_star: ~/arch, student: ~/arch, p_target: ~/arch}}\n"
        f"grid: {{p_prime: [~/arch, {home}/arch]}}\n"
    )
    with pytest.raises(InputError, match="stands in the grid twice"):
        load_study(study)


@pytest.mark.parametrize("name", ["nano-large", "grammar", "owner/name"])
def test_a_name_of_ours_is_no_folder_that_happens_to_be_called_so(name: str) -> None:
    before = [f(name) for f in (architecture_identity, model_identity, corpus_identity)]
    assert before == [name] * 3, "names stand for themselves, as they always have"
    if name == "nano-large":
        os.mkdir(name)
        Path(name, "config.json").write_text("{}")
        assert architecture_identity(name) == model_identity(name) == name
    if name == "grammar":
        Path(name).write_text("a\nb\n")
        assert corpus_identity(name) == name


def test_a_content_travels_and_is_hashed_without_its_path(home: Path) -> None:
    found = model_identity("~/arch")
    assert isinstance(found, Content)
    back = pickle.loads(pickle.dumps(found))
    assert (back, back.spec, back.path) == (found, "~/arch", str(home / "arch"))
    assert canonical_json(found) == canonical_json({"sha256": found["sha256"]})


def test_where_it_is_built_the_content_must_be_the_planned_one(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = architecture_identity("~/arch")
    assert opened(planned, "student") == str(home / "arch")
    home.rename(tmp_path / "workers-home")
    with pytest.raises(InputError, match=r"settings\.student = '~/arch' .*it is gone from here"):
        opened(planned, "student")
    monkeypatch.setenv("HOME", str(tmp_path / "workers-home"))  # a machine with another home
    assert opened(planned, "student") == str(tmp_path / "workers-home/arch")
    (tmp_path / "workers-home").rename(home)
    (home / "arch/config.json").write_text("{}")
    with pytest.raises(InputError, match=r"its content changed after the study was planned"):
        opened(planned, "student")


@pytest.mark.parametrize(
    ("field", "spec", "reason"),
    [
        ("p_prime", "~nobody-of-that-name/arch", "no such user"),
        ("p_prime", "$HOME/arch", r"\$HOME is not replaced"),
        ("student", "~/arch/config.json", "is a file: give the folder"),
        ("p_target", "file://~/other", "no such folder"),
        ("p_star", "~/other", "no such folder"),
        ("corpus", "~/other.txt", "no such file"),
        ("corpus", "file://host/text.txt", "a file URI is"),
    ],
)
def test_what_is_not_there_is_refused_by_its_setting(field: str, spec: str, reason: str) -> None:
    with pytest.raises(InputError, match=rf"settings\.{field} = .*{reason}"):
        KIND.check([cell(**{field: spec})])


@pytest.mark.slow
@pytest.mark.parametrize("later", ["moved", "changed", "gone", "elsewhere"])
def test_a_runs_views_need_no_folder_any_more(
    later: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished run stays finished in its report, whatever became of its models."""
    shutil.copytree(home / "arch", "arch")
    study = tmp_path / "study.yaml"
    study.write_text(
        "name: x\nkind: llm\nquestion: x?\norderings: [K-A]\nseeds: 2\n"
        "settings: {p_star: arch, p_prime: ~/arch, student: ~/arch, p_target: ~/arch,"
        " sample_tokens: 16, align_tokens: 16}\n"
    )
    storage = Storage(tmp_path / "runs")
    storage.prepare()
    plan = plan_study(load_study(study), storage)
    context = make_context(plan, storage)
    _record_launch(plan, context)
    if later == "moved":
        os.rename(home / "arch", home / "moved")
    elif later == "changed":
        (home / "arch/config.json").write_text("{}")
        Path("arch/config.json").write_text("{}")
    elif later == "gone":
        shutil.rmtree("arch")
    else:
        monkeypatch.chdir(home)
    views = open_run("x", storage.location)
    assert [cell.id for cell in views.planned()] == [cell.id for cell in plan.cells]
    assert [node.id for node in views.planned()[1].nodes] == [n.id for n in plan.cells[1].nodes]
    assert views.table("planned")["cell_id"].to_pylist() == sorted(cell.id for cell in plan.cells)
    if later in ("changed", "moved"):  # and the next plan sees what there is now
        assert load_study(study).cells()[0].id != plan.cells[0].id
