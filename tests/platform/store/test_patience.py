from __future__ import annotations

import errno

import pytest

from recalltrap.store import patience
from recalltrap.store.patience import may_pass, patiently


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSES", (0.0,) * len(patience.PAUSES))


def failing(times: int, error: OSError) -> tuple[list[int], object]:
    tries: list[int] = []

    def act() -> str:
        tries.append(len(tries))
        if len(tries) <= times:
            raise error
        return "done"

    return tries, act


def test_what_passes_is_tried_again_and_in_the_end_raised() -> None:
    hiccup = OSError(errno.EIO, "Input/output error")
    tries, act = failing(len(patience.PAUSES), hiccup)
    assert patiently(act) == "done"  # type: ignore[arg-type]
    assert len(tries) == len(patience.PAUSES) + 1
    tries, act = failing(100, hiccup)
    with pytest.raises(OSError, match="Input/output"):
        patiently(act)  # type: ignore[arg-type]
    assert len(tries) == len(patience.PAUSES) + 1


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "full"), PermissionError(errno.EACCES, "no"), FileNotFoundError(2, "no"),
     OSError("AWS Error ACCESS_DENIED during PutObject operation: Access Denied (HTTP status 403)"),
     OSError("AWS Error NO_SUCH_BUCKET during PutObject operation (HTTP status 404)")],
)  # fmt: skip
def test_what_cannot_pass_is_raised_at_once(error: OSError) -> None:
    tries, act = failing(1, error)
    with pytest.raises(OSError, match=r"."):
        patiently(act)  # type: ignore[arg-type]
    assert len(tries) == 1


@pytest.mark.parametrize(
    "said",
    ["When completing multiple part upload for key 'a': AWS Error SLOW_DOWN during PutObject",
     "AWS Error UNKNOWN (HTTP status 500) during PutObject operation",
     "google::cloud::Status(UNAVAILABLE: try again)", "503 The server is busy."],
)  # fmt: skip
def test_busy_object_stores_are_known_by_their_words(said: str) -> None:
    assert may_pass(OSError(said))
