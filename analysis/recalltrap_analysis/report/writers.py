"""A report's document as an HTML page, as Markdown, or as JSON."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup, escape

from recalltrap_analysis.report.document.blocks import (
    Block,
    Code,
    Document,
    Fold,
    Grid,
    Items,
    Plot,
    Prose,
    Terms,
    slug,
)
from recalltrap_analysis.report.document.tables import csv_text, plain
from recalltrap_analysis.report.rendering import inline_svg

SCHEMA = "recalltrap.report/1"


def html(document: Document) -> str:
    """One self-contained page: figures inline, no network, its one script allowed by its hash."""
    environment = _environment()
    script = environment.get_template("report.js").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.get_template("report.html.j2")
    return template.render(document=document, script=Markup(script), script_hash=digest)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("recalltrap_analysis.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["rich"] = rich
    environment.filters["inline"] = lambda plot: Markup(
        inline_svg(plot.svg, plot.stem, plot.alternative)
    )
    environment.filters["csv"] = lambda table: (
        "data:text/csv;charset=utf-8;base64," + base64.b64encode(csv_text(table).encode()).decode()
    )
    environment.filters["slug"] = slug
    environment.filters["breakable"] = lambda name: str(name).replace("_", "_\u200b")
    environment.tests["block"] = lambda block, name: type(block).__name__.lower() == name
    return environment


def rich(text: str) -> Markup:
    """Our own text: `code` and **bold** become elements, everything else is escaped."""
    safe = str(escape(text))
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", safe))


def markdown(document: Document) -> str:
    """The same content for a pull request; figures are links to the files beside it."""
    lines = [f"# {_md(document.question)}", "", _md(document.meta), ""]
    if document.advice:
        lines += [f"**{_md(document.advice)}**", ""]
    lines += [f"> **{_md(document.sentence)}**", "", _md(document.counts), ""]
    lines += ["<details><summary>Glossary</summary>", ""]
    lines += [
        f"- **{_md(word.strip('`'))}**: {_ours(meaning)}" for word, meaning in document.glossary
    ]
    lines += ["", "</details>", ""]
    for chapter in document.chapters:
        depth = "##"
        if chapter.title:
            lines += [f"## {_md(chapter.title)}", ""]
            depth = "###"
        lines += _md_blocks(chapter.intro)
        for section in chapter.sections:
            lines += [f"{depth} {_md(section.title)}", "", *_md_blocks(section.blocks)]
    return "\n".join(lines).rstrip() + "\n"


def _md(text: str) -> str:
    """Plain text as Markdown: nothing in it is markup, a tag or a link."""
    text = re.sub(r"([\\`*_~|#])", r"\\\1", text.replace("\n", " ").replace("\u200b", ""))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("](", "]\\(").replace("![", "!\\[").replace("://", ":\\//")


def _ours(text: str) -> str:
    """Our own text: its `code` and **bold** stay markup."""
    parts = re.split(r"(`[^`]+`|\*\*[^*]+\*\*)", text)
    return "".join(
        part if part[:1] == "`" else f"**{_md(part[2:-2])}**" if part[:2] == "**" else _md(part)
        for part in parts
    )


def _md_blocks(blocks: Sequence[Block]) -> list[str]:
    lines: list[str] = []
    for block in blocks:
        lines += [*_md_block(block), ""]
    return lines


def _md_block(block: Block) -> list[str]:
    if isinstance(block, Prose):
        text = _ours(block.text) if block.ours else _md(block.text)
        return [f"<sub>{text}</sub>" if block.style == "small" else text]
    if isinstance(block, Items):
        return [f"- {_md(line)}" for line in block.lines]
    if isinstance(block, Terms):
        return [f"- **{_md(word)}**: {_md(meaning)}" for word, meaning in block.pairs]
    if isinstance(block, Code):
        return _fenced(block.text)
    if isinstance(block, Plot):
        return _md_plot(block)
    if isinstance(block, Fold):
        return _folded(block.title, _md_blocks(block.blocks))
    return _md_grid(block)


def _fenced(text: str, language: str = "") -> list[str]:
    fence = "`" * (1 + max([2, *(len(run) for run in re.findall(r"`+", text))]))
    return [fence + language, *text.splitlines(), fence]


def _folded(title: str, inside: Sequence[str]) -> list[str]:
    return [f"<details><summary>{escape(title)}</summary>", "", *inside, "</details>"]


def _md_plot(plot: Plot) -> list[str]:
    if not plot.svg:
        return [f"*{_md(plot.caption)}*"]
    alternative = _md(plot.alternative).replace("[", "(").replace("]", ")")
    lines = [f"![{alternative}](figures/{plot.stem}.svg)", "", _md(plot.caption)]
    if plot.query:
        lines += ["", *_folded("The SQL behind it", ["", *_fenced(plot.query, "sql"), ""])]
    return lines


def _md_grid(table: Grid) -> list[str]:
    if not table.rows:
        return ["*Nothing to show.*"]
    lines = _md_rows(table, table.shown)
    if table.first:
        inside = ["", *_md_rows(table, table.rows), ""]
        lines += ["", *_folded(f"All {len(table.rows)} rows", inside)]
    if table.query:
        lines += ["", *_folded("The SQL behind it", ["", *_fenced(table.query, "sql"), ""])]
    return lines


def _md_rows(table: Grid, rows: Sequence[Sequence[str]]) -> list[str]:
    marks = [":--" if words else "--:" for words in table.words]
    head = [" | ".join(_md(name) for name in table.head), " | ".join(marks)]
    body = [" | ".join(_md(cell) for cell in row) for row in rows]
    return [f"| {line} |" for line in [*head, *body]]


def to_json(document: Document) -> str:
    """The same content for a program: numbers with interval and method, text, queries."""
    content = {
        "schema": SCHEMA,
        "title": document.title,
        "question": document.question,
        "about": document.meta,
        "verdict": document.verdict,
        "sentence": document.sentence,
        "counts": document.counts,
        **document.summary,
        "chapters": [
            {
                "key": chapter.key,
                "title": chapter.title,
                "about": [_json_block(block) for block in chapter.intro],
                "sections": [
                    {
                        "key": section.key,
                        "title": section.title,
                        "blocks": [_json_block(block) for block in section.blocks],
                    }
                    for section in chapter.sections
                ],
            }
            for chapter in document.chapters
        ],
    }
    return json.dumps(plain(content), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _json_block(block: Block) -> dict[str, Any]:
    if isinstance(block, Prose):
        return {"text": block.text}
    if isinstance(block, Items):
        return {"items": list(block.lines)}
    if isinstance(block, Terms):
        return {"terms": dict(block.pairs)}
    if isinstance(block, Code):
        return {"code": block.text}
    if isinstance(block, Fold):
        return {"title": block.title, "blocks": [_json_block(inside) for inside in block.blocks]}
    if isinstance(block, Plot):
        files = [f"figures/{block.stem}.{kind}" for kind in ("svg", "pdf")] if block.svg else []
        return {"figure": block.stem, "caption": block.caption, "alternative": block.alternative,
                "files": files, "query": block.query}  # fmt: skip
    rows = block.data or [dict(zip(block.head, row, strict=True)) for row in block.rows]
    return {"table": block.name, "rows": list(rows), "query": block.query, **block.extra}
