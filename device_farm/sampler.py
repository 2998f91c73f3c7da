"""What a phone's clocks and heat were during a command, sampled once a second on the phone itself.

Asking over ADB would cost round trips, and the connection may be busy or down. So a shell line is
wrapped into one that samples beside it and appends what it saw to the standard output. Nothing is
stored on the phone, and the sampling shares the command's process group, so it ends with it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean

from device_farm.device import CommandResult
from device_farm.thermal import ThermalState, ThrottlingStatus, parse_thermal, parse_zones

_MARKER = "@pocketnas-samples"
_EARLY = "@pocketnas-early"
_SECTION = re.compile(r"^@(before|during|after)$", re.MULTILINE)
_READING = re.compile(
    r"^\S*/(policy\d{1,4})/(related_cpus|scaling_cur_freq|scaling_max_freq|stats/time_in_state):"
    r"(.*)$",
    re.MULTILINE,
)
# Of the kernel's units of 10 ms: too few say nothing.
_MIN_TICKS = 20
_THROTTLED = 0.95

# Works in mksh, which is Android's shell, and in dash. File descriptor 3 is the command's standard
# error, so that what shells and tools complain about stays out of it. The loop keeps its samples
# in a variable until the command has ended. A signal tells it at once; but a new subshell of mksh
# loses those that come before its trap is set, and the shell around it may have been killed. A
# loop that ends without a signal may be faster than the marker, so it says so. Each echo is one
# write.
_SCRIPT = """\
exec 3>&2 2>/dev/null
clocks= states=
for p in /sys/devices/system/cpu/cpufreq/policy*; do
    read -r cpus <$p/related_cpus || continue
    for cpu in $cpus; do
        case $cpu in {cpus})
            clocks="$clocks $p/scaling_cur_freq $p/scaling_max_freq"
            states="$states $p/related_cpus $p/stats/time_in_state"
            break ;;
        esac
    done
done
for z in /sys/class/thermal/thermal_zone*; do
    read -r kind <$z/type || continue
    case $kind in *skin* | *quiet* | battery*) clocks="$clocks $z/type $z/temp" ;; esac
