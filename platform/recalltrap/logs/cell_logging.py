"""What libraries and stages log while a pack is executed, as lines that name its cells."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from recalltrap.logs.lines import log_line

LOGGER = logging.getLogger("recalltrap")


class CellFormatter(logging.Formatter):
    """A record as a line of JSON: level, logger, message, and what it is about."""

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__()
        self.about = about

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info:
            message = f"{message}\n{self.formatException(record.exc_info)}"
        return log_line(
            "log", level=record.levelname, logger=record.name, message=message, **self.about
        )


@contextlib.contextmanager
def logging_about(about: Mapping[str, Any]) -> Iterator[None]:
    """Meanwhile all that this process logs to its terminal says what it is about.

    Libraries have handlers of their own (transformers, for one), so each handler that writes to
    stdout or stderr gets the formatter, and the root logger one where it has none.
    """
    root = logging.getLogger()
    own = logging.StreamHandler(sys.stderr)
    if not any(map(_is_terminal, root.handlers)):
        root.addHandler(own)
    before = {handler: handler.formatter for handler in _terminal_handlers()}
    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    try:
        for handler in before:
            handler.setFormatter(CellFormatter(about))
        yield
    finally:
        LOGGER.setLevel(level)
        root.removeHandler(own)
        for handler, formatter in before.items():
            handler.setFormatter(formatter)


def _terminal_handlers() -> list[logging.Handler]:
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    handlers = [
        handler
        for logger in loggers
        if isinstance(logger, logging.Logger)
        for handler in logger.handlers
    ]
    return [handler for handler in handlers if _is_terminal(handler)]


def _is_terminal(handler: logging.Handler) -> bool:
    stream = getattr(handler, "stream", None)
    return stream is not None and stream in (
        sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__,
    )  # fmt: skip
