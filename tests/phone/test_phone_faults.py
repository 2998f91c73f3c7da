from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rig_front import Front
from rig_phone import StandInPhone

from device_farm.adb import AdbPhone
from device_farm.errors import ConnectionLost, DeviceNotFound, DeviceUnreachable

pytestmark = pytest.mark.phone


def test_a_closed_link_is_noticed_within_a_second(front: Front, fronted: AdbPhone) -> None:
    fronted.run("true", timeout_s=10)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(fronted.run, "sleep 2", timeout_s=60) for _ in range(3)]
        time.sleep(0.5)
        start, cpu = time.monotonic(), time.process_time()
        front.drop()
        for future in waiting:
            assert isinstance(future.exception(timeout=5), ConnectionLost)
        assert time.monotonic() - start < 1.0
        assert time.process_time() - cpu < 0.5
    time.sleep(1.6)  # the commands themselves end on the phone


@pytest.mark.parametrize("after_bytes", [0, 1, 100, 30_000, 500_000, 4_999_000, 5_000_300])
def test_a_drop_anywhere_in_a_push_is_survived(
    front: Front, fronted: AdbPhone, tmp_path: Path, after_bytes: int
) -> None:
    source = tmp_path / "source"
    source.write_bytes(random.Random(after_bytes).randbytes(5_000_000))
    fronted.run("echo old > /data/local/tmp/x", timeout_s=10)
    front.drop_after_bytes = after_bytes
    with pytest.raises(ConnectionLost):
        fronted.push(source, "/data/local/tmp/x")
    assert fronted.run("cat /data/local/tmp/x", timeout_s=10).text == "old\n"
    fronted.push(source, "/data/local/tmp/x")
    fronted.pull("/data/local/tmp/x", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert fronted.run("ls -A /data/local/tmp", timeout_s=10).text == "x\n"


def test_a_drop_in_a_pull_leaves_no_half_file(
    front: Front, fronted: AdbPhone, tmp_path: Path
) -> None:
    fronted.run("head -c 5000000 /dev/zero > /data/local/tmp/x", timeout_s=10)
    front.drop_after_bytes = 1_000_000
    with pytest.raises(ConnectionLost):
        fronted.pull("/data/local/tmp/x", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_20_drops_at_random_moments_lose_and_double_nothing(
    front: Front, fronted: AdbPhone
) -> None:
    rng = random.Random(3)
    done, drops = 0, 0
    while drops < 20:
        front.drop_after_bytes = rng.randrange(2000)
        try:
            while True:
                assert fronted.run(f"echo {done}", timeout_s=10).text == f"{done}\n"
                done += 1
        except DeviceUnreachable:
            drops += 1
    front.drop_after_bytes = None
    assert fronted.run("echo end", timeout_s=10).text == "end\n"
    assert done > 0


def test_a_restarted_phone_is_waited_for(stand_in: StandInPhone, phone: AdbPhone) -> None:
    phone.run("true", timeout_s=10)
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(phone.run, "sleep 30", timeout_s=60)
        time.sleep(0.3)
        stand_in.restart()
        assert isinstance(lost.exception(timeout=5), ConnectionLost)
    phone.wait_until_reachable(10)
    assert phone.run("echo back", timeout_s=10).text == "back\n"


def test_a_phone_that_does_not_come_back_ends_the_wait(front: Front, fronted: AdbPhone) -> None:
    fronted.run("true", timeout_s=10)
    front.stop_listening()
    with pytest.raises(DeviceNotFound, match="nothing listens"):
        fronted.wait_until_reachable(1.0)
