"""Taking credentials out of whatever is shown or written: messages, command lines, locations.

Two ways together. A URI's user, and every parameter of it but those known to be harmless, are
taken out wherever a URI stands in a text, and so is what the name of a secret announces. And what
a location that was used here holds as credentials is remembered and taken out wherever it stands,
since libraries repeat parts of a location, decoded, in their own words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote, quote_plus, unquote

HIDDEN = "[redacted]"
_URI = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)([^\s'\"<>`]*)")
_HOST = re.compile(r"([^/:]*|\[[^\]/]*\])(:\d*)?(/|$)")
_PARAMETER = re.compile(r"([?&#;])([^?&#;=]*)(=?)([^&#;]*)")
_HARMLESS = frozenset(
    {
        "region", "scheme", "endpoint_override", "endpoint", "allow_bucket_creation",
        "allow_bucket_deletion", "background_writes", "force_virtual_addressing",
        "check_directory_existence_before_creation", "tls_verify_certificates",
        "tls_ca_file_path", "tls_ca_dir_path", "allow_delayed_open", "use_mmap",
        "retry_limit_seconds", "project_id", "default_bucket_location", "blob_storage_authority",
        "dfs_storage_authority", "blob_storage_scheme", "dfs_storage_scheme", "enable_tls",
        "credential_kind", "tenant_id", "replication", "buffer_size", "default_block_size",
    }
)  # fmt: skip
"""Parameters of a location that say where and how, and open nothing (pyarrow's own names)."""
_SECRET_NAME = (
    r"token(?!s|iz)|secret|passw(?:or)?d|passphrase|credential|authorization|signature(?![a-z])"
    r"|(?:api|access|account|private|shared|signing)[_-]?key"
)
_SECRET_OPTION = re.compile(rf"(?i)-+[\w-]*(?:{_SECRET_NAME})[\w-]*")
_SECRET = re.compile(
    rf"(?i)((?:{_SECRET_NAME})\w*[\"']?\s*[=:]\s*(?:bearer\s+)?)"
    rf"(?!None\b|{re.escape(HIDDEN)})(?:\"[^\"\n]*\"|'[^'\n]*'|\S+)"
)
_PARTS_OF_SECRET_NAMES = ("token", "secret", "passw", "passphra", "cred", "author", "nature", "key")
"""Every name that `_SECRET_NAME` matches holds one of them, in any case: looked for much faster."""
_known: dict[str, str] = {}


def redact(text: str) -> str:
    """The text without credentials; twice is the same as once."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, _known[secret])
    # a report has a hundred thousand texts, and few of them what either pattern needs
    if "://" in text:
        text = _URI.sub(lambda found: found[1] + _without_credentials(found[2]), text)
    return _SECRET.sub(rf"\1{HIDDEN}", text) if _may_tell_a_secret(text) else text


def _may_tell_a_secret(text: str) -> bool:
    if "=" not in text and ":" not in text:
        return False
    folded = text.casefold()
    return any(part in folded for part in _PARTS_OF_SECRET_NAMES)


def redact_argv(argv: Sequence[str]) -> list[str]:
    """A command line without secrets, also those that stand behind their option's name."""
    behind = [False, *(_SECRET_OPTION.fullmatch(argument) is not None for argument in argv)]
    return [
        HIDDEN if secret else redact(redact_location(argument))
        for argument, secret in zip(argv, behind, strict=False)
    ]


def redact_location(location: str) -> str:
    """A folder or URI as it may be shown. Unlike in a text, it's known where the URI ends."""
    scheme, separator, rest = location.partition("://")
    return f"{scheme}://{_without_credentials(rest)}" if separator else location


def remember_credentials(location: str) -> None:
    """From now on this process takes the credentials of a location out of every text."""
    shown = redact_location(location)
    if shown == location:
        return
    _known[location] = shown
    rest = location.partition("://")[2]
    user, at, _ = rest.split("?")[0].rpartition("@")
    found = (match for match in _PARAMETER.finditer(rest) if match[2] not in _HARMLESS)
    secrets = [match[4] if match[3] else match[2] for match in found]
    if at:
        name, _, password = user.partition(":")
        # Without digits a name is a person's or a container's, and stands in other sentences.
        secrets += [password] + ([name] if re.search(r"\d", unquote(name)) else [])
    for secret in filter(_is_telling, secrets):
        plain = unquote(secret)
        for spelling in (secret, plain, quote(plain), quote(plain, safe=""), quote_plus(plain)):
            _known[spelling] = HIDDEN


def _is_telling(secret: str) -> bool:
    """Whether a text that holds it repeats the secret, rather than a word that happens to be one:
    such a word is taken out of URIs alone."""
    return len(secret) >= 8 or (len(secret) >= 5 and not secret.isalpha())


def _without_credentials(rest: str) -> str:
    """What follows `://`: without user and password, and with the values of harmless parameters.

    A password that nobody encoded may hold slashes, signs and question marks: all up to the last @
    before the parameters goes, and a port that is no number is a password's beginning.
    """
    base = re.split(r"[?#]", rest, maxsplit=1)[0]
    if "@" not in base and not _HOST.match(base):
        base = rest[: rest.rfind("@") + 1]
        if not base:
            return HIDDEN
    parameters = _PARAMETER.sub(_shown_parameter, rest[len(base) :])
    return (HIDDEN + base[base.rindex("@") :] if "@" in base else base) + parameters


def _shown_parameter(found: re.Match[str]) -> str:
    separator, name, equals, value = found.groups()
    if name in _HARMLESS or not (equals or name):
        return found[0]
    return f"{separator}{name if equals else HIDDEN}{equals}{HIDDEN if equals and value else ''}"
