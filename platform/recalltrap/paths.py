"""Paths that a user gives: on the command line, in the environment, in a study, from Python.

One function reads them all. `~` and `~user` are home folders, a relative path starts from the
working directory (also one in a study file), `file://` URIs and `os.PathLike` are paths, and URIs
of object stores are left as they are. Variables are the shell's business: one that got here is
refused, since a folder called `$HOME` is never what was meant.
"""

from __future__ import annotations

import os
import re
from os import PathLike
from urllib.parse import unquote

from recalltrap.errors import InputError

Pathish = str | PathLike[str]
"""What may name a file or a folder."""

_VARIABLE = re.compile(r"\$(\w+|\{\w+\})")
_FILE = re.compile(r"(?i)file:(//(?P<host>[^/?#]*))?(?P<path>/[^?#]*)?([?#].*)?$")
_BROKEN = re.compile(r"(?i)(s3|gs|gcs|abfss?|hdfs|viewfs|https?):/(?!/)")


def is_uri(location: str) -> bool:
    """Whether a resolved location is an object store's URI rather than a path."""
    return "://" in location


def resolve(given: Pathish, name: str) -> str:
    """A path from the root, or the URI of an object store. Whether anything is there isn't asked.

    `name` is the option, variable or setting to name in errors.

    Raises:
        InputError: not a path, an unknown user's home, a variable that nobody replaced.
    """
    path = expand(given, name)
    if not path.strip():
        raise _refused(given, name, "it is empty: leave it out, or give a path")
    if is_uri(path):
        return path
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        raise _refused(
            given, name, "the working directory is gone: change to another, or give a path from /"
        ) from None


def expand(given: Pathish, name: str) -> str:
    """Like `resolve`, but a relative path stays one: how a user would see it in a message."""
    text = _text(given, name)
    if text[:5].lower() == "file:":
        text = _path_of_file_uri(text, name)
    elif is_uri(text):
        return text
    elif _BROKEN.match(text):
        reason = "a URI has two slashes, and pathlib leaves one of them: give it as a str"
        raise _refused(given, name, reason)
    if text.startswith("~"):  # also where a folder is called so: the shell does the same
        home = os.path.expanduser(text)
        if home == text:
            raise _refused(given, name, f"there is no such user; ./{text} is a folder of that name")
        text = home
    variable = _VARIABLE.search(text)
    if variable and not os.path.lexists(text):
        raise _refused(
            given, name, f"{variable[0]} is not replaced here: let the shell do it, or write it out"
        )
    return text


def _text(given: Pathish, name: str) -> str:
    text = os.fspath(given) if isinstance(given, str | PathLike) else None
    if not isinstance(text, str):
        kind = type(given).__name__
        raise InputError(f"{name}: a {kind} is no path; give a str or a pathlib.Path")
    if "\0" in text:
        raise _refused(given, name, "a path can't hold a NUL character")
    return str(text)


def _path_of_file_uri(uri: str, name: str) -> str:
    """The path of `file:///folder`, `file://localhost/folder`, `file:/folder`, `file://~/folder`.

    What follows a ? or # is no part of it.
    """
    found = _FILE.match(uri)
    host, path = (found["host"] or "", found["path"] or "") if found else ("", "")
    if host.startswith("~"):
        return unquote(host + path)
    if not path or host.lower() not in ("", "localhost"):
        raise _refused(
            uri, name, "a file URI is file:// and a path from /, e.g. file:///home/me/runs"
        )
    return unquote(path[1:] if path.startswith("/~") else path)


def _refused(given: Pathish, name: str, reason: str) -> InputError:
    return InputError(f"{name} = {os.fspath(given)!r}: {reason}")
