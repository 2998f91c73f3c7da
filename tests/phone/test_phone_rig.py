"""The rig itself: what it leaves behind, and what it says where it cannot run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rig_image import RigUnavailable, require_image
from rig_phone import FOLDER, StandInPhone

from device_farm.adb import AdbPhone, TcpRoute

pytestmark = pytest.mark.phone
HOLD_A_PHONE = """
from rig_phone import StandInPhone
with StandInPhone() as phone:
    print(phone.number, flush=True)
    input()
"""


def traces(number: int) -> list[str]:
    """What is left of a phone outside its folder: its network link and its processes."""
    links = os.listdir("/sys/class/net")
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [
        *(link for link in links if link == f"pnphone{number}"),
        *(line for line in running.stdout.splitlines() if f"phone{number}/" in line),
    ]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_test_run_that_is_stopped_leaves_nothing(
    running_phone: StandInPhone, how: signal.Signals
) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", HOLD_A_PHONE],
        cwd=Path(__file__).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert run.stdout is not None
    number = int(run.stdout.readline())
    assert traces(number)
    run.send_signal(how)
    run.communicate()
    deadline = time.monotonic() + 5
    while traces(number) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert traces(number) == []
    with StandInPhone() as successor:
        assert successor.number == number
    assert not (FOLDER / successor.name).exists()


def test_phones_are_apart(running_phone: StandInPhone, key_directory: Path) -> None:
    with StandInPhone() as other:
        phones = [
            AdbPhone(TcpRoute(host=stand_in.host, key_directory=key_directory))
            for stand_in in (running_phone, other)
        ]
        models = {phone.run("getprop ro.product.model", timeout_s=10).text for phone in phones}
        assert len(models) == 2
        phones[0].run("touch /data/local/tmp/mine", timeout_s=10)
        assert phones[1].run("ls -A /data/local/tmp; hostname", timeout_s=10).text == (
            f"{other.name}\n"
        )
        for phone in phones:
            phone.close()
    running_phone.empty_disk()


def test_without_an_image_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("POCKETNAS_CACHE", str(tmp_path))
    with pytest.raises(RigUnavailable, match=r"run `python tests/phone/rig_image\.py`"):
        require_image()


def test_without_the_programs_the_reason_is_told(
    running_phone: StandInPhone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RigUnavailable, match="needs the program `ip`"):
        StandInPhone()
