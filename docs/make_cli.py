"""Write docs/cli.md: the help of every command, as the program prints it.

With ``--check`` nothing is written, and the exit code is 1 when the page is not up to date.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import typer

from cli import app

PAGE = Path(__file__).with_name("cli.md")


def main() -> int:
    """Write or check the page."""
    page = "\n".join(
        ["# Commands", "", "Made by `python docs/make_cli.py`; do not edit.", "", *_sections()]
    )
    if "--check" in sys.argv:
        return 0 if PAGE.read_text() == page else 1
    PAGE.write_text(page)
    return 0


def _sections() -> list[str]:
    return [
        line
        for words in ((), *_commands(app))
        for line in (f"## {' '.join(('pocketnas', *words))}", "", "```", _help(words), "```", "")
    ]


def _commands(group: typer.Typer, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for command in group.registered_commands:
        assert command.callback is not None
        found.append((*prefix, command.name or command.callback.__name__))
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        found += _commands(inner.typer_instance, (*prefix, str(inner.name)))
    return found


def _help(words: tuple[str, ...]) -> str:
    environment = {**os.environ, "COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1"}
    command = [sys.executable, "-c", "import cli; cli.main()", *words, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    lines = done.stdout.replace("Usage: -c", "Usage: pocketnas").splitlines()
    return "\n".join(line.rstrip() for line in lines).strip()


if __name__ == "__main__":
    sys.exit(main())
