from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
from rig_front import Front
from rig_image import Adb, RigUnavailable, require_image
from rig_phone import PORT, StandInPhone
from rig_usb import Cable, plug_in

import device_farm
from device_farm.adb import AdbPhone, AdbServer, ServerRoute
from device_farm.discovery import discover
from device_farm.errors import (
    ConnectionLost,
    DeviceBusy,
    DeviceLeased,
    DeviceNotFound,
    DevicePermissionDenied,
    DeviceUnauthorized,
    DeviceUnreachable,
)
from device_farm.farm import Farm, Job, JobEvent, LeasedPhone, work
from device_farm.lease import holder_of
from device_farm.task import start

pytestmark = pytest.mark.phone
TWINS = "model:Twin"
# Acquires what it is told to, says which phone it got, and holds it until its input ends.
HOLD = """
import sys
from pathlib import Path
from device_farm.errors import DeviceError
from device_farm.farm import Farm
wanted, key_directory, *addresses = sys.argv[1:]
sys.argv = ["pocketnas", "profile"]
try:
    farm = Farm(servers=(), addresses=addresses, key_directory=Path(key_directory))
    with farm.acquire(wanted) as leased:
        print("got", leased.found.identity, flush=True)
        sys.stdin.read()
except DeviceError as error:
    print("failed", error, flush=True)
"""


@pytest.fixture(scope="module")
def farm_phones() -> Iterator[list[StandInPhone]]:
    """Three phones; the first two are of one model."""
    with ExitStack() as stack:
        try:
            phones = [stack.enter_context(StandInPhone()) for _ in range(3)]
        except RigUnavailable as reason:
            pytest.skip(str(reason))
        for phone in phones[:2]:
            rename(phone, "ro.product.model", "Twin")
        yield phones


def rename(phone: StandInPhone, name: str, value: str) -> None:
    """Change what a phone tells about itself."""
    path = phone.state / "properties"
    line = re.compile(rf"^\[{re.escape(name)}\]: \[.*\]$", re.MULTILINE)
    path.write_text(line.sub(lambda _: f"[{name}]: [{value}]", path.read_text()))


