from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from rig_front import Front
from rig_phone import StandInPhone

from device_farm.adb import AdbPhone
from device_farm.errors import CommandTimeout, ConnectionLost, OutputTooLarge

pytestmark = pytest.mark.phone


@pytest.fixture(params=["shell v2", "marker"])
def either(request: pytest.FixtureRequest, front: Front, fronted: AdbPhone) -> AdbPhone:
    """A phone of today, and one from before Android 7."""
    if request.param == "marker":
        front.hidden_features = {"shell_v2"}
    return fronted


def test_every_exit_code_arrives(either: AdbPhone) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda code: either.run(f"exit {code}", timeout_s=30), range(256)))
    assert [result.exit_code for result in results] == list(range(256))


def test_a_signal_shows_as_128_plus_its_number(either: AdbPhone) -> None:
    for signal in (6, 9, 11):
        assert either.run(f"kill -{signal} $$", timeout_s=10).exit_code == 128 + signal


def test_standard_error_is_kept_apart(phone: AdbPhone) -> None:
    result = phone.run("echo out; echo err >&2", timeout_s=10)
    assert (result.stdout, result.stderr) == (b"out\n", b"err\n")


def test_an_old_phone_mixes_standard_error_in(front: Front, fronted: AdbPhone) -> None:
    front.hidden_features = {"shell_v2"}
    result = fronted.run("echo out; echo err >&2; exit 3", timeout_s=10)
    assert (result.stdout, result.stderr, result.exit_code) == (b"out\nerr\n", b"", 3)


def test_output_arrives_byte_for_byte(either: AdbPhone) -> None:
    assert either.run("printf 'a\\r\\n\\000\\377no newline'", timeout_s=10).stdout == (
        b"a\r\n\0\xffno newline"
    )


def test_output_of_many_packets_is_complete(either: AdbPhone) -> None:
    assert either.run("seq 400000", timeout_s=30).stdout == b"".join(
        b"%d\n" % number for number in range(1, 400001)
    )


def test_standard_input_is_empty(either: AdbPhone) -> None:
    assert either.run("cat; echo read", timeout_s=10).stdout == b"read\n"


def test_quotes_and_line_breaks_reach_the_shell_unchanged(either: AdbPhone) -> None:
    result = either.run("""x="it's"; echo "$x" '$x'\necho '"two"' # ok""", timeout_s=10)
    assert result.text == 'it\'s $x\n"two"\n'


def test_a_syntax_error_is_a_result(either: AdbPhone) -> None:
    assert either.run("if then", timeout_s=10).exit_code != 0


def test_a_command_cannot_contain_nul(phone: AdbPhone) -> None:
    with pytest.raises(ValueError, match="NUL"):
        phone.run("echo \0", timeout_s=10)


@pytest.mark.parametrize(
    "command",
    [
        "sleep 77",
        "sleep 77 | cat",
        "(sleep 77 & sleep 77) & wait",
        "trap '' TERM INT HUP; while true; do sleep 1; done",
        "while true; do echo busy; sleep 0.05; done",
    ],
)
def test_a_hung_command_ends_in_time_and_leaves_nothing(
    either: AdbPhone, stand_in: StandInPhone, command: str
) -> None:
    either.run("true", timeout_s=10)
    start = time.monotonic()
    with pytest.raises(CommandTimeout, match=r"killed after 0\.8 s"):
        either.run(command, timeout_s=0.8)
    assert 0.8 <= time.monotonic() - start < 2.5
    assert stand_in.commands() == []
    assert either.run("echo alive", timeout_s=10).text == "alive\n"


def test_endless_output_is_cut_off_and_its_command_killed(
    stand_in: StandInPhone, front: Front, fronted: AdbPhone
) -> None:
    with pytest.raises(OutputTooLarge, match="67108864 bytes"):
        fronted.run("cat /dev/zero", timeout_s=60)
    assert stand_in.commands() == []


def test_a_silent_command_does_not_hold_up_others(phone: AdbPhone) -> None:
    phone.run("true", timeout_s=10)
    with ThreadPoolExecutor(2) as pool:
        silent = pool.submit(phone.run, "sleep 2; echo slept", timeout_s=10)
        time.sleep(0.2)
        start = time.monotonic()
        for _ in range(5):
            phone.run("true", timeout_s=10)
        assert time.monotonic() - start < 1.0
        assert silent.result().text == "slept\n"


def test_concurrent_outputs_do_not_mix(phone: AdbPhone) -> None:
    def lines(number: int) -> bytes:
        return phone.run(f"yes line{number} | head -n 20000", timeout_s=60).stdout

    with ThreadPoolExecutor(8) as pool:
        for number, output in enumerate(pool.map(lines, range(8))):
            assert output == b"line%d\n" % number * 20000


def test_the_phone_ends_a_command_whose_link_broke(
    stand_in: StandInPhone, front: Front, fronted: AdbPhone
) -> None:
    fronted.run("true", timeout_s=10)
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(fronted.run, "sleep 77 | cat", timeout_s=60)
        time.sleep(0.5)
        assert len(stand_in.commands()) > 3
        front.drop()
        assert isinstance(lost.exception(timeout=1), ConnectionLost)
    time.sleep(0.5)
    assert stand_in.commands() == []


def test_the_phone_ends_a_command_whose_link_went_silent(
    stand_in: StandInPhone, front: Front, fronted: AdbPhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device_farm.adb.shell._WATCHDOG_GRACE_S", 1)
    monkeypatch.setattr("device_farm.adb.shell._KILL_TIMEOUT_S", 0.5)
    fronted.run("true", timeout_s=10)
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(fronted.run, "sleep 77 | cat", timeout_s=1)
        time.sleep(0.5)
        front.is_silent = True
        assert isinstance(lost.exception(timeout=3), ConnectionLost)
    assert len(stand_in.commands()) > 3
    time.sleep(2)
    assert stand_in.commands() == []
