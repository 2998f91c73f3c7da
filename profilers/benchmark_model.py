"""`benchmark_model` on a device: put it there, run it, and tell its failures apart.

Works through the verbs of a Device alone, so that it holds no state that a lost link or a restart
of the phone could spoil: `install` may be called again at any time.
"""

from __future__ import annotations

import logging
import math
import re
import shlex

from device_farm.conditions import FOLDER
from device_farm.device import CommandResult, Device, require_success
from device_farm.errors import printable
from profilers.benchmark_binary import UNKNOWN_VERSION, BenchmarkBinary
from profilers.benchmark_options import REQUIRED_FLAGS, BenchmarkOptions, flags_of_options
from profilers.benchmark_output import BenchmarkOutput, parse_output
from profilers.errors import BenchmarkFailed, BinaryUnusable, OptionUnsupported, ToolKilled
from profilers.failure_cause import FailureCause, cause_of_failure

__all__ = ["BenchmarkModel", "BenchmarkOptions"]

logger = logging.getLogger(__name__)

_FILE_TIMEOUT_S = 60.0
_HELP_TIMEOUT_S = 60.0
# `	--num_runs=50          	int32	optional	expected number of runs`
_FLAG = re.compile(r"^[ \t]*--([a-z][a-z0-9_]{0,63})=", re.MULTILINE)
_VERSION = re.compile(
    r"\b(?:LiteRT|TensorFlow Lite|TFLite)[ _]version:? ?([0-9][\w.+-]{0,31})", re.I
)
# TFLite's builds take the wall clock (gettimeofday), which somebody may set meanwhile; LiteRT's
# take a steady one.
_NEGATIVE_TIME = re.compile(r"\b(?:first|curr|min|max|avg)=(-[0-9][0-9.e+]{0,63})")
_UNCONSUMED = re.compile(r"Unconsumed cmdline flags: ([^\n]*--[^\n]*)")