done
read_all() {{
    echo "@$1"
    grep -H '' $clocks $states /dev/null
    dumpsys thermalservice | head -n 200
}}
before=$(read_all before)
sh -c {command} 2>&3 3>&- &
command=$!
(
    exec 3>&-
    seen= pause=
    trap 'echo "$seen"; kill $pause; exit' TERM
    while kill -0 $$ && kill -0 $command; do
        seen="$seen
@during
$(grep -H '' $clocks /dev/null)"
        sleep 1 >/dev/null &
        pause=$!
        wait $pause
    done
    trap '' TERM
    echo "
{early}$seen"
) &
sampler=$!
wait $command
code=$?
echo "
{marker}
$before"
kill -TERM $sampler
wait $sampler
read_all after
exit $code
"""


@dataclass(frozen=True, kw_only=True)
class RunConditions:
    """How fast a phone's CPUs ran, and how hot it was, while a command ran.

    Attributes:
        mhz: Mean clock of the command's CPUs; None where the phone does not tell.
        mhz_max: The highest clock that the system allowed them, when it allowed least.
        celsius_before: Of the skin, or else the battery; None where the phone does not tell.
        celsius_after: The same at the end.
        celsius_max: The highest such reading.
        status_before: None where the phone does not tell.
        status_after: The same at the end.
        samples: How often the clocks were read, at the start and the end included.
    """

    mhz: float | None = None
    mhz_max: float | None = None
    celsius_before: float | None = None
    celsius_after: float | None = None
    celsius_max: float | None = None
    status_before: ThrottlingStatus | None = None
    status_after: ThrottlingStatus | None = None
    samples: int = 0

    def is_throttled(self, reference_mhz: float | None) -> bool:
        """Whether heat slowed the command down.

        Args:
            reference_mhz: Mean clock of the same CPUs in an undisturbed run, when known.
        """
        statuses = (self.status_before, self.status_after)
        if any(status is not None and status > ThrottlingStatus.NONE for status in statuses):
            return True
        if self.mhz is None or reference_mhz is None:
            return False
        return self.mhz < _THROTTLED * reference_mhz

    def to_json(self) -> dict[str, float | str | None]:
        """For records: values by name, a status by its own name."""
        return {
            name: value.name if isinstance(value, ThrottlingStatus) else value
            for name, value in asdict(self).items()
        }


def sampled(command: str, cpus: Sequence[int]) -> str:
    """A line of shell that does the same as `command`, and samples meanwhile.

    Args:
        command: A line of shell. Exit code and standard error stay its own.
        cpus: The CPUs that it runs on, whose clocks matter; empty for all.
    """
    pattern = "|".join(str(int(cpu)) for cpu in cpus) or "*"
    return _SCRIPT.format(command=shlex.quote(command), cpus=pattern, marker=_MARKER, early=_EARLY)


def split(result: CommandResult) -> tuple[CommandResult, RunConditions]:
    """Take the result of a sampled command apart: what the command wrote, and the samples.

    Nothing that a phone answers makes this fail; what cannot be read is left out.
    """
    stdout, marker, samples = result.stdout.rpartition(f"\n{_MARKER}\n".encode())
    if not marker:
        return result, RunConditions()
    written, is_early, early = stdout.rpartition(f"\n{_EARLY}\n".encode())
    if is_early:
        stdout = written
    conditions = parse_samples(
        (early * bool(is_early) + samples).decode(errors="backslashreplace")
    )
    return replace(result, stdout=stdout), conditions


def parse_samples(text: str) -> RunConditions:
    """What a sampled command appended to its output."""
    _, *parts = _SECTION.split(text.replace("\r\n", "\n"))
    sections = list(zip(parts[::2], map(_Section, parts[1::2]), strict=True))
    before = next((section for name, section in sections if name == "before"), _Section(""))
    after = next((section for name, section in sections if name == "after"), _Section(""))
    during = [section for name, section in sections if name == "during"]
    everything = [before, *during, after]
    return RunConditions(
        mhz=_effective_mhz(before, during, after),
        mhz_max=min(_means(everything, "scaling_max_freq", before.sizes), default=None),
        celsius_before=before.celsius,
        celsius_after=after.celsius,
        celsius_max=max((s.celsius for s in everything if s.celsius is not None), default=None),
        status_before=before.status,
        status_after=after.status,
        samples=sum(bool(section.mhz("scaling_cur_freq")) for section in everything),
    )


class _Section:
    """What was read at one moment."""

    def __init__(self, text: str) -> None:
        self._readings = _READING.findall(text)
        thermal = parse_thermal(text)
        zones = ThermalState(status=None, temperatures=parse_zones(text))
        self.status = thermal.status
        self.celsius = thermal.surface_celsius or zones.surface_celsius

    @property
    def sizes(self) -> dict[str, int]:
        """The number of CPUs of each policy."""
        return {policy: len(value.split()) for policy, value in self._of("related_cpus")}

    def mhz(self, field: str) -> dict[str, float]:
        """A clock of each policy."""
        return {
            policy: int(value) / 1000
            for policy, value in self._of(field)
            if re.fullmatch(r"[0-9]{1,9}", value)
        }

    def ticks(self) -> dict[str, dict[int, int]]:
        """The time since the start at each clock (kHz), of each policy."""
        ticks: dict[str, dict[int, int]] = {}
        for policy, value in self._of("stats/time_in_state"):
            if found := re.fullmatch(r"([0-9]{1,9}) ([0-9]{1,18})", value):
                ticks.setdefault(policy, {})[int(found[1])] = int(found[2])
        return ticks

    def _of(self, field: str) -> Iterable[tuple[str, str]]:
        return ((policy, value.strip()) for policy, name, value in self._readings if name == field)


def _effective_mhz(before: _Section, during: list[_Section], after: _Section) -> float | None:
    """The mean clock: by the kernel's own count of time, or else by samples."""
    # In the first sample of a run the governor is still on its way to the clock that it will hold.
    sampled_mhz = [section.mhz("scaling_cur_freq") for section in (*during[1:], after)]
    start, end = before.ticks(), after.ticks()
    means = {}
    for policy in before.sizes:
        samples = [mhz[policy] for mhz in sampled_mhz if policy in mhz]
        counted = _counted_mhz(start.get(policy, {}), end.get(policy, {}))
        if counted is not None:
            means[policy] = counted
        elif samples:
            means[policy] = fmean(samples)
    return _weighted(means, before.sizes)


def _counted_mhz(start: Mapping[int, int], end: Mapping[int, int]) -> float | None:
    """The mean clock between two counts of the time at each clock."""
    spent = {khz: ticks - start.get(khz, 0) for khz, ticks in end.items()}
    total = sum(spent.values())
    if not start or total < _MIN_TICKS or min(spent.values()) < 0:
        return None
    return sum(khz * ticks for khz, ticks in spent.items()) / total / 1000


def _means(sections: Iterable[_Section], field: str, sizes: Mapping[str, int]) -> list[float]:
    """The mean over all CPUs, of each section that has the field."""
    means = (_weighted(section.mhz(field), sizes) for section in sections)
    return [mean for mean in means if mean is not None]


def _weighted(mhz: Mapping[str, float], sizes: Mapping[str, int]) -> float | None:
    """The mean over CPUs of what is known of their policies."""
    known = [policy for policy in mhz if sizes.get(policy)]
    if not known:
        return None
    return fmean([mhz[policy] for policy in known], [sizes[policy] for policy in known])
