"""A phone as a target: its ``benchmark_model``, one process a session, over any kind of link.

The runner outlives what phones do: a link that breaks is waited for, a phone that was restarted
is set up again, another phone at the same address is refused. What was in flight is repeated, so
that a session counts only when it came back whole. A session during which the phone was throttled
counts as disturbed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from device_farm.conditions import FOLDER, Conditions
from device_farm.cpu_mask import cpu_mask
from device_farm.device import Device
from device_farm.errors import CommandTimeout, printable
from device_farm.info import DeviceInfo, read_info
from device_farm.readiness import require_ready
from device_farm.sampler import RunConditions, sampled, split
from device_farm.thermal_gate import ThermalGate
from latency_tables.target import Target
from profilers.benchmark_binary import BenchmarkBinary
from profilers.benchmark_model import BenchmarkModel
from profilers.benchmark_options import BenchmarkOptions
from profilers.benchmark_output import BenchmarkOutput, require_single_partition
from profilers.errors import AnotherPhone, BenchmarkFailed
from profilers.failure_cause import FailureScope
from profilers.patience import Patience
from profilers.phone_files import PhoneFiles
from profilers.runner import LatencySession, OperatorSession, OperatorTimes

_log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

WARMUP_S = 0.2
"""Warm-up at least: the governor must have raised the clock before anything counts."""

SESSION_S = 0.2
"""For so long at least the counted runs are repeated."""

_SESSION_TIMEOUT_S = 120.0
_MAX_RETRIES = 2
_RESTORE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class PhoneOptions:
    """How networks are run on a phone.

    Attributes:
        threads: that the runtime is given.
        cpus: CPUs that it may use: ``auto``, ``big``, ``all`` or a mask in hexadecimal.
        precision: ``float32``; ``float16`` to let XNNPACK compute in half precision; ``int8`` for
            quantized networks.
        patience_s: how long to wait for a phone that went away.
    """

    threads: int = 1
    cpus: str = "auto"
    precision: str = "float32"
    patience_s: float = 600.0

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"threads is {self.threads}; give at least 1")
        if self.precision not in ("float32", "float16", "int8"):
            raise ValueError(f"precision is {self.precision!r}; give float32 or float16, or int8")


class PhoneRunner:
    """Runs networks on one phone; see ``Runner``."""

    def __init__(
        self,
        device: Device,
        info: DeviceInfo,
        binary: BenchmarkBinary,
        options: PhoneOptions,
        conditions: Conditions,
        patience: Patience,
    ) -> None:
        """Set the phone up.

        Args:
            device: the phone.
            info: what it is; the same after every loss, or it is another phone.
            binary: ``benchmark_model`` for its ABI.
            options: threads, CPUs, precision.
            conditions: held for as long as the runner is used.
            patience: with the phone.

        Raises:
            CpuMaskUnfit: the phone has no such CPUs.
            BenchmarkFailed: the binary does not run there.
        """
        self._device = device
        self._info = info
        self._options = options
        self._conditions = conditions
        self._patience = patience
        self._mask = cpu_mask(device.serial, info.clusters, options.cpus, options.threads)
        self._cpus = [
            cpu
            for cluster in info.clusters
            for cpu in cluster.cpus
            if self._mask is None or self._mask >> cpu & 1
        ]
        self._gate = ThermalGate(device)
        self._tool = BenchmarkModel(device, binary)
        self._files = PhoneFiles(device, f"{FOLDER}/models")
        self._last: RunConditions | None = None
        self._best_mhz = 0.0
        self._outlive(self._tool.install)
        self.target = Target(
            device=f"{info.manufacturer} {info.model}",
            fingerprint=info.fingerprint,
            soc=info.soc,
            abi=info.abi,
            runtime="benchmark_model",
            runtime_version=self._tool.version,
            runtime_sha256=binary.sha256,
            precision=options.precision,
            threads=options.threads,
            cpu_mask="all" if self._mask is None else f"{self._mask:x}",
            clock="wall",
        )

    def prepare(self, paths: Sequence[Path]) -> None:
        """Send a batch of files in one push, and let the phone cool down."""
        self._outlive(lambda: self._files.send(paths))
        self._outlive(self._gate.wait)

    def operators(self, path: Path, *, runs: int, warmup: int) -> OperatorSession:
        """Times of every operator: the mean over the session's runs.

        Raises:
            OperatorsDiffer: the file runs in several partitions, whose rows cannot be told apart.
            BenchmarkFailed: the phone does not run it; the cause says why.
        """
        output = self._session(path, self._run_options(runs, warmup, profile=True))
        require_single_partition(output)
        times = tuple(
            OperatorTimes(name=row.kind, samples_ms=(row.ms,))
            for row in sorted(output.operators, key=lambda row: row.position)
        )
        return OperatorSession(operators=times, disturbed=self._disturbed())

    def latencies(self, path: Path, *, runs: int, warmup: int) -> LatencySession:
        """End-to-end latency: the session's median, the mean with builds that tell no median.

        Raises:
            BenchmarkFailed: the phone does not run it; the cause says why.
        """
        output = self._session(path, self._run_options(runs, warmup, profile=False))
        assert output.timed is not None
        return LatencySession(
            samples_ms=(output.timed.typical_ms,),
            runs=output.timed.count,
            disturbed=self._disturbed(),
        )

    def conditions(self) -> Mapping[str, str | float]:
        """Heat and clock in the last session, the knobs that are held, and the time."""
        told = self._last.to_json() if self._last else {}
        return {
            **{name: value for name, value in told.items() if value is not None},
            **self._conditions.state(),
            "taken_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def _run_options(self, runs: int, warmup: int, *, profile: bool) -> BenchmarkOptions:
        return BenchmarkOptions(
            runs=runs,
            warmup=warmup,
            warmup_min_seconds=WARMUP_S,
            min_seconds=SESSION_S,
            threads=self._options.threads,
            cpu_mask=self._mask,
            # A quantized file says itself what it computes in.
            precision="float16" if self._options.precision == "float16" else "float32",
            profile=profile,
        )

    def _session(self, path: Path, options: BenchmarkOptions) -> BenchmarkOutput:
        """One process of the tool; one that the phone killed or that hung is started again."""
        for _ in range(_MAX_RETRIES):
            try:
                return self._outlive(lambda: self._run(path, options))
            except (BenchmarkFailed, CommandTimeout) as error:
                if isinstance(error, BenchmarkFailed) and error.cause.scope != FailureScope.RUN:
                    raise
                _log.warning("%s; trying again", error)
        return self._outlive(lambda: self._run(path, options))

    def _run(self, path: Path, options: BenchmarkOptions) -> BenchmarkOutput:
        self._files.send([path])
        command = self._tool.command(self._files.path(path), options)
        wrapped = sampled(command, self._cpus)
        start_s = time.monotonic()
        result, self._last = split(self._device.run(wrapped, timeout_s=_SESSION_TIMEOUT_S))
        return self._tool.read(result, options, lasted_s=time.monotonic() - start_s)

    def _disturbed(self) -> float:
        """1 for a throttled session, against the highest clock seen; else 0."""
        assert self._last is not None
        self._best_mhz = max(self._best_mhz, self._last.mhz or 0.0)
        return float(self._last.is_throttled(self._best_mhz or None))

    def _outlive(self, task: Callable[[], Answer]) -> Answer:
        """Do a task that may be repeated, again after each loss of the phone.

        Raises:
            DeviceUnreachable: the phone did not come back in time, or is lost all the time.
            AnotherPhone: another one came back.
            Cancelled: the user wants to stop.
        """
        return self._patience.outlive(task, self._set_up_again)

    def _set_up_again(self) -> None:
        self._require_same_phone()
        self._files.forget()
        self._tool.install()
        self._conditions.reapply()

    def _require_same_phone(self) -> None:
        info = read_info(self._device)
        if info != self._info:
            raise AnotherPhone(
                f"{self._device.serial}: was {self._info.model} with build "
                f"{self._info.fingerprint}, came back as {info.model} with {info.fingerprint}; "
                "connect the first one again and go on with --resume, or profile this one anew"
            )


@contextmanager
def phone_runner(
    device: Device,
    info: DeviceInfo,
    binary: BenchmarkBinary,
    options: PhoneOptions,
    *,
    cancelled: threading.Event | None = None,
) -> Iterator[PhoneRunner]:
    """A runner on a phone that is kept awake, cool and at a steady clock, and restored after.

    Raises:
        DeviceNotReady: the phone cannot be measured on: its battery is low, or it is too hot.
        ConditionsNotRestored: on leaving: a setting of the phone is still changed.
    """
    patience = Patience(device, options.patience_s, cancelled or threading.Event())
    restore_s = min(_RESTORE_S, options.patience_s)
    with ExitStack() as stack:
        conditions = patience.outlive(
            lambda: stack.enter_context(Conditions(device, reconnect_s=restore_s))
        )
        for doubt in (*patience.outlive(lambda: require_ready(device)), *conditions.refused):
            _log.warning("%s: %s", printable(device.serial), doubt)
        yield PhoneRunner(device, info, binary, options, conditions, patience)
