"""The storage folder: whole files over `pyarrow.fs`, written atomically.

A local folder and an object store take the same path. What the files mean is decided elsewhere:
`store` (artifacts), `tables` and `results` (runs).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import posixpath
import re
import uuid
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
from pyarrow import fs

from recalltrap.errors import (
    WAY_OUT_OF_FULL,
    InputError,
    StorageFullError,
    is_storage_full,
)
from recalltrap.paths import Pathish, is_uri, resolve
from recalltrap.redaction import redact_location, remember_credentials
from recalltrap.store.patience import patiently

MARKER = "recalltrap-storage.json"
FORMAT = 1
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")
"""Names of files that are being written, or were when their process was killed."""


class Storage:
    """One storage root, a local folder or a URI that `pyarrow.fs` understands.

    Picklable: it carries the location alone. Paths are relative to the root, with slashes. Messages
    show `shown`, for the location may hold credentials.
    """

    def __init__(self, location: Pathish) -> None:
        self._set(resolve(location, "storage"))

    def _set(self, location: str) -> None:
        self.location = location
        remember_credentials(location)

    def __reduce__(self) -> tuple[Callable[[str], Storage], tuple[str]]:
        return _located, (self.location,)

    @property
    def shown(self) -> str:
        """The location without credentials."""
        return redact_location(self.location)

    @cached_property
    def _root(self) -> tuple[fs.FileSystem, str]:
        if not is_uri(self.location):  # no URI can be made of some names
            return fs.LocalFileSystem(), self.location.rstrip("/") or "/"
        try:
            filesystem, path = fs.FileSystem.from_uri(self.location)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"storage {self.shown!r} can't be opened: {error}") from None
        return filesystem, path.rstrip("/")

    @property
    def filesystem(self) -> fs.FileSystem:
        return self._root[0]

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def path(self, relative: str) -> str:
        """The path of a file in `filesystem`."""
        return posixpath.join(self._root[1], relative)

    def display(self, relative: str) -> str:
        """The location of a file as a person would type it, without credentials."""
        return redact_location(self._below(relative))

    def at(self, relative: str) -> Storage:
        """A folder of this storage, as one of its own."""
        return _located(self._below(relative))

    @property
    def parent(self) -> Storage | None:
        """The folder around this one; none around the outermost."""
        base, parameters = self._parts
        above = posixpath.dirname(base)
        return _located(above + parameters) if above not in (base, "") else None

    @property
    def name(self) -> str:
        """The folder's own name."""
        return posixpath.basename(self._parts[0])

    def _below(self, relative: str) -> str:
        base, parameters = self._parts
        return posixpath.join(base, relative) + parameters

    @property
    def _parts(self) -> tuple[str, str]:
        """The location's path, and the parameters that follow it in a URI."""
        if not is_uri(self.location):
            return self.location, ""
        base, mark, parameters = self.location.partition("?")
        return base.rstrip("/"), mark + parameters

    def prepare(self) -> None:
        """Make sure that this is a storage of ours that we can write, or make it one.

        Raises:
            InputError: a folder that holds something else, a newer format, or no right to write.
        """
        if not self.check_usable():
            self.write(MARKER, json.dumps({"format": FORMAT}).encode() + b"\n")

    def check_usable(self) -> bool:
        """Whether this is a storage of ours already; nothing is written.

        Raises:
            InputError: a folder that holds something else, or a newer format.
        """
        if self.check_exists():
            return True
        entries = self.list(".")
        if entries:
            shown = ", ".join(sorted(entries)[:3])
            raise InputError(
                f"storage {self.shown!r} is not a recalltrap storage: it holds {shown} but no "
                f"{MARKER}. Choose a new or an empty folder with --storage"
            )
        return False

    def check_exists(self) -> bool:
        """Whether this is a storage of ours, of a format that this version reads."""
        if not self.exists(MARKER):
            return False
        try:
            found = int(json.loads(self.read(MARKER))["format"])
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{self.display(MARKER)} is damaged: restore its format number"
            ) from None
        if found > FORMAT:
            raise InputError(
                f"storage {self.shown!r} has format {found}, and this version reads up to "
                f"{FORMAT}. Upgrade recalltrap, or choose another folder with --storage"
            )
        return True

    def exists(self, relative: str) -> bool:
        return bool(self._info(relative).type == fs.FileType.File)

    def _info(self, relative: str) -> fs.FileInfo:
        try:
            return self.filesystem.get_file_info(self.path(relative))
        except OSError as error:
            raise InputError(f"{self.display(relative)} can't be reached: {error}") from None

    def list(self, relative: str) -> list[str]:
        """Names of the files and folders in a folder, sorted; none where it doesn't exist.

        Files that are being written aren't there yet.
        """
        names = (info.base_name for info in self._listed(relative))
        return sorted(name for name in names if not TEMPORARY.fullmatch(name))

    def folders(self, relative: str) -> Sequence[str]:
        """Names of the folders in a folder, sorted; none where it doesn't exist."""
        found = self._listed(relative)
        return sorted(info.base_name for info in found if info.type == fs.FileType.Directory)

    def _listed(self, relative: str) -> Sequence[fs.FileInfo]:
        selector = fs.FileSelector(self.path(relative), allow_not_found=True)
        try:
            found: Sequence[fs.FileInfo] = self.filesystem.get_file_info(selector)
            return found
        except OSError as error:
            raise InputError(f"{self.display(relative)} is not a folder: {error}") from None

    def clear_temporaries(self, relative: str) -> None:
        """Remove what killed processes were writing in a folder. Whoever still does writes anew."""
        if not self.is_local:
            return  # an object store shows what is complete
        with contextlib.suppress(OSError):
            for name in os.listdir(self.path(relative)):
                if TEMPORARY.fullmatch(name):
                    os.unlink(self.path(posixpath.join(relative, name)))

    def read(self, relative: str) -> bytes:
        """A file's bytes.

        Raises:
            FileNotFoundError: there is no such file.
        """

        def read() -> bytes:
            with self.filesystem.open_input_stream(self.path(relative)) as stream:
                return bytes(stream.read())

        return patiently(read)

    def read_mapping(
        self, relative: str, way_out: str, needs: Collection[str] = ()
    ) -> dict[str, Any]:
        """A file's mapping in JSON, which has the keys that it `needs`.

        Raises:
            FileNotFoundError: there is no such file.
            InputError: it holds something else; says the `way_out`, too.
        """
        try:
            found = json.loads(self.read(relative))
            why = "" if isinstance(found, dict) else "it holds no mapping"
        except (ValueError, RecursionError) as error:
            found, why = {}, str(error)
        lacking = [] if why else [key for key in needs if key not in found]
        if not why and not lacking:
            return dict(found)
        why = why or f"it lacks {', '.join(lacking)}"
        raise InputError(f"{self.display(relative)} is damaged ({why}): {way_out}")

    def digest(self, relative: str) -> tuple[str, int]:
        """A file's SHA-256 and its size in bytes, read in pieces.

        Raises:
            FileNotFoundError: there is no such file.
        """

        def digest() -> tuple[str, int]:
            found, size = hashlib.sha256(), 0
            with self.filesystem.open_input_stream(self.path(relative)) as stream:
                while piece := stream.read(1 << 20):
                    found.update(piece)
                    size += len(piece)
            return found.hexdigest(), size

        return patiently(digest)

    def write(self, relative: str, data: bytes) -> None:
        """Write a file whole: readers see all of it or the one that was there before.

        What may pass is tried again (see `patience`).

        Raises:
            StorageFullError: there is no room.
            InputError: it can't be written for another reason.
        """
        target = self.path(relative)
        try:
            patiently(lambda: self._write_once(target, data))
        except OSError as error:
            where, why = self.display(relative), error.strerror or error
            if is_storage_full(error):
                raise StorageFullError(
                    f"{where} can't be written: the storage is full ({why}). {WAY_OUT_OF_FULL}"
                ) from None
            raise InputError(
                f"{where} can't be written ({why}). "
                "Choose a folder that you may write to with --storage"
            ) from None

    def _write_once(self, target: str, data: bytes) -> None:
        folder, name = posixpath.split(target)
        if not self.is_local:  # one PUT, visible when it is complete
            with self.filesystem.open_output_stream(target) as stream:
                stream.write(data)
            return
        temporary = posixpath.join(folder, f".{name}.{uuid.uuid4().hex}.tmp")
        try:
            self._create(temporary, folder, data)
            self._move(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    @staticmethod
    def _move(temporary: str, target: str) -> None:
        try:
            os.replace(temporary, target)
        except FileNotFoundError:
            # Another process took it for a leftover: it may be written again.
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), target) from None

    @staticmethod
    def _create(path: str, folder: str, data: bytes) -> None:
        try:
            file = open(path, "wb")  # noqa: SIM115
        except FileNotFoundError:  # rarely: most folders stand
            os.makedirs(folder, exist_ok=True)
            file = open(path, "wb")  # noqa: SIM115
        with file:
            file.write(data)
            file.flush()
            # A power cut after the file has its name must not leave it empty.
            os.fsync(file.fileno())


def _located(location: str) -> Storage:
    """A storage at a location that is resolved already: here, or where it was pickled."""
    storage = Storage.__new__(Storage)
    storage._set(location)
    return storage
