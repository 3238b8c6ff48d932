"""No credential of a storage's location is printed or written, whatever is done with it."""

from __future__ import annotations

import json
import os
import pickle
import posixpath
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from pyarrow import fs

import recalltrap as rt
import recalltrap.cli.commands
import recalltrap.redaction
import recalltrap.store.provenance
import recalltrap.store.storage
from recalltrap.cli.command_line import main
from recalltrap.defaults import STORAGE_VARIABLE
from recalltrap.errors import InputError, StageError
from recalltrap.redaction import redact, redact_argv, redact_location
from recalltrap.registry import find_kind, room
from recalltrap.store.provenance import ARGV_VARIABLE
from recalltrap.store.storage import Storage
from recalltrap_cluster.storage.filesystem import SharedStorageHandler

StudyFile = Callable[..., str]
SECRET = "pl4nted/Secret+x=9@z"
ENCODED = quote(SECRET, safe="")
LOCATIONS = (
    f"s3://AKIAPLANTED99:{ENCODED}@bucket/pre",
    f"s3://AKIAPLANTED99:{ENCODED}@bucket/pre?endpoint_override=127.0.0.1:1&scheme=http",
    f"s3://AKIAPLANTED99:{SECRET}@bucket/pre",
    f"s3://{ENCODED}@bucket/pre",
    f"s3://bucket/pre?access_key=AKIAPLANTED99&secret_key={ENCODED}&region=eu-west-1",
    f"s3://bucket/pre?region=eu-west-1&session_token={ENCODED}",
    f"s3://bucket/pre?region=eu-west-1;x-amz-signature={ENCODED}",
    f"s3://bucket/pre?{ENCODED}",
    f"gs://bucket/pre?access_token={ENCODED}",
    f"abfss://container:{ENCODED}@account.dfs.core.windows.net/pre",
    f"abfs://container@account.dfs.core.windows.net/pre?sv=2024&sig={ENCODED}",
    f"hdfs://me:{ENCODED}@host:8020/pre?replication=1",
    f"https://host:8443/pre#token={ENCODED}",
)
OPEN = ("bucket", "account", "host")
"""What of them may be shown."""


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What one test's locations hold is nobody else's business."""
    known = dict(recalltrap.redaction._known)
    recalltrap.redaction._known.clear()
    monkeypatch.delenv(ARGV_VARIABLE, raising=False)
    yield
    recalltrap.redaction._known.clear()
    recalltrap.redaction._known.update(known)


def assert_clean(text: str | bytes, what: object = "") -> None:
    data = text.encode() if isinstance(text, str) else text
    for secret in (SECRET, ENCODED, "AKIAPLANTED99", "pl4nted"):
        assert secret.encode() not in data, what


@pytest.mark.parametrize("location", LOCATIONS)
def test_a_location_is_shown_without_its_credentials(location: str) -> None:
    for text in (
        redact_location(location),
        redact(f"Cannot parse URI: '{location}' at character '/'"),
        redact(json.dumps({"storage": location, "n": 1})),
        *redact_argv(["recalltrap", "run", "--storage", location, f"--storage={location}"]),
        str(InputError(f"storage {location!r} can't be opened")),
        str(StageError("user_code", f"OSError: {location}/x")),
    ):
        assert_clean(text, location)
        assert redact(text) == text
    assert any(word in redact_location(location) for word in OPEN)


@pytest.mark.parametrize("location", LOCATIONS)
def test_a_storage_takes_out_what_others_say_of_it(location: str) -> None:
    storage = Storage(location)
    assert pickle.loads(pickle.dumps(storage)).location == location
    assert_clean(storage.shown + storage.display("a/b"))
    assert "/a/b" in storage.display("a/b") or "#" in location
    said = redact(f"SignatureDoesNotMatch: the key is not {SECRET} but {ENCODED}")
    assert_clean(said)
    assert said.startswith("SignatureDoesNotMatch: the key is not ")


@pytest.mark.parametrize(
    "text",
    ["settings.sample_tokens = 200: with a prompt of 3 tokens", "-o settings.align_tokens=16",
     "its tokenizer: 49152 tokens", "token: None", "/home/me/runs/x@y?z", "s3://bucket/a/b?region=x",
     "http://127.0.0.1:8265/x", "http://[::1]:8265", "HuggingFaceTB/SmolLM2-135M@main",
     "the secret of success"],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    Storage("s3://me:test@bucket/x")  # a word, which would be taken out of every sentence
    assert redact(text) == text
    assert redact("toy/test failed") == "toy/test failed"


class Bucket(SharedStorageHandler):
    """An object store: a folder of this machine that isn't known to be one."""

    @property
    def _fs(self) -> fs.FileSystem:
        return fs.SubTreeFileSystem(self.name, fs.LocalFileSystem())

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        self._fs.create_dir(posixpath.dirname(path), recursive=True)
        return self._fs.open_output_stream(path)


