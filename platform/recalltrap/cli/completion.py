"""What a shell completes: the names of studies and runs, and the fields that `-o` takes.

Click asks the functions here for each argument. Its script for bash splits words where bash does,
at `=` too, and takes the parts for arguments of their own: bash has a script of ours.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, Literal, get_args, get_origin

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

SHELLS = ("bash", "zsh", "fish")
PROGRAM, VARIABLE = "recalltrap", "_RECALLTRAP_COMPLETE"
SECTIONS = ("settings", "grid", "resources")
"""Fields of a study that have fields of their own: `settings.` is completed in a second step."""
SPECIAL = re.compile(r"([^\w./@%+,:=-])")
"""What a shell would not take as it stands."""
Items = list[CompletionItem[str]]
Values = Callable[[click.Context], Iterator[tuple[str, str]]]
"""What may stand in a place: values, each with a description or nothing."""
Completer = Callable[[click.Context, click.Parameter, str], Items]

BASH = r"""
%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            file) compopt -o default 2>/dev/null ;;
            dir) compopt -o dirnames 2>/dev/null ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
    case ${COMPREPLY[0]} in *[=.]) compopt -o nospace 2>/dev/null ;; esac
}
complete -o nosort -F %(complete_func)s %(prog_name)s 2>/dev/null ||
    complete -F %(complete_func)s %(prog_name)s
