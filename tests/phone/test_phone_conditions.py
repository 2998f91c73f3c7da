from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from rig_front import Front
from rig_phone import PORT, StandInPhone
from rig_state import CPU_POLICIES

from device_farm.adb import AdbPhone, TcpRoute
from device_farm.conditions import Conditions
from device_farm.errors import (
    BatteryLow,
    CommandFailed,
    ConditionRefused,
    ConditionsNotRestored,
    ConnectionLost,
    DeviceUnreachable,
    ScreenOff,
    TooHot,
)
from device_farm.readiness import require_ready

pytestmark = pytest.mark.phone

FOUND = {
    "settings/global/stay_on_while_plugged_in": "0\n",
    "settings/global/low_power": "1\n",
    "power/wakefulness": "Asleep\n",
    "power/keyguard_showing": "true\n",
    "power/fixed_performance": "false\n",
}
HELD = {
    "settings/global/stay_on_while_plugged_in": "15\n",
    "settings/global/low_power": "0\n",
    "power/wakefulness": "Awake\n",
    "power/keyguard_showing": "false\n",
    "power/fixed_performance": "true\n",
}
RECORD = "/data/local/tmp/pocketnas/conditions.json"
# A program of its own, for signals; its arguments: host, port and the folder of the key.
SESSION = """
import signal, sys, time
from pathlib import Path
from device_farm.adb import AdbPhone, TcpRoute
from device_farm.conditions import Conditions
signal.signal(signal.SIGINT, signal.default_int_handler)
route = TcpRoute(host=sys.argv[1], port=int(sys.argv[2]), key_directory=Path(sys.argv[3]))
with Conditions(AdbPhone(route)):
    print("held", flush=True)
    time.sleep(60)
"""
Tell = Callable[[str, str | None], None]
Read = Callable[[], dict[str, str]]


@pytest.fixture
def tell(stand_in: StandInPhone) -> Iterator[Tell]:
    """Changes a file of the phone's state, or deletes it, for one test."""
    originals: dict[Path, str | None] = {}

    def write(path: Path, text: str | None) -> None:
        if text is None:
            path.unlink(missing_ok=True)
            return
        path.write_text(text)
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
        path.chmod(0o755 if path.parent.name == "bin" else 0o644)

    def change(name: str, text: str | None) -> None:
        path = stand_in.state / name
        originals.setdefault(path, path.read_text() if path.exists() else None)
        write(path, text)

    yield change
    for path, text in originals.items():
        write(path, text)


@pytest.fixture
def read(stand_in: StandInPhone, tell: Tell) -> Read:
    """A phone in a drawer, saving power; the values of its settings."""
    for name, text in FOUND.items():
        tell(name, text)
    return lambda: {name: (stand_in.state / name).read_text() for name in FOUND}


def has_record(phone: AdbPhone) -> bool:
    return phone.run(f"[ -e {RECORD} ]", timeout_s=10).exit_code == 0


def test_conditions_are_held_and_then_as_before(phone: AdbPhone, read: Read) -> None:
    with Conditions(phone) as conditions:
        assert read() == HELD
        assert conditions.refused == ()
        assert conditions.state() == {
            "stay_awake": "15",
            "screen": "Awake",
            "battery_saver": "0",
            "fixed_performance": "true",
            "governor": "not available",  # its shell is not root
        }
    assert read() == FOUND
    assert not has_record(phone)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_every_exit_restores(phone: AdbPhone, read: Read, error: type[BaseException]) -> None:
    with pytest.raises(error), Conditions(phone):
        raise error
    assert read() == FOUND


def test_a_setting_that_nobody_had_made_is_deleted_again(
    phone: AdbPhone, stand_in: StandInPhone, tell: Tell
) -> None:
    setting = stand_in.state / "settings/global/stay_on_while_plugged_in"
    tell("settings/global/stay_on_while_plugged_in", None)
    with Conditions(phone):
        assert setting.read_text() == "15\n"
    assert not setting.exists()


