"""USB for real: every test in `inside` runs in one guest and has its outcome here.

The guest is booted once, by whichever of them comes first.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from rig_boot import GuestFailed, run_in_guest
from rig_guest import require_guest
from rig_image import image_path, require_image
from rig_packages import RigUnavailable

pytestmark = pytest.mark.usb
TESTS = Path(__file__).with_name("inside") / "phone_on_usb.py"
PROJECT = TESTS.parents[3]
TIMEOUT_S = 900.0  # on a busy machine; else a minute and a half
NAMES = [
    node.name
    for node in ast.parse(TESTS.read_text()).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
]


@dataclass(frozen=True, kw_only=True)
class Session:
    """What happened in the guest.

    Attributes:
        reports: One for each phase of each test, as `inside/conftest.py` writes them.
        end: How it ended, with the last words; empty when every test had its turn.
    """

    reports: list[dict[str, str]]
    end: str


@pytest.fixture(scope="session")
def guest() -> Path:
    try:
        require_image()
        return require_guest()
    except RigUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def session(guest: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    if importlib.util.find_spec("usb1") is None:
        pytest.skip("the extra `usb` is not installed: `pip install -e '.[usb]'`")
    share = tmp_path_factory.mktemp("guest")
    end = ""
    exit_code = 0
    try:
        exit_code = run_in_guest(_job(), share, timeout_s=TIMEOUT_S)
    except GuestFailed as failure:
        end = str(failure)
    report = share / "report"
    lines = report.read_text().splitlines() if report.exists() else []
    reports = [json.loads(line) for line in lines]
    has_failure = any(report["outcome"] == "failed" for report in reports)
    if exit_code != (pytest.ExitCode.TESTS_FAILED if has_failure else pytest.ExitCode.OK):
        end = end or f"pytest ended with {exit_code}: {(share / 'output').read_text()}"
    return Session(reports=reports, end=end)


def _job() -> str:
    """The script that runs the tests in the guest."""
    python = [sys.executable, "-m", "pytest", str(TESTS)]
    options = [
        *("-c", str(PROJECT / "pyproject.toml")),
        *("--confcutdir", str(TESTS.parent)),
        *("-p", "no:cacheprovider"),
        *("--basetemp", "/run/pytest"),
    ]
    return f"""
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 POCKETNAS_CACHE={shlex.quote(str(image_path().parent))}
cd {shlex.quote(str(PROJECT))}
exec {shlex.join([*python, *options])}
"""


@pytest.mark.parametrize("name", NAMES)
def test_in_the_guest(session: Session, name: str) -> None:
    reports = [report for report in session.reports if report["test"].partition("[")[0] == name]
    for report in reports:
        if report["outcome"] == "failed":
            pytest.fail(f"{report['test']}, {report['phase']}: {report['text']}", pytrace=False)
    if not any(report["phase"] == "call" for report in reports):
        pytest.fail(f"did not run in the guest; {session.end}", pytrace=False)


def test_the_guest_came_to_its_end(session: Session) -> None:
    assert session.end == ""


def test_a_guest_that_takes_too_long_is_killed(guest: Path, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(GuestFailed, match=r"not done in 1\.5 s"):
        run_in_guest("sleep 77", tmp_path, timeout_s=1.5)
    assert time.monotonic() - start < 5
    assert _machines(tmp_path) == []


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_a_guest_does_not_outlive_its_tests(
    guest: Path, tmp_path: Path, blow: signal.Signals
) -> None:
    script = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from pathlib import Path; from rig_boot import run_in_guest\n"
        f"run_in_guest('sleep 77', Path({str(tmp_path)!r}), timeout_s=77)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as tests:
        _wait_for(lambda: _machines(tmp_path) != [])
        tests.send_signal(blow)
    _wait_for(lambda: _machines(tmp_path) == [])


def _machines(share: Path) -> list[str]:
    """The processes of guests with this share."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue  # it ended
        if f"path={share}," in line:
            found.append(process.name)
    return found


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
