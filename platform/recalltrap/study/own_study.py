"""A study file to start one's own from: `recalltrap new`. The kinds bring the templates."""

from __future__ import annotations

from pathlib import Path

from recalltrap.errors import InputError, nearest
from recalltrap.registry import find_kind, kind_names
from recalltrap.study.study import check_name
from recalltrap.study.yaml_scalars import spell_value

PLACE = "{name}"
"""Where a template has the study's name."""


def kinds_with_templates() -> list[str]:
    """The installed kinds that bring a study file to start from."""
    return [name for name in kind_names() if find_kind(name).template is not None]


def write_own_study(name: str, kind: str) -> Path:
    """Write a commented study file called after the study's last part, in the working directory.

    Returns:
        Its path, relative.

    Raises:
        InputError: a name that no study can have, a kind without a template, or a file that is
            there already, which is left as it is.
    """
    name = name.removesuffix(".yaml")
    try:
        check_name(name)
    except ValueError as error:
        raise InputError(str(error)) from None
    template = find_kind(kind).template
    if template is None:
        hint = nearest(kind, kinds_with_templates())
        raise InputError(f"--kind = {kind!r}: it brings no study file to start from; {hint}")
    path = Path(f"{name.rpartition('/')[2]}.yaml")
    text = template.read_text(encoding="utf-8").replace(PLACE, spell_value(name))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(
            f"{path} is there already and stays as it is: give another name, or remove it"
        ) from None
    except OSError as error:
        raise InputError(f"{path} can't be written: {error.strerror}") from None
    return path
