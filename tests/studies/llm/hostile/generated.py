"""Files that hypothesis makes of good ones: pieces put in, cut out, put in another's place."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.studies.llm.hostile.case import Hostile, holding
from tests.studies.llm.hostile.rows import GOOD

SEED = 14
PIECES = [b"{", b"}", b"[", b'"', b"\\", b"\n", b"\r", b"\x00", b"\xff", b"\xef\xbb\xbf", b"NaN",
          b"1e999", b"-", b"[" * 3000, b'{"a":' * 3000, b"9" * 5000, b"PAR1", b'"\\ud800"',
          b'"\\udc00\\ud800"', b"null", b"\xe2\x80\xa8", b",", b":", b"true"]  # fmt: skip
"""What turns a row into something else."""


@st.composite
def mutated(draw: st.DrawFn, good: bytes) -> bytes:
    """A file with one to three pieces put into it, in the place of some of its bytes."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(good)))
        end = min(len(good), at + draw(st.sampled_from([0, 1, 5, 40])))
        good = good[:at] + draw(st.sampled_from(PIECES) | st.binary(max_size=3)) + good[end:]
    return good


def _good(setting: str) -> tuple[bytes, bytes]:
    """As JSONL, and as Parquet."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([GOOD[setting]]), sink)
    return json.dumps(GOOD[setting]).encode(), sink.getvalue()


def every_generated_file(each: int) -> Iterator[Hostile]:
    """So many of each setting and format, always the same ones; a few of them may be good."""
    for setting in GOOD:
        for name, good in zip(("rows.jsonl", "rows.parquet"), _good(setting), strict=True):
            for number, data in enumerate(_examples(good, each)):
                yield Hostile(f"{setting}: generated {name[5:]} {number}", setting, name,
                              holding(data))  # fmt: skip


def _examples(good: bytes, count: int) -> list[bytes]:
    found: list[bytes] = []

    @seed(SEED)
    @settings(max_examples=count, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(mutated(good))
    def collect(data: bytes) -> None:
        found.append(data)

    collect()
    return found
