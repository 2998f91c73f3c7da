"""What a stand-in phone reports about itself: plain files, which a test may change at any time.

They lie in the phone's `/vendor/fake` and `/sys`. Programs in `fakes/` read them, and those that
change settings write them, so that what is applied can be read back and restored. Texts follow
Android's own dumps, shortened to what tools look for.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rig_image import UID_SHELL

FAKES = Path(__file__).with_name("fakes")

PROPERTIES = {
    "ro.product.manufacturer": "Acme",
    "ro.build.version.sdk": "34",
    "ro.build.version.release": "14",
    "ro.build.fingerprint": "acme/standin/standin:14/UP1A.1/1:user/release-keys",
    "ro.product.cpu.abi": "x86_64",  # the truth: programs for this machine run on the phone
    "ro.soc.model": "SM8550",
}
THERMAL_SERVICE = """IsStatusOverride: false
Thermal Status: 0
Current temperatures from HAL:
\tTemperature{mValue=25.6, mType=0, mName=AP, mStatus=0}
\tTemperature{mValue=24.7, mType=3, mName=SKIN, mStatus=0}
"""
BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  level: 87
  temperature: 284
"""
DEVICE_IDLE = """  Settings:
    light_after_inactive_to=+4m0s0ms
  mLightEnabled=true  mDeepEnabled=true
  mScreenOn=true
  mCharging=true
  mState=ACTIVE mLightState=ACTIVE
"""
SETTINGS = {
    "global/airplane_mode_on": "0",
    "global/low_power": "0",
    "global/stay_on_while_plugged_in": "0",
    "system/screen_brightness": "102",
    "system/screen_brightness_mode": "1",
    "system/screen_off_timeout": "30000",
}
# What the power manager and the lock screen know; `input`, `wm` and `cmd power` change it.
POWER = {
    "wakefulness": "Awake",
    "keyguard_showing": "false",
    "keyguard_secure": "false",
    "fixed_performance": "false",
    "fixed_performance_supported": "true",
}
THERMAL_ZONES = {"cpu-0-0": 33300, "gpuss-0": 31000, "skin-therm": 29500}
LITTLE_KHZ = (300_000, 1_200_000, 1_800_000)
BIG_KHZ = (500_000, 1_600_000, 2_800_000)
GOVERNORS = "performance powersave schedutil"


def _cpu_policies() -> dict[str, tuple[str, tuple[int, ...]]]:
    """Two clusters of this machine's own CPUs, so that `taskset` with their masks works."""
    cpus = sorted(os.sched_getaffinity(0))
    halves = (cpus[: len(cpus) // 2], LITTLE_KHZ), (cpus[len(cpus) // 2 :], BIG_KHZ)
    return {f"policy{half[0]}": (" ".join(map(str, half)), khz) for half, khz in halves if half}


# CPU numbers and clocks of each cluster, slowest first.
CPU_POLICIES = _cpu_policies()
# Of these the shell user may change what a fake program changes on its behalf.
_WRITABLE = ("dumpsys", "power", "settings")


def write_state(state: Path, number: int) -> None:
    """Write all files of a new phone into an empty folder."""
    for name, text in _files(number).items():
        path = state / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shutil.copytree(FAKES, state / "bin")
    for fake in (state / "bin").iterdir():
        fake.chmod(0o755)
    for folder in _WRITABLE:
        for path in (state / folder, *(state / folder).rglob("*")):
            os.chown(path, UID_SHELL, UID_SHELL)
    for path in state.glob("sys/devices/system/cpu/cpufreq/*/stats/time_in_state"):
        os.chown(path, UID_SHELL, UID_SHELL)  # the stand-in benchmark_model counts its time there


def _files(number: int) -> dict[str, str]:
    properties = PROPERTIES | {
        "ro.product.model": f"Stand-in {number}",
        "ro.serialno": f"STANDIN{number}",
    }
    return {
        "passwd": f"root:x:0:0::/:/bin/sh\nshell:x:{UID_SHELL}:{UID_SHELL}::/:/bin/sh\n",
        "group": f"root:x:0:\nshell:x:{UID_SHELL}:\n",
        "properties": "".join(f"[{name}]: [{value}]\n" for name, value in properties.items()),
        "dumpsys/thermalservice": THERMAL_SERVICE,
        "dumpsys/battery": BATTERY,
        "dumpsys/deviceidle": DEVICE_IDLE,
        **{f"settings/{name}": f"{value}\n" for name, value in SETTINGS.items()},
        "settings/secure/android_id": "0123456789abcdef\n",
        **{f"power/{name}": f"{value}\n" for name, value in POWER.items()},
        **_thermal_zones(),
        **_cpus(),
    }


def _thermal_zones() -> dict[str, str]:
    files: dict[str, str] = {}
    for number, (kind, millicelsius) in enumerate(THERMAL_ZONES.items()):
        zone = f"sys/class/thermal/thermal_zone{number}"
        files |= {f"{zone}/type": f"{kind}\n", f"{zone}/temp": f"{millicelsius}\n"}
    return files


def _cpus() -> dict[str, str]:
    folder = "sys/devices/system/cpu"
    cpus = [int(cpu) for numbers, _ in CPU_POLICIES.values() for cpu in numbers.split()]
    listed = ",".join(map(str, cpus))
    files = {f"{folder}/{name}": f"{listed}\n" for name in ("possible", "present", "online")}
    for policy, (numbers, khz) in CPU_POLICIES.items():
        values = {
            "affected_cpus": numbers,
            "related_cpus": numbers,
            "cpuinfo_min_freq": khz[0],
            "cpuinfo_max_freq": khz[-1],
            "scaling_available_frequencies": " ".join(map(str, khz)),
            "scaling_available_governors": GOVERNORS,
            "scaling_cur_freq": khz[-1],
            "scaling_governor": "schedutil",
            "scaling_max_freq": khz[-1],
            "scaling_min_freq": khz[0],
            "stats/time_in_state": "\n".join(f"{clock} 1000" for clock in khz),
        }
        files |= {f"{folder}/cpufreq/{policy}/{name}": f"{v}\n" for name, v in values.items()}
    return files