"""


class WholeWords(BashComplete):
    """Bash, with words as the program will get them: `-o settings.iterations=9` has two."""

    source_template = BASH.lstrip()

    def source(self) -> str:
        return self.source_template % self.source_vars()

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)[1:]
        incomplete = "" if not words or line[-1:].isspace() else words.pop()
        return words, incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """An item as what bash puts in the place of the part that it takes for the word."""
        line = os.environ["COMP_LINE"]
        written = re.split(r"(?<!\\)\s", line)[-1]
        if item.type != "plain" or written[:1] in ("'", '"'):
            return f"{item.type},{item.value}"
        breaks = set(os.environ.get("COMP_WORDBREAKS", "")) - {"\\"}
        start = max((at + 1 for at, sign in enumerate(written) if sign in breaks), default=0)
        escaped = SPECIAL.sub(r"\\\1", item.value)
        return f"{item.type},{escaped[start:]}"


add_completion_class(WholeWords)


def script(shell: str, group: click.Command) -> str:
    """What a shell reads to complete the command."""
    found = get_completion_class(shell)
    assert found is not None
    return found(group, {}, PROGRAM, VARIABLE).source()


def _completer(values: Values, otherwise: Literal["file", "dir", ""] = "") -> Completer:
    """Completes what begins as it is written; where nothing does, with files or folders.

    Never raises and never writes: whoever presses a key wants no message in the line.
    """

    @wraps(values)
    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
        found: Items = []
        try:
            for value, words in values(context):
                if value.startswith(incomplete):
                    found.append(CompletionItem(value, help=words or None))
        except Exception:  # a damaged study, a storage that isn't there
            found = []
        if not found and otherwise:
            return [CompletionItem(incomplete, type=otherwise)]
        return found

    return complete


def _studies(context: click.Context) -> Iterator[tuple[str, str]]:
    from recalltrap.study.named_studies import named_studies

    yield from ((name, "") for name in named_studies())


def _runs(context: click.Context) -> Iterator[tuple[str, str]]:
    from recalltrap.defaults import storage_location
    from recalltrap.results.results import known_runs
    from recalltrap.store.storage import Storage

    storage = Storage(storage_location(context.params.get("storage")))
    yield from ((name, "") for name in known_runs(storage))


def _jobs(context: click.Context) -> Iterator[tuple[str, str]]:
    from recalltrap.defaults import storage_location
    from recalltrap.registry import room
    from recalltrap.store.storage import Storage

    storage = Storage(storage_location(context.params.get("storage")))
    yield from room("jobs").jobs_of(storage)


def _orderings(context: click.Context) -> Iterator[tuple[str, str]]:
    yield from ((ordering.name, "") for ordering in _run_study(context).orderings)


def _seeds(context: click.Context) -> Iterator[tuple[str, str]]:
    yield from ((str(seed), "") for seed in _run_study(context).seeds)


def _points(context: click.Context) -> Iterator[tuple[str, str]]:
    from recalltrap.study.yaml_scalars import spell_value

    for axis, values in _run_study(context).grid.items():
        yield from ((f"{axis}={spell_value(value)}", "") for value in values)


def _run_study(context: click.Context) -> Any:
    from recalltrap.results.results import open_run

    return open_run(_arguments(context)["run"][0], context.params.get("storage")).study


def _arguments(context: click.Context) -> dict[str, list[str]]:
    """What is written so far for each argument.

    Behind an option that waits for its value click hasn't given the words to the arguments yet.
    """
    found: dict[str, list[str]] = {}
    rest = list(context.args)
    for parameter in context.command.params:
        if not isinstance(parameter, click.Argument) or parameter.name is None:
            continue
        value = context.params.get(parameter.name)
        if value not in (None, ()):
            found[parameter.name] = [
                str(v) for v in (value if isinstance(value, tuple) else [value])
            ]
        elif rest:
            count = len(rest) if parameter.nargs == -1 else 1
            found[parameter.name], rest = rest[:count], rest[count:]
    return found


def _kinds(context: click.Context) -> Iterator[tuple[str, str]]:
    from recalltrap.study.own_study import kinds_with_templates

    yield from ((name, "") for name in kinds_with_templates())


def _fields(context: click.Context) -> Iterator[tuple[str, str]]:
    """Every `field=` of a study, those that choose among words with the words."""
    from recalltrap.registry import find_kind
    from recalltrap.study.study import Study

    kinds = [find_kind(name) for name in _asked_kinds(context)]
    for name, info in Study.model_fields.items():
        if name in SECTIONS:
            yield f"{name}.", info.description or ""
        elif name != "looks":
            yield f"{name}=", info.description or ""
    for section in SECTIONS:
        for kind in kinds:
            model = kind.resources if section == "resources" else kind.settings
            for name, info in model.model_fields.items():
                words = _words(info.annotation) if section != "grid" else []
                for value in words or [""]:
                    yield f"{section}.{name}={value}", info.description or ""


def _words(annotation: Any) -> Sequence[str]:
    """The words that a field chooses among."""
    if annotation is bool:
        return ["true", "false"]
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    return [word for part in get_args(annotation) for word in _words(part)]


def _asked_kinds(context: click.Context) -> list[str]:
    """The kinds of the studies that are named before; all where none is."""
    from recalltrap.registry import kind_names
    from recalltrap.study.named_studies import load_study, named_studies

    written = _arguments(context)
    names = written.get("study") or written.get("studies") or []
    known = named_studies() if names else {}
    kinds = [n.partition("/")[0] if n in known else load_study(n).kind for n in names]
    return kinds or kind_names()


complete_study = _completer(_studies, "file")
complete_run = _completer(_runs, "dir")
complete_job = _completer(_jobs)
complete_folder = _completer(lambda context: iter(()), "dir")
complete_ordering = _completer(_orderings)
complete_seed = _completer(_seeds)
complete_point = _completer(_points)
complete_kind = _completer(_kinds)


def complete_override(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Fields first, then the words of one that chooses among words."""
    found = _completer(_fields)(context, parameter, incomplete)
    if "." not in incomplete:
        return [item for item in found if "." not in item.value[:-1]]
    if "=" in incomplete:
        return list({item.value: item for item in found if item.value[-1] != "="}.values())
    named = [item for item in found if not item.value.endswith(".")]
    fields = {f"{item.value.partition('=')[0]}=": item.help for item in named}
    return [CompletionItem(field, help=words) for field, words in fields.items()]
