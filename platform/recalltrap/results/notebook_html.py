"""HTML for notebooks: a heading, lines and tables, in the notebook's own style and colours."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from recalltrap.results.readable_tables import Rows, readable


def block(title: str, *parts: str) -> str:
    """One object's HTML: its title, then parts that are HTML already."""
    return f"<div><strong>{escape(title)}</strong>{''.join(parts)}</div>"


def lines(texts: Iterable[str]) -> str:
    """A paragraph for each text."""
    return "".join(f"<p style='margin: 0.3em 0'>{escape(text)}</p>" for text in texts)


def table(rows: Rows) -> str:
    """Rows as a table; nothing where there are none."""
    shown = readable(rows)
    if not shown.rows:
        return ""
    sides = ["right" if right else "left" for right in shown.numeric]

    def row(tag: str, texts: Iterable[str]) -> str:
        cells = (
            f"<{tag} style='text-align: {side}'>{escape(text)}</{tag}>"
            for side, text in zip(sides, texts, strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>"

    body = "".join(row("td", texts) for texts in shown)
    return f"<table><thead>{row('th', shown.names)}</thead><tbody>{body}</tbody></table>"