def test_a_link_cut_in_the_middle_is_made_anew_to_restore(
    front: Front, fronted: AdbPhone, read: Read
) -> None:
    def use_a_broken_link() -> None:
        with Conditions(fronted):
            front.drop()
            fronted.run("true", timeout_s=10)

    with pytest.raises(ConnectionLost):
        use_a_broken_link()
    assert read() == FOUND
    assert not has_record(fronted)


def test_cuts_at_random_moments_leave_nothing_changed(
    stand_in: StandInPhone, front: Front, fronted: AdbPhone, read: Read
) -> None:
    rng = random.Random(3)
    cuts = 0
    for _ in range(8):
        front.drop_after_bytes = rng.randrange(15_000)
        with suppress(DeviceUnreachable), Conditions(fronted):
            assert read() == HELD
        assert read() == FOUND
        cuts += front.drop_after_bytes is None
        front.drop_after_bytes = None
        assert not has_record(fronted)
    assert cuts > 4


def test_a_phone_that_is_gone_is_restored_by_the_next_session(
    front: Front, fronted: AdbPhone, phone: AdbPhone, read: Read
) -> None:
    with (
        pytest.raises(ConditionsNotRestored, match=r"left changed: stay_awake \(was 0\), .*next"),
        Conditions(fronted, reconnect_s=0.5),
    ):
        front.stop_listening()
    assert read() == HELD
    with Conditions(phone):
        assert read() == HELD
    assert read() == FOUND
    assert not has_record(phone)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_a_session_ended_by_a_signal(
    stand_in: StandInPhone,
    phone: AdbPhone,
    key_directory: Path,
    read: Read,
    kind: signal.Signals,
) -> None:
    command = [sys.executable, "-c", SESSION, stand_in.host, str(PORT), str(key_directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as session:
        assert session.stdout is not None
        assert session.stdout.readline() == b"held\n"
        assert read() == HELD
        session.send_signal(kind)
    assert read() == (HELD if kind is signal.SIGKILL else FOUND)
    with Conditions(phone, []):
        assert read() == FOUND
    assert not has_record(phone)


def test_a_record_that_makes_no_sense_is_left_behind(phone: AdbPhone, read: Read) -> None:
    phone.run(f"mkdir -p {RECORD.rpartition('/')[0]}; echo '{{\x1b[2J' >{RECORD}", timeout_s=10)
    with Conditions(phone):
        assert read() == HELD
    assert read() == FOUND
    assert not has_record(phone)


def test_nothing_changes_when_the_originals_cannot_be_stored(phone: AdbPhone, read: Read) -> None:
    phone.run("cat /dev/zero >/data/local/tmp/full", timeout_s=60)
    with pytest.raises(CommandFailed, match=r"conditions\.json.*No space"), Conditions(phone):
        pytest.fail("there is no room for the record")
    assert read() == FOUND


def test_a_knob_that_does_not_take_is_reported(phone: AdbPhone, read: Read, tell: Tell) -> None:
    tell("bin/input", "#!/system/bin/sh\n")  # takes every key, and does nothing
    with Conditions(phone) as conditions:
        assert conditions.refused == ("screen stays 'Asleep'",)
        assert conditions.state()["screen"] == "Asleep"
        assert conditions.state()["battery_saver"] == "0"
    assert read() | {"power/keyguard_showing": "true\n"} == FOUND


def test_a_knob_that_does_not_take_ends_a_strict_session(
    phone: AdbPhone, read: Read, tell: Tell
) -> None:
    tell("bin/svc", "#!/system/bin/sh\necho Killed >&2; exit 137\n")
    with (
        pytest.raises(ConditionRefused, match="stay_awake stays '0'"),
        Conditions(phone, is_strict=True),
    ):
        pytest.fail("a strict session began")
    assert read() == FOUND


def test_a_setting_that_cannot_be_put_back_is_told_and_tried_again(
    phone: AdbPhone, stand_in: StandInPhone, read: Read, tell: Tell
) -> None:
    settings = (stand_in.state / "bin/settings").read_text()
    refuse = '[ "$1 $3" = "put low_power" ] && { echo busy >&2; exit 1; }\n'
    with (
        pytest.raises(ConditionsNotRestored, match=r"changed: battery_saver \(was 1\): .*busy"),
        Conditions(phone),
    ):
        tell("bin/settings", settings.replace("verb=$1\n", f"verb=$1\n{refuse}", 1))
    assert read() == FOUND | {"settings/global/low_power": "0\n"}
    tell("bin/settings", settings)
    with Conditions(phone, []):
        assert read() == FOUND


def test_modes_that_a_phone_does_not_have_are_no_error(
    phone: AdbPhone, read: Read, tell: Tell
) -> None:
    tell("power/fixed_performance_supported", "false\n")
    for tool in ("settings", "svc"):
        tell(f"bin/{tool}", None)
    with Conditions(phone) as conditions:
        assert dict(conditions.state()) == {
            "stay_awake": "not available",
            "screen": "Awake",
            "battery_saver": "not available",
            "fixed_performance": "not available",
            "governor": "not available",
        }
    assert read() == FOUND


def test_what_a_restart_has_reset_is_applied_again(
    phone: AdbPhone, stand_in: StandInPhone, read: Read, tell: Tell
) -> None:
    with Conditions(phone) as conditions:
        stand_in.restart()
        for name in ("power/wakefulness", "power/keyguard_showing", "power/fixed_performance"):
            tell(name, FOUND[name])
        phone.wait_until_reachable(10)
        conditions.reapply()
        assert read() == HELD
    assert read() == FOUND


def test_root_sets_the_governor(key_directory: Path) -> None:
    with StandInPhone(is_rooted=True) as rooted:
        phone = AdbPhone(TcpRoute(host=rooted.host, key_directory=key_directory))
        folder = rooted.state / "sys/devices/system/cpu/cpufreq"
        governors = [folder / policy / "scaling_governor" for policy in CPU_POLICIES]
        governors[0].write_text("walt\n")
        found = [path.read_text() for path in governors]
        with Conditions(phone) as conditions:
            assert conditions.state()["governor"].endswith("=performance")
            assert [path.read_text() for path in governors] == ["performance\n"] * len(governors)
        assert [path.read_text() for path in governors] == found
        phone.close()


def test_a_phone_without_root_keeps_its_governor(phone: AdbPhone, stand_in: StandInPhone) -> None:
    with Conditions(phone) as conditions:
        assert conditions.state()["governor"] == "not available"
        for path in (stand_in.state / "sys").rglob("scaling_governor"):
            assert path.read_text() == "schedutil\n"


def test_a_phone_in_good_state_is_ready(phone: AdbPhone) -> None:
    assert require_ready(phone) == []


def test_a_locked_phone_is_ready_with_a_warning(phone: AdbPhone, read: Read, tell: Tell) -> None:
    tell("power/keyguard_secure", "true\n")
    with Conditions(phone) as conditions:
        assert conditions.refused == ()
        (warning,) = require_ready(phone)
        assert "locked" in warning
    tell("power/keyguard_secure", "false\n")


def test_a_phone_that_cannot_be_measured_says_why(phone: AdbPhone, tell: Tell) -> None:
    tell("dumpsys/battery", "  level: 29\n  scale: 100\n")
    with pytest.raises(BatteryLow, match="its battery is at 29%, below 30%; charge it"):
        require_ready(phone)
    tell("dumpsys/battery", None)  # a board on mains
    tell("dumpsys/thermalservice", "Thermal Status: 3\n")
    with pytest.raises(TooHot, match="thermal status is SEVERE; take it"):
        require_ready(phone)
    tell("dumpsys/thermalservice", "Thermal Status: 2\n")
    tell("power/wakefulness", "Dozing\n")
    with pytest.raises(ScreenOff, match="it is Dozing; press the power button"):
        require_ready(phone)
    tell("power/wakefulness", "Awake\n")
    assert require_ready(phone) == []


def test_no_thermal_protection_is_touched(phone: AdbPhone, stand_in: StandInPhone) -> None:
    before = {path: path.read_bytes() for path in (stand_in.state / "dumpsys").iterdir()}
    with Conditions(phone):
        assert not (stand_in.state / "power/thermal_override").exists()
        assert {
            path: path.read_bytes() for path in (stand_in.state / "dumpsys").iterdir()
        } == before