@pytest.fixture
def buckets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Object stores of all kinds are the folder that this returns."""
    root = tmp_path / "buckets"
    root.mkdir()

    def from_uri(uri: str) -> tuple[fs.FileSystem, str]:
        return fs.PyFileSystem(Bucket(str(root))), uri.partition("?")[0].rpartition("@")[2][-10:]

    names = {name: getattr(fs, name) for name in dir(fs) if not name.startswith("__")}
    patched = {**names, "FileSystem": types.SimpleNamespace(from_uri=from_uri)}
    monkeypatch.setattr(recalltrap.store.storage, "fs", types.SimpleNamespace(**patched))
    monkeypatch.chdir(tmp_path)
    return root


Say = Callable[..., str]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Say:
    """Runs a command as a shell would, and looks at all that it says."""
    recalltrap.store.provenance.collect.cache_clear()
    recalltrap.store.provenance._write.cache_clear()

    def run(*arguments: str, status: int = 0) -> str:
        monkeypatch.setattr("sys.argv", ["recalltrap", *arguments])
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == status, done.output
        assert_clean(done.output, arguments)
        return done.output

    return run


def assert_files_are_clean(folder: Path) -> None:
    files = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert any("/provenance/" in name for name in files)
    for name, data in files.items():
        assert_clean(data, name)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["option", "variable"])
@pytest.mark.parametrize("location", [LOCATIONS[1], LOCATIONS[4], LOCATIONS[9]])
def test_no_command_tells_or_writes_a_credential(
    location: str,
    by: str,
    buckets: Path,
    study_file: StudyFile,
    say: Say,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recalltrap.cli.commands, "room", without_report)
    study = study_file(seeds=2, grid=None)
    given = ["--storage", location] if by == "option" else []
    if by == "variable":
        monkeypatch.setenv(STORAGE_VARIABLE, location)
    say("plan", study, *given)
    assert "report: " in say("run", study, "--local", *given)
    say("status", "toy/test", "--format", "json", *given)
    say("query", "toy/test", "select * from costs", "--format", "csv", *given)
    say("report", "toy/test", *given)
    say("forecast", study, *given)
    assert "no run 'toy/other'" in say("status", "toy/other", *given, status=2)
    say("status", f"{location}/nothing", *given, status=2)
    say("run", location, "--local", *given, status=2)

    def broken(*_: object) -> None:
        raise OSError(f"AWS Error ACCESS_DENIED for {location}: {SECRET} ({ENCODED})")

    monkeypatch.setattr(type(find_kind("toy")), "build", broken)
    say("run", study, "--local", "-o", "seeds=[7]", *given, status=1)
    (row, *_) = rt.open_run("toy/test", location).table("failures").to_pylist()
    assert "ACCESS_DENIED" in row["message"]
    assert row["retry_command"].endswith(f'--storage "${STORAGE_VARIABLE}"')
    assert_clean(json.dumps(row, default=str))
    assert_files_are_clean(buckets)
    assert_clean(os.environ[ARGV_VARIABLE])


def without_report(name: str) -> Any:
    """The other rooms; but drawing takes seconds, and one report is enough."""
    return report if name == "report" else room(name)


def report(results: rt.Results, form: str = "html", summary: Any = None) -> str:
    return f"{results.folder}/report.{form}"


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_no_report_tells_a_credential(buckets: Path, study_file: StudyFile, say: Say) -> None:
    study, given = study_file(seeds=2, grid=None), ["--storage", LOCATIONS[1]]
    assert "report: s3://[redacted]@bucket/" in say("run", study, "--local", *given)
    say("report", "toy/test", "--format", "json", *given)
    assert (buckets / "bucket/pre/studies/toy/test/report/index.html").is_file()
    assert_files_are_clean(buckets)


def test_a_local_storages_retry_command_names_it(study_file: StudyFile, storage: str) -> None:
    from recalltrap.run.run import make_context, plan_study

    root = Storage(storage)
    context = make_context(plan_study(rt.load_study(study_file()), root), root)
    path = f"{storage}/studies/toy/test/study.yaml"
    assert context.retry_command == f"recalltrap run {path} --storage {storage}"


def test_what_ray_pickles_of_a_storage_holds_no_credential() -> None:
    pickled = pickle.dumps(fs.PyFileSystem(SharedStorageHandler("recalltrap-storage-1")))
    assert_clean(pickled)
    assert pickle.loads(pickled).handler == SharedStorageHandler("recalltrap-storage-1")


@pytest.mark.parametrize(
    "name",
    ["token", "secret", "password", "passwd", "passphrase", "credential", "authorization",
     "signature", "api_key", "accesskey", "account-key", "private_key", "shared-key", "signingkey"],
)  # fmt: skip
def test_every_name_of_a_secret_is_looked_for_in_any_case(name: str) -> None:
    for spelled in (name, name.upper(), name.title(), name.replace("k", "\N{KELVIN SIGN}"),
                    name.replace("s", "\N{LATIN SMALL LETTER LONG S}"),
                    name.replace("i", "\N{LATIN SMALL LETTER DOTLESS I}")):  # fmt: skip
        assert "xyzzy12345" not in redact(f"--{spelled}=xyzzy12345"), spelled
