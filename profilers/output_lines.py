"""The lines of a tool's output, freed of what loggers put in front of them.

TFLite writes ``INFO: text`` since 2023, LiteRT ``INFO: [file.cc:36] text``; the log of an app on a
phone reads ``07-14 13:14:52.097 22838 22838 I tflite  : text`` or ``I/tflite (22838): text``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_LOGCAT = re.compile(
    r"(?:(?:[0-9]{4}-)?[0-9]{2}-[0-9]{2} [0-9:.]{8,18} +(?:[0-9]+ +[0-9]+ )?)?"
    r"([VDIWEF])[ /][\w.-]{1,64} *(?:\( *[0-9]+\))?: ?"
)
_LEVEL = re.compile(
    r"(VERBOSE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL): ?(?:\[[^\]]{1,200}:[0-9]+\] ?)?"
)


class OutputLine(NamedTuple):
    """One line.

    Attributes:
        level: First letter of its severity: V, D, I, W, E or F; empty where none is told.
        is_logcat: Whether it comes from a phone's log.
        text: The rest.
    """

    level: str
    is_logcat: bool
    text: str

    @property
    def is_error(self) -> bool:
        """Whether its writer calls it an error."""
        return self.level in ("E", "F")


def split_lines(text: str) -> list[OutputLine]:
    r"""The lines that are not blank; they may end with ``\n``, ``\r\n`` or ``\r\r\n``."""
    lines = (raw.rstrip() for raw in text.replace("\0", "").split("\n"))
    return [_line(raw) for raw in lines if raw]


def _line(raw: str) -> OutputLine:
    level, is_logcat = "", False
    if found := _LOGCAT.match(raw):
        level, is_logcat, raw = found[1], True, raw[found.end() :]
    if found := _LEVEL.match(raw):
        level, raw = found[1][0], raw[found.end() :]
    return OutputLine(level, is_logcat, raw)