class BenchmarkModel:
    """One build of `benchmark_model` on one device.

    Attributes:
        capabilities: Names of the flags that the build knows; empty before `install`.
        version: What the build says about itself, else what is known of the file.
        remote_path: Where it lies on the device; two builds never share a path.
    """

    def __init__(self, device: Device, binary: BenchmarkBinary, folder: str = FOLDER) -> None:
        self.capabilities: frozenset[str] = frozenset()
        self.version = binary.version
        self.remote_path = f"{folder}/benchmark_model-{binary.sha256[:12]}"
        self._device = device
        self._binary = binary
        self._folder = folder

    def install(self) -> None:
        """Put the build on the device, unless it is there, and ask it what it can do.

        Raises:
            PushFailed: The device cannot store it; NoSpace when its disk is full.
            CommandFailed: The folder cannot be made.
            BenchmarkFailed: It does not run there; the cause says why.
            BinaryUnusable: It runs, but is no benchmark_model.
        """
        make = self._device.run(f"mkdir -p {shlex.quote(self._folder)}", timeout_s=_FILE_TIMEOUT_S)
        require_success(self._device.serial, make, f"make the folder {self._folder!r}")
        if not self._is_there():
            logger.info("%s: installing benchmark_model", printable(self._device.serial))
            self._device.push(self._binary.path, self.remote_path)
        allow = self._device.run(f"chmod 755 {self._quoted}", timeout_s=_FILE_TIMEOUT_S)
        require_success(self._device.serial, allow, f"make {self.remote_path!r} executable")
        self._learn()

    def command(self, remote_model: str, options: BenchmarkOptions) -> str:
        """The line of shell that runs a model; all that it writes goes to standard output.

        Args:
            remote_model: Path of the model on the device.
            options: How to run it.

        Raises:
            OptionUnsupported: The build cannot do what is asked.
        """
        assert self.capabilities, "install() comes first"
        flags = flags_of_options(options, self.capabilities)
        words = [self.remote_path, f"--graph={remote_model}", *flags]
        if options.cpu_mask is not None:
            words = ["taskset", f"{options.cpu_mask:x}", *words]
        # Both outputs in one, in the order in which they were written.
        return f"{shlex.join(words)} 2>&1"

    def run(
        self, remote_model: str, options: BenchmarkOptions, *, timeout_s: float
    ) -> BenchmarkOutput:
        """Run a model and read what came out.

        Raises:
            OptionUnsupported: The build cannot do what is asked.
            CommandTimeout: It ran over `timeout_s` and was killed.
            BenchmarkFailed: See `read`.
            OutputUnreadable: See `read`.
        """
        command = self.command(remote_model, options)
        return self.read(self._device.run(command, timeout_s=timeout_s), options)

    def read(
        self, result: CommandResult, options: BenchmarkOptions, *, lasted_s: float = math.inf
    ) -> BenchmarkOutput:
        """Read the output of a run, if it may be believed.

        A delegate that took only a part of the model is no failure; the output tells of it.

        Args:
            result: Of the line that `command` gave.
            options: The same.
            lasted_s: How long it ran at most, by this machine's steady clock.

        Raises:
            ToolKilled: The device killed it.
            BenchmarkFailed: It failed, printed nothing, ran fewer times than asked, or without
                the delegate that was asked for; the cause says which.
            OptionUnsupported: It did not understand a flag, although its help names it.
            OutputUnreadable: It succeeded, but what it wrote is in no known format.
        """
        text = (result.stdout + b"\n" + result.stderr).decode(errors="backslashreplace")
        if result.exit_code != 0:
            raise self._failure(*cause_of_failure(text, result.exit_code))
        if not text.strip():
            raise self._failure(FailureCause.NO_TIMES, "exit code 0")
        if ignored := _UNCONSUMED.search(text):
            raise OptionUnsupported(
                f"{printable(self._device.serial)}: this benchmark_model ignores "
                f"{printable(ignored[1].strip())}; give another build with --benchmark-binary FILE"
            )
        output = parse_output(text)
        self._require_delegate(output, options)
        self._require_steady_clock(text, output, lasted_s)
        self._require_runs(output, options)
        return output

    @property
    def _quoted(self) -> str:
        return shlex.quote(self.remote_path)

    def _is_there(self) -> bool:
        """Whether the file on the device is this build, whole."""
        answer = self._device.run(
            f"wc -c < {self._quoted} && sha256sum < {self._quoted}", timeout_s=_FILE_TIMEOUT_S
        )
        size_bytes = self._binary.path.stat().st_size
        wanted = [str(size_bytes), self._binary.sha256]
        return answer.exit_code == 0 and answer.text.split()[:2] == wanted

    def _learn(self) -> None:
        """Read the help, after which the tool ends with exit code 1."""
        answer = self._device.run(f"{self._quoted} --help 2>&1", timeout_s=_HELP_TIMEOUT_S)
        text = (answer.stdout + b"\n" + answer.stderr).decode(errors="backslashreplace")
        capabilities = frozenset(_FLAG.findall(text))
        if not capabilities and answer.exit_code != 0:
            cause, detail = cause_of_failure(text, answer.exit_code)
            if cause is FailureCause.NOT_FOUND:  # it is there: it is its linker that is not
                cause = FailureCause.NOT_LINKED
            raise self._failure(cause, detail)
        if missing := REQUIRED_FLAGS - capabilities:
            raise BinaryUnusable(
                f"{self._binary.path} is no benchmark_model: its --help does not name "
                f"{', '.join(sorted(f'--{name}' for name in missing))}; give another with "
                "--benchmark-binary FILE"
            )
        self.capabilities = capabilities
        if self._binary.version == UNKNOWN_VERSION and (told := _VERSION.search(text)):
            self.version = told[1]

    def _require_delegate(self, output: BenchmarkOutput, options: BenchmarkOptions) -> None:
        """Refuse times of the plain CPU under the name of a delegate."""
        if options.delegate == "none":
            return
        took_part = [item.delegate for item in output.delegations if item.nodes]
        if output.is_cpu_fallback or (output.delegations and not took_part):
            raise self._failure(FailureCause.CPU_FALLBACK, f"delegate {options.delegate}")
        # LiteRT's tool says nothing when its GPU takes no part: XNNPACK just takes it all.
        if options.delegate != "xnnpack" and took_part and all(map(_is_xnnpack, took_part)):
            raise self._failure(
                FailureCause.CPU_FALLBACK, f"delegate {options.delegate}; only XNNPACK took part"
            )

    def _require_steady_clock(self, text: str, output: BenchmarkOutput, lasted_s: float) -> None:
        """Refuse times that cannot be."""
        if negative := _NEGATIVE_TIME.search(text):
            raise self._failure(FailureCause.CLOCK_SET, f"a time of {negative[1]} us")
        phases = [phase for phase in (output.warmup, output.timed) if phase is not None]
        longest_ms = max((max(phase.max_ms or 0, phase.mean_ms) for phase in phases), default=0)
        if longest_ms > 1000 * lasted_s:
            detail = f"a run of {longest_ms:g} ms within {lasted_s:.1f} s"
            raise self._failure(FailureCause.CLOCK_SET, detail)

    def _require_runs(self, output: BenchmarkOutput, options: BenchmarkOptions) -> None:
        if output.timed is None:
            raise self._failure(FailureCause.NO_TIMES, "exit code 0")
        count = output.timed.count  # 0 where the build does not tell
        if output.is_truncated or 0 < count < options.runs:
            raise self._failure(
                FailureCause.TRUNCATED,
                f"{count} of {options.runs} runs in {options.max_seconds:g} s",
            )

    def _failure(self, cause: FailureCause, detail: str) -> BenchmarkFailed:
        kind = ToolKilled if cause is FailureCause.KILLED else BenchmarkFailed
        return kind(self._device.serial, cause, detail)


def _is_xnnpack(delegate: str) -> bool:
    return "xnnpack" in delegate.lower()
