"""Files of rows that no study can use: for prompts, preferences and truth alike, and each alone."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

from tests.studies.llm.hostile.case import Hostile, Make, holding

GOOD = {
    "prompts": {"prompt": "The fox sees"},
    "preferences": {"prompt": "The fox", "chosen": " sees.", "rejected": " paints."},
    "truth": {"text": "The fox sees the hill."},
}
TEXT = {"prompts": "prompt", "preferences": "chosen", "truth": "text"}
"""The column of each that a text stands in."""
SECOND = "row 2"
LARGE = 200_000_000


def line(setting: str, **fields: object) -> str:
    """A good row of a setting with these fields instead of its own."""
    return json.dumps({**GOOD[setting], **fields})


def of_any_rows(setting: str) -> Iterator[Hostile]:
    """What is wrong whatever the rows mean."""
    good, column = line(setting), TEXT[setting]

    def bad(name: str, data: bytes | str, says: str = "", file: str = "rows.jsonl") -> Hostile:
        return Hostile(f"{setting}: {name}", setting, file, holding(data), says)

    def second(name: str, row: str, says: str = "") -> Hostile:
        return bad(name, f"{good}\n{row}\n", f"{SECOND}.*{says}" if says else SECOND)

    def valued(name: str, value: str, says: str = "") -> Hostile:
        row = good.replace(json.dumps(GOOD[setting][column]), value, 1)
        return second(name, row, says)

    yield bad("empty", "", "it holds no")
    yield bad("blank lines", "\n  \n\t\n", "it holds no")
    yield bad("a BOM alone", b"\xef\xbb\xbf", "it holds no")
    yield bad("random bytes", Random(setting).randbytes(4096))
    yield bad("zeros", bytes(4096))
    yield bad("gzip", gzip.compress(good.encode(), mtime=0))
    yield bad("bzip2 called Parquet", bz2.compress(good.encode()), file="rows.parquet")
    yield bad("UTF-16 with a BOM", good.encode("utf-16"), "UTF-8")
    yield bad("UTF-16 without one", good.encode("utf-16-le"))
    yield bad("UTF-32", good.encode("utf-32"), "UTF-8")
    yield bad("Latin-1", f"{good}\n".encode() + valued_bytes(good, column, "é", "latin-1"), SECOND)
    yield bad("a Mac's line ends", f"{good}\r{good}\r", "row 1")
    yield bad("a JSON array", f"[{good}, {good}]", "no JSON object")
    yield bad("JSON over several lines", json.dumps(GOOD[setting], indent=2), "row 1")
    yield bad("CSV", f"{column}\nThe fox\n", file="rows.jsonl")
    yield bad("YAML", f"- {column}: The fox\n")
    yield second("cut off", good[:-4], "no JSON")
    yield second("a comma after it", good + ",", "no JSON")
    yield second("two in a line", good + good, "no JSON")
    yield second("single quotes", "{'" + column + "': 'The fox'}", "no JSON")
    yield second("a number", "17", "no JSON object")
    yield second("null", "null", "no JSON object")
    yield second("a key twice", good[:-1] + f', "{column}": " flies."}}', "twice")
    yield second("an unknown column", line(setting, promt="The"), "unknown column 'promt'")
    yield second("an empty name", good[:-1] + ', "": 1}', "unknown column")
    yield second("no column", "{}")
    yield second("brackets", "[" * 100_000, "no JSON")
    yield second("braces", '{"a":' * 100_000 + "1" + "}" * 100_000, "no JSON")
    yield valued("deep brackets", "[" * 100_000 + "]" * 100_000)
    yield valued("deep for repr alone", "[" * 900 + "]" * 900)
    yield valued("NaN", "NaN")
    yield valued("infinity", "-Infinity")
    yield valued("too large for a float", "1e999")
    yield valued("5,000 digits", "9" * 5000)
    yield valued("400 digits", "9" * 400)
    yield valued("half of a character", '"\\ud800"', "half of a character")
    yield valued("halves the wrong way round", '"\\udc00\\ud800"', "half of a character")
    yield valued("raw half of a character", '"\ud800"', "UTF-8")
    yield valued("a bad escape", '"\\x41"', "no JSON")
    yield valued("a raw control character", '"\x07"', "no JSON")
    yield valued("an object", '{"a": 1}')
    yield valued("an empty text", '""')
    yield valued("true", "true")
    yield valued("longer than a context", json.dumps("The fox sees the hill. " * 40))
    yield valued("no letter of the vocabulary", json.dumps("λόγος"))
    many = (good + "\n") * 50_000 if setting != "prompts" else "".join(
        line(setting, prompt=f"The fox {n}") + "\n" for n in range(50_000))  # fmt: skip
    yield bad("the last of 50,001", f"{many}{{", "row 50001.*no JSON")
    yield Hostile(f"{setting}: 200 MB in a line", setting, "rows.jsonl", _long_line(good, "x"))
    yield Hostile(f"{setting}: 200 MB of brackets", setting, "rows.jsonl", _long_line("", "["))
    yield Hostile(f"{setting}: 200 MB of empty lines", setting, "rows.jsonl", _long_line("", "\n"))
    yield from _no_files(setting)


def valued_bytes(good: str, column: str, text: str, encoding: str) -> bytes:
    """A good row in which a column holds this text, in an encoding."""
    row = {**json.loads(good), column: text}
    return json.dumps(row, ensure_ascii=False).encode(encoding)


def _long_line(good: str, sign: str) -> Make:
    def make(path: Path) -> None:
        begins, ends = (good[:-2], good[-2:]) if good else ("", "")
        with path.open("w") as file:
            file.write(begins)
            for _ in range(LARGE // 1_000_000):
                file.write(sign * 1_000_000)
            file.write(ends)

    return make


def _no_files(setting: str) -> Iterator[Hostile]:
    def of(name: str, make: Make, says: str = "can't be read|no such file") -> Hostile:
        return Hostile(f"{setting}: {name}", setting, "rows.jsonl", make, says)

    yield of("missing", lambda path: None, "no such file")
    yield of("a folder", lambda path: path.mkdir(), "directory")
    yield of("a pipe", lambda path: os.mkfifo(path), "no regular file")
    yield of("/dev/zero", lambda path: path.symlink_to("/dev/zero"), "no regular file")
    yield of("/dev/full", lambda path: path.symlink_to("/dev/full"), "no regular file")
    yield of("a socket", _socket, "no regular file")
    yield of("a link to nothing", lambda path: path.symlink_to("nowhere"), "no such file")
    yield of("a link to itself", lambda path: path.symlink_to(path), "can't be read")
    yield of("a terabyte of nothing", _terabyte, "more than")


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path is at most 108 bytes long
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(here)


def _terabyte(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def of_prompts() -> Iterator[Hostile]:
    """What is wrong with prompts alone."""

    def rows(name: str, *given: Mapping[str, object] | str, says: str = SECOND) -> Hostile:
        text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in given)
        return Hostile(f"prompts: {name}", "prompts", "rows.jsonl", holding(text), says)

    def second(name: str, row: Mapping[str, object] | str, says: str = "") -> Hostile:
        first = {"prompt": "The moon", "id": "a"}
        return rows(name, first, row, says=f"{SECOND}.*{says}")

    def chat(name: str, messages: object, says: str = "messages") -> Hostile:
        return second(name, {"messages": messages}, says)

    user = {"role": "user", "content": "The fox"}
    for name, weight in (("negative", "-1"), ("zero", "0"), ("NaN", "NaN"), ("infinite", "1e999"),
                         ("tiny", "-1e-320"), ("huge", "1e300"), ("true", "true"), ("text", '"2"'),
                         ("long", "9" * 400), ("list", "[1]")):  # fmt: skip
        yield second(f"{name} weight", f'{{"prompt": "The fox", "weight": {weight}}}', "weight = ")
    yield second("an id twice", {"prompt": "The fox", "id": "a"}, "id = 'a' is row 1's too")
    yield rows("a row's number as id", {"prompt": "The moon", "id": "2"}, {"prompt": "The fox"},
               says="id = '2' is row 1's too")  # fmt: skip
    yield second("an id that is a list", {"prompt": "The fox", "id": ["a"]}, "id = ")
    yield second("an id that is a number with a point", {"prompt": "The fox", "id": 1.5}, "id = ")
    yield second("a prompt twice", {"prompt": "The moon"}, "the same prompt as row 1")
    yield second("both prompt and messages", {"prompt": "The", "messages": [user]}, "both")
    yield second("messages that are a text", {"messages": "The fox"}, "messages = ")
    yield chat("no message", [])
    yield chat("a message that is a text", ["The fox"])
    yield chat("no role", [{"content": "The fox"}])
    yield chat("no content", [{"role": "user"}])
    yield chat("content of parts", [{"role": "user", "content": [{"type": "text", "text": "a"}]}])
    yield chat("null content", [{"role": "user", "content": None}])
    yield chat("an unknown role", [{"role": "human", "content": "The fox"}], "'human'")
    yield chat("a tool's role", [{"role": "tool", "content": "The fox"}], "'tool'")
    yield chat("a name besides", [{**user, "name": "me"}])
    yield chat("an assistant's end", [user, {"role": "assistant", "content": "sees"}], "assistant")
    yield chat("the system second", [user, {"role": "system", "content": "The"}, user], "system")
    yield chat("a chat without template", [user], "no chat template")
    yield rows("one prompt, a share held out", {"prompt": "The fox"}, says="none is left")


def of_preferences() -> Iterator[Hostile]:
    """What is wrong with preferences alone."""

    def second(name: str, row: Mapping[str, object], says: str = "row 2") -> Hostile:
        text = f"{line('preferences')}\n{json.dumps(row)}\n"
        return Hostile(f"preferences: {name}", "preferences", "rows.jsonl", holding(text), says)

    asked = {"role": "user", "content": "The fox"}
    said = {"role": "assistant", "content": "sees the hill"}
    yield second("chosen equals rejected", {"prompt": "The", "chosen": " fox", "rejected": " fox"},
                 "chosen equals rejected.*row 2")  # fmt: skip
    yield second("equal without a prompt", {"chosen": "The fox", "rejected": "The fox"},
                 "chosen equals rejected.*row 2")  # fmt: skip
    yield second("nothing in common", {"chosen": "sees", "rejected": "paints"}, "no prompt.*row 2")
    yield second("an empty answer", {"prompt": "The", "chosen": " fox", "rejected": ""}, "empty")
    yield second("no rejected", {"prompt": "The", "chosen": " fox"}, "no `rejected`")
    yield second("null rejected", {"prompt": "The", "chosen": " fox", "rejected": None})
    yield second("a text and a chat", {"prompt": "The", "chosen": " fox", "rejected": [said]})
    yield second("chats without a question", {"chosen": [said], "rejected": [asked]})
    yield second("chats that are equal", {"chosen": [asked, said], "rejected": [asked, said]})
    yield second("a number as prompt", {"prompt": 1, "chosen": " a", "rejected": " b"})
    yield second("an answer longer than align_tokens",
                 {"prompt": "The", "chosen": " fox" * 30, "rejected": " moon"},
                 "longer than settings.align_tokens.*row 2")  # fmt: skip
    yield Hostile(
        "preferences: ties alone",
        "preferences",
        "rows.jsonl",
        holding(line("preferences", chosen=" a", rejected=" a")),
        "can't be learned from",
    )


def of_truth() -> Iterator[Hostile]:
    """What is wrong with texts alone."""

    def of(name: str, data: bytes | str, says: str, file: str = "rows.jsonl") -> Hostile:
        return Hostile(f"truth: {name}", "truth", file, holding(data), says)

    good = line("truth")
    yield of("a group in one row alone", f"{line('truth', group='a')}\n{good}", "row 2.*no group")
    yield of("a group that is a list", line("truth", group=[1]), "group = ")
    yield of("text and prompt", line("truth", prompt="The"), "both `text` and `prompt`")
    yield of("no response", '{"prompt": "The"}', "row 1")
    yield of("an EOS in the middle", '{"text": "The fox<|endoftext|> sees"}', "EOS in its middle")
    groups = "\n".join(line("truth", group=n) for n in range(200))
    yield of("two hundred groups", groups, "200 groups")
    yield of("Latin-1 text", "The caf\xe9".encode("latin-1"), "line 1 is not UTF-8", "texts.txt")
    yield of("UTF-16 text", "The fox sees".encode("utf-16"), "UTF-8", "texts.txt")
    yield of("a NUL in a text", b"The fox\nThe \x00 moon", "line 2 .*control", "texts.txt")
    yield of("a terminal's colours", b"The \x1b[31mfox", "control character", "texts.txt")
    yield Hostile("truth: 200 MB of text in a line", "truth", "texts.txt", _long_line("", "x"))


def of_corpora() -> Iterator[Hostile]:
    """What is no corpus."""

    def of(name: str, data: bytes | str, says: str = "") -> Hostile:
        return Hostile(f"corpus: {name}", "corpus", "words.txt", holding(data), says)

    yield of("empty", "", "is empty")
    yield of("blank lines", "\n \r\n\t\n", "is empty")
    yield of("one line", "The fox sees the hill.\n", "1 document")
    yield of("UTF-16", "The fox\nThe moon\n".encode("utf-16"), "UTF-8")
    yield of("UTF-16 without a BOM", "The fox\nThe moon\n".encode("utf-16-le"), "control")
    yield of("Latin-1", "The fox\nThe caf\xe9\n".encode("latin-1"), "not UTF-8 text .byte 15")
    yield of("half a character at the end", b"The fox\nThe caf\xc3", "not UTF-8 text")
    yield of("a NUL", b"The fox\nThe\x00moon\n", "line 2 .*control")
    yield of("an escape", b"The fox\n\x1b[31mThe moon\n", "line 2 .*control")
    yield of("gzip", gzip.compress(b"The fox\nThe moon\n", mtime=0))
    yield of("random bytes", Random(1).randbytes(4096))
    yield Hostile("corpus: 200 MB in a line", "corpus", "words.txt", _long_line("", "x"),
                  "line 1 has more than")  # fmt: skip
    yield Hostile("corpus: a NUL after 200 MB", "corpus", "words.txt", _late_nul, "control")
    for case in _no_files("corpus"):
        yield Hostile(case.name, "corpus", "words.txt", case.make, case.says)


def _late_nul(path: Path) -> None:
    with path.open("w") as file:
        for _ in range(LARGE // 10_000):
            file.write("The fox sees the hill. " * 434 + "\n")
        file.write("\x00")


def every_row_file() -> list[Hostile]:
    """All that stands above."""
    found = [case for setting in GOOD for case in of_any_rows(setting)]
    return [*found, *of_prompts(), *of_preferences(), *of_truth(), *of_corpora()]
