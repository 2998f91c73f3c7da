from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_command_reference_is_what_the_program_prints() -> None:
    script = ROOT / "docs" / "make_cli.py"
    done = subprocess.run([sys.executable, script, "--check"], check=False, cwd=ROOT)
    assert done.returncode == 0, "docs/cli.md is out of date: run python docs/make_cli.py"