@pytest.fixture(autouse=True)
def _own_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder without leases, but with the image."""
    try:
        (tmp_path / "adbd").symlink_to(require_image())
    except RigUnavailable as reason:
        pytest.skip(str(reason))
    monkeypatch.setenv("POCKETNAS_CACHE", str(tmp_path))


@pytest.fixture(autouse=True)
def _no_cables(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(None, monkeypatch)


@pytest.fixture
def farm(farm_phones: list[StandInPhone], key_directory: Path) -> Iterator[Farm]:
    yield Farm(
        servers=(),
        addresses=[phone.serial for phone in farm_phones],
        key_directory=key_directory,
    )
    for phone in farm_phones:
        assert holder_of(identity(phone)) is None


def identity(phone: StandInPhone) -> str:
    return f"STANDIN{phone.number}"


@contextmanager
def other_process(
    wanted: str, phones: list[StandInPhone], key_directory: Path
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that acquires a phone, and what it says about that."""
    addresses = [phone.serial for phone in phones]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, wanted, str(key_directory), *addresses],
        env=os.environ | {"PYTHONPATH": str(Path(device_farm.__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


# Who is there


def test_phones_seen_through_tcp_and_a_server_are_shown_once(
    farm_phones: list[StandInPhone], adb: Adb, adb_server: AdbServer, key_directory: Path
) -> None:
    for phone in farm_phones:
        assert b"connected" in adb("connect", phone.serial).stdout
    addresses = [phone.serial for phone in farm_phones[:2]]
    rows = discover(servers=[adb_server], addresses=addresses, key_directory=key_directory)
    mine = {row.identity: row for row in rows if row.serial in {p.serial for p in farm_phones}}
    for phone in farm_phones:
        adb("disconnect", phone.serial)
    assert len(mine) == 3
    ways = [mine[identity(phone)].way for phone in farm_phones]
    assert ways == ["tcp", "tcp", f"adb server {adb_server}"]
    for row in mine.values():
        assert (row.state, row.remedy, row.holder) == ("ready", "", None)
        assert row.info is not None
        assert len(row.info.clusters) == 2
        assert row.battery is not None
        assert row.thermal is not None
        plain = json.loads(json.dumps(row.to_json()))
        assert int(plain["info"]["clusters"][0]["mask"], 16) > 0
        assert plain["battery"]["level"] == 0.87
        assert plain["thermal"]["status"] == "none"


def test_the_state_of_each_phone_is_told_in_time(
    farm_phones: list[StandInPhone], key_directory: Path
) -> None:
    backends = [(phone.host, PORT) for phone in farm_phones]
    with (
        Front(backends[0], security="rsa", prompt="ignore") as prompting,
        Front(backends[1]) as hung,
        Front(backends[2], security="tls") as unpaired,
    ):
        hung.is_silent = True
        fronts = [address(each) for each in (prompting, hung, unpaired)]
        start = time.monotonic()
        rows = discover(
            servers=[],
            addresses=[*fronts, farm_phones[2].serial],
            timeout_s=4.0,
            key_directory=key_directory,
        )
        assert time.monotonic() - start < 6.0
    found = {row.serial: row for row in rows}
    states = [found[serial].state for serial in (*fronts, farm_phones[2].serial)]
    assert states == ["unauthorized", "offline", "unauthorized", "ready"]
    remedies = [found[serial].remedy for serial in fronts]
    assert "Allow USB debugging" in remedies[0]
    assert "unlock the phone" in remedies[1]
    assert "adb pair" in remedies[2]


def test_a_phone_that_answers_slowly_is_shown_with_what_it_told(
    farm_phones: list[StandInPhone], key_directory: Path
) -> None:
    slow = farm_phones[2].state / "bin" / "dumpsys"
    text = slow.read_text()
    try:
        slow.write_text("#!/system/bin/sh\nsleep 60\n")
        start = time.monotonic()
        (row,) = discover(
            servers=[],
            addresses=[farm_phones[2].serial],
            timeout_s=2.0,
            key_directory=key_directory,
        )
        assert time.monotonic() - start < 3.0
    finally:
        slow.write_text(text)
    assert (row.state, row.battery) == ("ready", None)
    assert row.info is not None


def test_what_a_phone_tells_harms_nothing(
    farm_phones: list[StandInPhone], key_directory: Path, tmp_path: Path
) -> None:
    phone = farm_phones[2]
    text = (phone.state / "properties").read_text()
    try:
        rename(phone, "ro.serialno", f"x;touch {tmp_path}/owned;$(touch {tmp_path}/owned)\x1b[2J")
        rename(phone, "ro.product.model", "\x1b]0;owned\x07")
        farm = Farm(servers=(), addresses=[phone.serial], key_directory=key_directory)
        (row,) = farm.devices()
        assert row.is_ready
        assert json.dumps(row.to_json(), ensure_ascii=False).isprintable()
        assert row.identity.endswith(r"\x1b[2J")
        with farm.acquire(row.identity) as leased:
            assert leased.info.model == r"\x1b]0;owned\x07"
            with pytest.raises(DeviceLeased) as caught, farm.acquire(phone.serial):
                pass
            assert str(caught.value).isprintable()
        with pytest.raises(DeviceNotFound) as missing, farm.acquire("nobody"):
            pass
        assert str(missing.value).isprintable()
    finally:
        (phone.state / "properties").write_text(text)
    assert not (tmp_path / "owned").exists()


# On a cable


@pytest.fixture
def cables(farm_phones: list[StandInPhone], monkeypatch: pytest.MonkeyPatch) -> list[Cable]:
    """The three phones on USB, under their own serial numbers."""
    cables = [Cable(identity(phone), (phone.host, PORT)) for phone in farm_phones]
    plug_in(cables, monkeypatch)
    return cables


def test_a_phone_on_a_cable_and_in_the_network_is_one_phone_and_one_lease(
    cables: list[Cable], farm: Farm, farm_phones: list[StandInPhone]
) -> None:
    rows = farm.devices()
    assert [row.way for row in rows] == ["usb"] * 3
    aliases = {row.serial: row.aliases for row in rows}
    assert aliases == {identity(phone): (phone.serial,) for phone in farm_phones}
    with farm.acquire(identity(farm_phones[0])) as leased:
        assert leased.found.way == "usb"
        assert leased.phone.run("echo in", timeout_s=10).text == "in\n"
        with pytest.raises(DeviceLeased), farm.acquire(farm_phones[0].serial):
            pass
    with farm.acquire(farm_phones[0].serial) as leased:
        assert leased.found.way == "tcp"


def test_cables_that_cannot_be_used_say_why(
    cables: list[Cable], farm_phones: list[StandInPhone], key_directory: Path
) -> None:
    cables[0].is_denied = True
    cables[1].is_busy = True
    farm = Farm(servers=(), key_directory=key_directory)
    denied, busy, ready = sorted(farm.devices(), key=lambda row: row.state != "no permissions")
    if busy.state == "ready":
        busy, ready = ready, busy
    assert (denied.serial, denied.state) == ("usb:1-1", "no permissions")
    assert "udev" in denied.remedy
    assert (busy.serial, busy.state) == (identity(farm_phones[1]), "busy")
    assert ready.is_ready
    with pytest.raises(DevicePermissionDenied), farm.acquire("usb:1-1"):
        pass
    with pytest.raises(DeviceBusy, match="adb kill-server"), farm.acquire(busy.serial):
        pass


def test_a_cable_that_the_adb_server_holds_is_shown_as_the_servers(
    cables: list[Cable], adb: Adb, adb_server: AdbServer, farm_phones: list[StandInPhone]
) -> None:
    phone = farm_phones[0]
    cables[0].serial = phone.serial  # as if the server had it on its own cable
    cables[0].is_busy = True
    assert b"connected" in adb("connect", phone.serial).stdout
    rows = discover(servers=[adb_server])
    adb("disconnect", phone.serial)
    (row,) = [row for row in rows if row.has_name(phone.serial)]
    assert (row.state, row.way) == ("ready", f"adb server {adb_server}")


def test_closing_a_phone_behind_a_server_wakes_who_waits_for_it(
    adb: Adb, adb_server: AdbServer, farm_phones: list[StandInPhone]
) -> None:
    phone = farm_phones[0]
    assert b"connected" in adb("connect", phone.serial).stdout
    served = AdbPhone(ServerRoute(serial=phone.serial, server=adb_server))
    waiting = start(partial(served.run, "sleep 77", timeout_s=100))
    time.sleep(0.5)
    served.close()
    assert isinstance(waiting.exception(timeout=5), ConnectionLost)
    assert served.run("echo back", timeout_s=10).text == "back\n"
    adb("disconnect", phone.serial)


def test_two_cables_of_one_serial_number_are_not_confused(
    cables: list[Cable], key_directory: Path
) -> None:
    cables[0].serial = cables[1].serial = "0123456789ABCDEF"
    rows = discover(servers=[], key_directory=key_directory)
    (twice,) = [row for row in rows if row.serial == "0123456789ABCDEF"]
    assert twice.state == "ambiguous"
    assert "unplug all but one" in twice.remedy


# One for oneself


def test_a_second_process_learns_who_has_the_phone_until_that_one_is_killed(
    farm: Farm, farm_phones: list[StandInPhone], key_directory: Path
) -> None:
    wanted = farm_phones[0].serial
    with other_process(wanted, farm_phones, key_directory) as (process, said):
        assert said == f"got {identity(farm_phones[0])}"
        with other_process(wanted, farm_phones, key_directory) as (_, refused):
            assert f"in use by pid {process.pid}, pocketnas profile, since" in refused
        with pytest.raises(DeviceLeased) as caught, farm.acquire(wanted):
            pass
        assert caught.value.holder_pids == {process.pid}
        (row,) = [row for row in farm.devices() if row.serial == wanted]
        assert row.is_ready
        assert row.holder is not None
        assert row.holder.startswith(f"pid {process.pid}, pocketnas profile")
        process.kill()
        process.wait()
        with farm.acquire(wanted) as leased:
            assert leased.found.identity == identity(farm_phones[0])


def test_two_processes_that_want_a_model_get_a_twin_each_and_a_third_none(
    farm: Farm, farm_phones: list[StandInPhone], key_directory: Path
) -> None:
    with (
        other_process(TWINS, farm_phones, key_directory) as (first, said),
        other_process(TWINS, farm_phones, key_directory) as (second, also_said),
    ):
        assert {said, also_said} == {f"got {identity(phone)}" for phone in farm_phones[:2]}
        with (
            pytest.raises(DeviceLeased, match="all phones that fit") as caught,
            farm.acquire(TWINS),
        ):
            pass
        assert caught.value.holder_pids == {first.pid, second.pid}
        threading.Timer(0.5, first.kill).start()
        with farm.acquire(TWINS, wait_s=20) as leased:
            assert f"got {leased.found.identity}" == said


def test_a_prompt_is_waited_for_longer_than_a_list(
    farm_phones: list[StandInPhone], key_directory: Path
) -> None:
    phone = farm_phones[2]
    with Front((phone.host, PORT), security="rsa", prompt="ignore") as front:
        wanted = address(front)
        farm = Farm(servers=(), timeout_s=1.0, key_directory=key_directory)

        def accept() -> None:
            front.prompt = "accept"

        threading.Timer(0.5, accept).start()
        with farm.acquire(wanted) as leased:
            assert leased.found.identity == identity(phone)
        front.trusted.clear()
        front.prompt = "deny"
        with pytest.raises(DeviceUnauthorized, match="Allow USB debugging"), farm.acquire(wanted):
            pass


def test_an_absent_phone_is_told_with_those_that_are_there(
    farm: Farm, farm_phones: list[StandInPhone]
) -> None:
    with pytest.raises(DeviceNotFound) as caught, farm.acquire("R5CT"):
        pass
    for phone in farm_phones:
        assert phone.serial in str(caught.value)
    with pytest.raises(DeviceUnreachable, match="nothing listens"), farm.acquire("127.0.0.1:1"):
        pass


# Several at once


def read_model(leased: LeasedPhone) -> str:
    return leased.phone.run("getprop ro.product.model", timeout_s=10).text.strip()


def test_jobs_run_at_once_each_on_its_own_phone(
    farm: Farm, farm_phones: list[StandInPhone]
) -> None:
    together = threading.Barrier(3, timeout=20)

    def do(leased: LeasedPhone) -> str:
        together.wait()
        return read_model(leased)

    jobs = [Job(name=phone.name, wanted=phone.serial, do=do) for phone in farm_phones[1:]]
    jobs.append(Job(name="any twin", wanted=TWINS, do=do))
    outcomes = work(farm, jobs)
    assert [outcomes[job.name].error for job in jobs] == [None] * 3
    assert [outcomes[job.name].value for job in jobs] == [
        "Twin",
        f"Stand-in {farm_phones[2].number}",
        "Twin",
    ]
    assert outcomes["any twin"].serials == (farm_phones[0].serial,)


def test_jobs_that_want_one_phone_follow_each_other(
    farm: Farm, farm_phones: list[StandInPhone]
) -> None:
    running: list[str] = []
    events: list[JobEvent] = []

    def do(leased: LeasedPhone) -> int:
        running.append(leased.found.serial)
        time.sleep(0.7)
        assert len(running) == 1
        running.clear()
        return 1

    wanted = farm_phones[2].serial
    jobs = [Job(name=str(number), wanted=wanted, do=do) for number in range(3)]
    outcomes = work(farm, jobs, events.append)
    assert [outcome.value for outcome in outcomes.values()] == [1, 1, 1]
    assert {"waiting", "started", "finished"} == {event.kind for event in events}


@pytest.fixture
def fronts(farm_phones: list[StandInPhone]) -> Iterator[list[Front]]:
    """Before each phone one that can take it away."""
    with ExitStack() as stack:
        yield [stack.enter_context(Front((phone.host, PORT))) for phone in farm_phones]


def address(front: Front) -> str:
    return f"{front.host}:{front.port}"


@pytest.fixture
def mortal(fronts: list[Front], key_directory: Path) -> Farm:
    """The phones behind their fronts."""
    addresses = [address(front) for front in fronts]
    return Farm(servers=(), addresses=addresses, key_directory=key_directory)


def test_a_phone_that_dies_gives_its_work_to_its_twin(mortal: Farm, fronts: list[Front]) -> None:
    events: list[JobEvent] = []

    def do(leased: LeasedPhone) -> str:
        if len(events) == 1:
            assert read_model(leased) == "Twin"
            by_address = {address(front): front for front in fronts}
            by_address[leased.found.serial].stop_listening()
        return read_model(leased)

    outcome = work(mortal, [Job(name="j", wanted=TWINS, do=do)], events.append)["j"]
    assert (outcome.value, outcome.error) == ("Twin", None)
    assert set(outcome.serials) == {address(front) for front in fronts[:2]}
    assert [event.kind for event in events] == ["started", "lost", "started", "finished"]
    assert isinstance(events[1].error, DeviceUnreachable)
    assert (events[1].serial, events[2].serial) == outcome.serials


def test_a_twin_takes_over_only_once_its_own_job_is_done(
    mortal: Farm, fronts: list[Front]
) -> None:
    first, second = sorted(fronts[:2], key=address)
    is_waiting = threading.Event()
    order: list[str] = []
    dead: list[str] = []

    def lose(leased: LeasedPhone) -> str:
        if not dead:
            dead.append(leased.found.serial)
            first.stop_listening()
            return read_model(leased)
        order.append("taken over")
        return leased.found.serial

    def keep(leased: LeasedPhone) -> str:
        assert is_waiting.wait(20)
        order.append("done")
        return leased.found.serial

    def watch(event: JobEvent) -> None:
        if event.kind == "waiting":
            is_waiting.set()

    jobs = [
        Job(name="lose", wanted=TWINS, do=lose),
        Job(name="keep", wanted=address(second), do=keep),
    ]
    outcomes = work(mortal, jobs, watch)
    assert dead == [address(first)]
    assert outcomes["keep"].value == address(second)
    assert outcomes["lose"].serials == (address(first), address(second))
    assert order == ["done", "taken over"]


def test_a_phone_that_came_back_goes_on(mortal: Farm, fronts: list[Front]) -> None:
    tries: list[str] = []

    def do(leased: LeasedPhone) -> str:
        leased.phone.run("true", timeout_s=10)
        tries.append(leased.found.serial)
        if len(tries) == 1:
            fronts[2].drop()
        return read_model(leased)

    outcome = work(mortal, [Job(name="j", wanted=address(fronts[2]), do=do)])["j"]
    assert outcome.error is None
    assert list(outcome.serials) == tries == [address(fronts[2])] * 2


def test_work_without_a_twin_ends_with_the_loss(mortal: Farm, fronts: list[Front]) -> None:
    def do(leased: LeasedPhone) -> str:
        fronts[2].stop_listening()
        return read_model(leased)

    outcome = work(mortal, [Job(name="j", wanted=address(fronts[2]), do=do)])["j"]
    assert isinstance(outcome.error, DeviceUnreachable)
    assert outcome.serials == (address(fronts[2]),)
    assert "no other phone took over" in outcome.error.__notes__[0]


def test_a_phone_that_always_dies_is_given_up(farm: Farm, farm_phones: list[StandInPhone]) -> None:
    def do(leased: LeasedPhone) -> str:
        raise ConnectionLost(leased.found.serial, "gone")

    outcome = work(farm, [Job(name="j", wanted=farm_phones[2].serial, do=do)])["j"]
    assert isinstance(outcome.error, ConnectionLost)
    assert len(outcome.serials) == 3


def test_one_job_that_fails_leaves_the_others_alone(
    farm: Farm, farm_phones: list[StandInPhone]
) -> None:
    def fail(leased: LeasedPhone) -> str:
        raise ZeroDivisionError

    jobs = [
        Job(name="fails", wanted=farm_phones[0].serial, do=fail),
        Job(name="absent", wanted="R5CT", do=read_model),
        Job(name="works", wanted=farm_phones[1].serial, do=read_model),
    ]
    outcomes = work(farm, jobs)
    assert isinstance(outcomes["fails"].error, ZeroDivisionError)
    assert isinstance(outcomes["absent"].error, DeviceNotFound)
    assert outcomes["absent"].serials == ()
    assert outcomes["works"].value == "Twin"
    with pytest.raises(ValueError, match="same name"):
        work(farm, [jobs[0], jobs[0]])


def test_a_phone_that_this_process_holds_elsewhere_is_not_waited_for_for_ever(
    farm: Farm, farm_phones: list[StandInPhone]
) -> None:
    wanted = farm_phones[0].serial
    with farm.acquire(wanted):
        outcomes = work(farm, [Job(name=n, wanted=wanted, do=read_model) for n in "ab"])
    assert all(isinstance(outcome.error, DeviceLeased) for outcome in outcomes.values())


def test_ctrl_c_ends_all_jobs_and_gives_the_phones_back(
    farm: Farm, farm_phones: list[StandInPhone]
) -> None:
    ended: list[str] = []
    started = threading.Barrier(3, timeout=20)

    def polite(leased: LeasedPhone) -> None:
        started.wait()
        leased.cancelled.wait(60)
        ended.append("polite")

    def deaf(leased: LeasedPhone) -> None:
        started.wait()
        try:
            leased.phone.run("sleep 77", timeout_s=100)
        except ConnectionLost:
            ended.append("cut off")

    jobs = [
        Job(name="polite", wanted=farm_phones[0].serial, do=polite),
        Job(name="deaf", wanted=farm_phones[1].serial, do=deaf),
    ]

    def interrupt() -> None:
        started.wait()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        work(farm, jobs)
    assert time.monotonic() - begin < 15
    assert ended == ["polite", "cut off"]
    deadline = time.monotonic() + 5
    while farm_phones[1].commands() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert farm_phones[1].commands() == []
