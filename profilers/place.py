"""Where to measure: this machine, one phone, or several phones at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from device_farm.adb.server import AdbServer
from device_farm.farm import Farm, Job, JobEvent, LeasedPhone, work
from profilers.benchmark_binary import find_benchmark_binary
from profilers.host import HostRunner
from profilers.phone import PhoneOptions, PhoneRunner, phone_runner
from profilers.runner import Runner

HOST = "host"
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Devices, and how networks are run on them.

    Attributes:
        devices: ``host`` alone, or phones: serials, ``host:port``, ``model:NAME``.
        servers: adb servers that are asked for phones.
        binary: ``benchmark_model`` for the phones; None to fetch it.
        options: threads, CPUs and precision.
    """

    devices: tuple[str, ...] = (HOST,)
    servers: tuple[AdbServer, ...] = ()
    binary: Path | None = None
    options: PhoneOptions = field(default_factory=PhoneOptions)

    def __post_init__(self) -> None:
        if len(set(self.devices)) < len(self.devices):
            raise ValueError(f"a device is named twice: {', '.join(self.devices)}")
        if HOST in self.devices:
            if len(self.devices) > 1:
                raise ValueError("phones beside it would disturb this machine: give host alone")
            if self.options.precision == "float16":
                raise ValueError("this machine computes in float32 or int8; float16 is for phones")
            if self.options.cpus not in ("auto", "all"):
                raise ValueError("this machine is not pinned; start pocketnas under taskset")

    @property
    def farm(self) -> Farm:
        """The phones in reach."""
        return Farm(servers=self.servers)


@contextmanager
def open_runner(place: Place) -> Iterator[Runner]:
    """A runner on the only device of a place.

    Raises:
        ValueError: there are several.
        DeviceError: the phone cannot be used.
    """
    if len(place.devices) != 1:
        raise ValueError(f"this runs on one device, not on {', '.join(place.devices)}")
    if place.devices == (HOST,):
        yield HostRunner(threads=place.options.threads, precision=place.options.precision)
    else:
        with place.farm.acquire(place.devices[0]) as leased, _on_phone(leased, place) as runner:
            yield runner


def measure_everywhere(
    place: Place,
    task: Callable[[str, Runner], Answer],
    on_event: Callable[[JobEvent], None] | None = None,
) -> dict[str, Answer | BaseException]:
    """Do a task on every device of a place, on several phones at the same time.

    Args:
        place: the devices.
        task: called with a device's name and a runner on it; once more, on another phone of the
            same model, when the first one is lost for good.
        on_event: told how the phones fare.

    Returns:
        By device: what the task gave, or what ended it.

    Raises:
        KeyboardInterrupt: Ctrl-C, once every phone has its own settings back.
    """
    if place.devices == (HOST,):
        with open_runner(place) as runner:
            return {HOST: task(HOST, runner)}

    def job(name: str) -> Job[Answer]:
        def do(leased: LeasedPhone) -> Answer:
            with _on_phone(leased, place) as runner:
                return task(name, runner)

        return Job(name=name, wanted=name, do=do)

    outcomes = work(place.farm, [job(name) for name in place.devices], on_event)
    answers: dict[str, Answer | BaseException] = {}
    for name, outcome in outcomes.items():
        answers[name] = outcome.error or outcome.value  # type: ignore[assignment]
    return answers


@contextmanager
def _on_phone(leased: LeasedPhone, place: Place) -> Iterator[PhoneRunner]:
    binary = find_benchmark_binary(leased.info.abi, path=place.binary)
    with phone_runner(
        leased.phone, leased.info, binary, place.options, cancelled=leased.cancelled
    ) as runner:
        yield runner
