"""Completion: what is offered in each place, and in a real bash."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import get_completion_class
from click.testing import CliRunner

from recalltrap.cli import completion
from recalltrap.cli.command_line import main
from recalltrap.run.run import run
from recalltrap.study.named_studies import named_studies

StudyFile = Callable[..., str]


def offered(*words: str) -> list[str]:
    """What is offered for the last of the words; files and folders as `<file>` and `<dir>`."""
    shell = get_completion_class("bash")
    assert shell is not None
    found = shell(main, {}, "recalltrap", completion.VARIABLE).get_completions(
        list(words[:-1]), words[-1]
    )
    return [item.value if item.type == "plain" else f"<{item.type}>" for item in found]


@pytest.fixture
def stored(study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RECALLTRAP_STORAGE", storage)
    run(study_file(orderings=["K-A", "K-A@p'"]), storage=storage, local=True)
    return storage


def test_commands_and_studies() -> None:
    assert set(offered("")) == set(main.commands)
    for command in ("run", "plan", "forecast", "check", "show"):
        assert offered(command, "") == list(named_studies())
        assert offered(command, "mog/qu") == ["mog/quick"]
        assert offered(command, "my") == ["<file>"]
    assert offered("run", "mog/quick", "mog/controls", "mog/fig") == ["mog/figure1", "mog/figure2"]
    assert offered("completion", "") == ["bash", "zsh", "fish"]
    assert offered("new", "mine", "--kind", "") == ["llm", "mog"]
    assert offered("run", "--storage", "x") == ["<dir>"]


def test_fields_of_the_study_that_is_named() -> None:
    first = offered("run", "mog/quick", "-o", "")
    assert {"seeds=", "settings.", "grid.", "resources.", "margin="} <= set(first)
    assert "looks=" not in first
    settings = offered("run", "mog/quick", "-o", "settings.")
    assert {"settings.spacing=", "settings.kl_weight="} <= set(settings)
    assert len(settings) == len(set(settings))
    assert "settings.prompt=" not in settings
    assert offered("plan", "llm/nano", "-o", "grid.prompt_") == ["grid.prompt_holdout="]
    assert {"settings.spacing=", "settings.prompt="} <= set(offered("run", "-o", "settings."))
    assert "settings.algorithm=ppo" in offered("run", "mog/quick", "-o", "settings.algorithm=")
    assert offered("run", "llm/nano", "-o", "settings.packing=t") == ["settings.packing=true"]
    assert offered("run", "mog/quick", "-o", "settings.nonesuch") == []


def test_fields_of_a_file(study_file: StudyFile) -> None:
    path = study_file()
    assert "settings.sft_iterations=" in offered("plan", path, "-o", "settings.sft")
    Path(path).write_text("kind: [")
    assert offered("plan", path, "-o", "settings.") == []


def test_runs_and_what_is_in_them(stored: str) -> None:
    for command in ("status", "query", "report", "export"):
        assert offered(command, "") == ["toy/test"]
    assert offered("status", "x") == ["<dir>"]
    assert offered("export", "toy/test", "") == ["K-A", "K-A@p'"]
    assert offered("export", "toy/test", "K-A", "") == ["0", "1", "2"]
    assert offered("export", "toy/test", "--at", "") == ["kl_weight=0.5", "kl_weight=2.0"]
    assert offered("export", "nonesuch", "") == []
    assert offered("status", "--storage", f"{stored}-else", "") == ["<dir>"]


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_shell_has_a_script(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert f"{completion.VARIABLE}={shell}_complete" in done.stdout
    assert CliRunner().invoke(main, ["completion", "tcsh"]).exit_code == 2


def test_no_framework_is_imported() -> None:
    program = (
        "import sys; from click.shell_completion import get_completion_class as get;"
        "from recalltrap.cli.command_line import main;"
        "shell = get('bash')(main, {}, 'recalltrap', '_RECALLTRAP_COMPLETE');"
        "assert shell.get_completions(['run', 'llm/nano', '-o'], 'settings.');"
        "assert not {'torch', 'ray', 'transformers', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.fixture
def program(tmp_path: Path) -> dict[str, str]:
    """An environment whose PATH has the command, as it would be installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    file = folder / "recalltrap"
    file.write_text(f"#!{sys.executable}\nfrom recalltrap.cli.command_line import main\nmain()\n")
    file.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


CASES = {
    "recalltrap run mog/qu": ["mog/quick"],
    "recalltrap plan mog/quick -o see": ["seeds="],
    "recalltrap plan mog/quick -o seeds=3 -o settings.spac": ["settings.spacing="],
    "recalltrap plan -o settings.spacing=2 mog/qu": ["mog/quick"],
    # bash's word begins after the `=`, and what it puts there does, too
    "recalltrap plan mog/quick -o settings.algorithm=dpo_off": ["dpo_offline"],
    "recalltrap export toy/test K-A@": [r"p\'"],
    "recalltrap export toy/test K-A 0 out --at kl_weight=": ["0.5", "2.0"],
}
FUNCTION = r"""
eval "$(recalltrap completion bash)"
[[ $(complete -p recalltrap) == *_recalltrap_completion* ]] || exit 9
COMP_WORDBREAKS=$' \t\n"\'@><=;|&(:'
while IFS= read -r line; do
    COMP_LINE=$line COMP_POINT=${#line}
    _recalltrap_completion recalltrap
    echo "${COMPREPLY[*]}"
done
"""


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_what_bash_is_given(program: dict[str, str], stored: str) -> None:
    done = subprocess.run(
        ["bash", "--norc", "-c", FUNCTION], input="\n".join(CASES) + "\n",
        env={**program, "RECALLTRAP_STORAGE": stored}, text=True, capture_output=True, check=True,
    )  # fmt: skip
    assert [line.split() for line in done.stdout.splitlines()] == list(CASES.values())


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_tab_key_in_a_real_bash(program: dict[str, str], tmp_path: Path) -> None:
    """Somebody types half of two words and presses the key: the command runs with the whole."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], {**program, "PS1": "ready> "})
    try:
        said = expect(terminal, "ready> ")
        for typed, until in (
            ('eval "$(recalltrap completion bash)"\n', "ready> "),
            ("recalltrap show mog/qui\t", "mog/quick "),
            ("-o settings.spac\t", "settings.spacing="),
            ("1.25\n", "resources:"),
        ):
            os.write(terminal, typed.encode())
            said = expect(terminal, until)
        assert "name: mog/quick" in said
        assert "spacing: 1.25" in said
    finally:
        os.close(terminal)  # which ends the shell
        os.waitpid(child, 0)


def expect(terminal: int, words: str, seconds: float = 60) -> str:
    """What a terminal shows until the words have come."""
    said, end = "", time.monotonic() + seconds
    while words not in said:
        assert time.monotonic() < end, said
        if select.select([terminal], [], [], 0.2)[0]:
            said += os.read(terminal, 4096).decode(errors="replace")
    return said
