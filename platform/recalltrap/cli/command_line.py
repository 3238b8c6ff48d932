"""The command line. Each command parses, calls one function of the platform, and prints.

The commands stand by their subjects in the modules beside this one; their exit status is said in
`guarded`.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from recalltrap.cli import completion as complete
from recalltrap.cli import doctor_command, job_commands, run_commands, study_commands
from recalltrap.cli.guarded import guarded
from recalltrap.cli.output import listening, print_exactly, say


class _Listened(click.Group):
    """A group whose commands, help texts included, speak through `listening`."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        with listening() as out:
            try:
                return super().main(*args, **kwargs)
            except SystemExit as left:
                out.flush()
                if out.lost is None:
                    raise
                reason = out.lost.strerror
                say(f"recalltrap: the output could not be written: {reason}", error=True)
                sys.exit(left.code or 1)


@click.group(
    cls=_Listened,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="recalltrap")
def main() -> None:
    """Controlled studies of when to align: before or after distilling."""


for _subject in (study_commands, run_commands, job_commands, doctor_command):
    for _command in _subject.COMMANDS:
        main.add_command(_command)


@main.command()
@click.argument("shell", type=click.Choice(complete.SHELLS))
@guarded
def completion(shell: str) -> None:
    """Print the script that completes commands, studies, runs and fields in SHELL.

    bash: `eval "$(recalltrap completion bash)"` in ~/.bashrc. zsh: the same in ~/.zshrc, after
    compinit. fish: `recalltrap completion fish > ~/.config/fish/completions/recalltrap.fish`.
    """
    print_exactly(complete.script(shell, main))


if __name__ == "__main__":
    main()
