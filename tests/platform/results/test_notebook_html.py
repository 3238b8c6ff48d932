from __future__ import annotations

from recalltrap.results.notebook_html import block, lines, table


def test_what_a_study_says_is_text() -> None:
    """A question or a name is somebody's own: never markup."""
    evil = "<script>alert('x')</script>"
    shown = block(evil, lines([evil]), table([{evil: evil}]))
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;") == 4


def test_numbers_stand_to_the_right() -> None:
    shown = table([{"ordering": "K-A", "cells": 5}])
    assert "<td style='text-align: left'>K-A</td><td style='text-align: right'>5</td>" in shown
    assert table([]) == ""
