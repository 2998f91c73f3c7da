from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from device_farm.device import Device, require_success
from device_farm.errors import (
    CommandFailed,
    CommandTimeout,
    OutputTooLarge,
    PullFailed,
    PushFailed,
)
from device_farm.host import HostDevice


@pytest.fixture
def host() -> Device:
    return HostDevice()


@pytest.mark.parametrize("code", [0, 1, 2, 127, 255])
def test_the_exit_code_is_kept(host: Device, code: int) -> None:
    assert host.run(f"exit {code}", timeout_s=10).exit_code == code


def test_a_signal_shows_as_128_plus_its_number(host: Device) -> None:
    assert host.run("kill -11 $$", timeout_s=10).exit_code == 139


def test_both_outputs_are_kept_apart(host: Device) -> None:
    result = host.run("echo out; echo err >&2", timeout_s=10)
    assert (result.stdout, result.stderr) == (b"out\n", b"err\n")


def test_much_output_on_both_pipes_blocks_nothing(host: Device) -> None:
    result = host.run("seq 200000; seq 200000 >&2", timeout_s=20)
    assert result.stdout == result.stderr
    assert result.text.splitlines()[-1] == "200000"


def test_standard_input_is_empty(host: Device) -> None:
    assert host.run("cat; echo read", timeout_s=10).stdout == b"read\n"


def test_a_hung_command_is_killed_with_its_children(host: Device, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(CommandTimeout, match=r"over 0\.5 s"):
        host.run(f"cd {tmp_path}; sleep 77 | sleep 77.25", timeout_s=0.5)
    assert time.monotonic() - start < 2
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert "sleep 77.25" not in listed.stdout


def test_endless_output_is_cut_off() -> None:
    with pytest.raises(OutputTooLarge, match="100000 bytes"):
        HostDevice(max_output_bytes=100_000).run("cat /dev/zero", timeout_s=30)


def test_a_file_is_copied_with_its_mode_and_at_once(host: Device, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("#!/bin/sh\nexit 4\n")
    source.chmod(0o755)
    host.push(source, str(target))
    assert host.run(str(target), timeout_s=10).exit_code == 4
    host.pull(str(target), tmp_path / "back")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "source", "target"]


def test_impossible_copies_say_why(host: Device, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("x")
    with pytest.raises(PushFailed, match="No such file"):
        host.push(source, str(tmp_path / "nowhere" / "x"))
    with pytest.raises(PullFailed, match="No such file"):
        host.pull(str(tmp_path / "nothing"), tmp_path / "x")


def test_removing_takes_whole_folders_and_forgives_what_is_not_there(
    host: Device, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    host.remove(str(folder))
    host.remove(str(folder))
    assert list(tmp_path.iterdir()) == []


def test_removing_a_link_leaves_its_target(host: Device, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    host.remove(str(tmp_path / "link"))
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize("path", ["", "/", "//.", "relative", "/tmp/../"])
def test_nothing_vague_is_removed(host: Device, path: str) -> None:
    with pytest.raises(ValueError, match="absolute path"):
        host.remove(path)


def test_a_required_success_quotes_what_the_command_said(host: Device) -> None:
    result = host.run("echo cause >&2; exit 3", timeout_s=10)
    with pytest.raises(CommandFailed, match="cannot do it: exit code 3, 'cause'"):
        require_success("host", result, "do it")
