"""How `benchmark_model` shall run, and which of its flags say so.

There are two tools of that name. The one of TFLite (tflite/tools/benchmark) applies delegates and
has a flag for each; the one of LiteRT (litert/tools), which Google publishes, compiles for a CPU,
where XNNPACK is always on, or a GPU. Builds of either know more flags or fewer, so that the flags
are chosen by what the `--help` of the build at hand names.

Source: google-ai-edge/LiteRT, tflite/tools/benchmark/benchmark_model.cc (`Run`): it repeats until
`num_runs` and `min_secs` are both reached, or `max_secs` is over. With `--min_secs=0` and
`--warmup_min_secs=0` the numbers of runs are therefore exact; their defaults are 1 s and 0.5 s.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

from profilers.errors import OptionUnsupported

logger = logging.getLogger(__name__)

PRECISIONS = ("float32", "float16")
DELEGATES = ("xnnpack", "gpu", "none", "nnapi")
REQUIRED_FLAGS = frozenset({"graph", "num_runs", "num_threads", "warmup_runs"})
"""Without these a program is no benchmark_model."""

# The default of 1024 holds the events of one run of most models, but not of all.
_PROFILE_ENTRIES = 8192


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """How a model is run.

    Attributes:
        runs: Timed runs, at least 1. Exact while `min_seconds` is 0 and `max_seconds` suffices.
        warmup: Runs before them, at least 0.
        threads: Of the runtime, at least 1; the first releases of LiteRT's tool ignore it.
        cpu_mask: CPUs that it may use, as bits; None for all.
        precision: `float32` computes as the model says; `float16` lets the delegate compute
            floats in half precision.
        delegate: `xnnpack`, `gpu`, `nnapi` (deprecated since Android 15), or `none` for TFLite's
            own kernels.
        profile: Whether to time each operator; costs a few per cent.
        min_seconds: For how long to repeat the timed runs at least.
        max_seconds: After which no timed run is started any more. Builds older than TensorFlow
            2.0 do not know it; for these the time limit of the command must do.
        warmup_min_seconds: For how long to repeat the warm-up runs at least.
    """

    runs: int = 50
    warmup: int = 1
    threads: int = 1
    cpu_mask: int | None = None
    precision: str = "float32"
    delegate: str = "xnnpack"
    profile: bool = False
    min_seconds: float = 0.0
    max_seconds: float = 60.0
    warmup_min_seconds: float = 0.0

    def __post_init__(self) -> None:
        _require(self.runs >= 1, "runs", self.runs, "at least 1")
        _require(self.warmup >= 0, "warmup", self.warmup, "at least 0")
        _require(self.threads >= 1, "threads", self.threads, "at least 1")
        _require(self.cpu_mask is None or self.cpu_mask > 0, "cpu_mask", self.cpu_mask, "above 0")
        _require(self.precision in PRECISIONS, "precision", self.precision, f"one of {PRECISIONS}")
        _require(self.delegate in DELEGATES, "delegate", self.delegate, f"one of {DELEGATES}")
        for name in ("min_seconds", "max_seconds", "warmup_min_seconds"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value >= 0, name, value, "finite and at least 0")
        if self.max_seconds <= self.min_seconds:
            raise ValueError(
                f"max_seconds is {self.max_seconds}; it must be above min_seconds, "
                f"{self.min_seconds}"
            )
        if self.delegate == "none" and self.precision == "float16":
            raise ValueError("precision float16 needs a delegate; TFLite's kernels have none")


def _require(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value!r}; it must be {wanted}")


def flags_of_options(options: BenchmarkOptions, known: frozenset[str]) -> list[str]:
    """The flags, `--name=value`, that make a build do what is asked, and nothing else.

    Args:
        options: What is asked.
        known: The names of the flags that the build knows.

    Raises:
        OptionUnsupported: The build cannot do it.
    """
    flags = {
        "num_runs": str(options.runs),
        "warmup_runs": str(options.warmup),
        "num_threads": str(options.threads),
    }
    flags |= _limits(options, known) | _delegate(options, known)
    if options.profile:
        flags |= _profile(known)
    return [f"--{name}={value}" for name, value in flags.items()]


def _limits(options: BenchmarkOptions, known: frozenset[str]) -> dict[str, str]:
    """Builds that lack a lower limit behave as if it were 0."""
    flags = {}
    for name, option, value in (
        ("min_secs", "min_seconds", options.min_seconds),
        ("warmup_min_secs", "warmup_min_seconds", options.warmup_min_seconds),
    ):
        if name in known:
            flags[name] = f"{value:g}"
        elif value:
            raise _unsupported(f"{option} {value:g}", name)
    if "max_secs" in known:
        flags["max_secs"] = f"{options.max_seconds:g}"
    return flags


def _delegate(options: BenchmarkOptions, known: frozenset[str]) -> dict[str, str]:
    match options.delegate:
        case "xnnpack":
            return _xnnpack(options, known)
        case "gpu":
            return _gpu(options, known)
        case "nnapi":
            return _nnapi(options, known)
        case _:
            return _no_delegate(known)


def _xnnpack(options: BenchmarkOptions, known: frozenset[str]) -> dict[str, str]:
    # Only when the flag is given does TFLite's tool tell whether the delegate took any part.
    name = _first_known("delegate xnnpack", ("use_xnnpack", "use_cpu"), known)
    if options.precision == "float32":
        return {name: "true"}
    half = _first_known("precision float16 on xnnpack", ("xnnpack_force_fp16",), known)
    return {name: "true", half: "true"}


def _gpu(options: BenchmarkOptions, known: frozenset[str]) -> dict[str, str]:
    name = _first_known("delegate gpu", ("use_gpu",), known)
    # Both tools allow half precision unless told otherwise. TFLite's knows `allow_fp16`, too,
    # but its GPU delegate does not heed it.
    names = ("allow_fp16",) if _is_litert(known) else ("gpu_precision_loss_allowed",)
    half = _first_known(f"precision {options.precision} on the gpu", names, known)
    return {name: "true", half: "true" if options.precision == "float16" else "false"}


def _nnapi(options: BenchmarkOptions, known: frozenset[str]) -> dict[str, str]:
    logger.warning("NNAPI is deprecated since Android 15; prefer the delegate xnnpack or gpu")
    name = _first_known("delegate nnapi", ("use_nnapi",), known)
    if options.precision == "float32":
        return {name: "true"}
    half = _first_known("precision float16 on nnapi", ("nnapi_allow_fp16",), known)
    return {name: "true", half: "true"}


def _no_delegate(known: frozenset[str]) -> dict[str, str]:
    if _is_litert(known):
        raise OptionUnsupported(
            "this benchmark_model is LiteRT's, which cannot do without XNNPACK; take the "
            "delegate xnnpack, or TFLite's tool with --benchmark-binary FILE"
        )
    return {"use_xnnpack": "false"} if "use_xnnpack" in known else {}  # older than XNNPACK


def _profile(known: frozenset[str]) -> dict[str, str]:
    name = _first_known("profile", ("enable_op_profiling", "use_profiler"), known)
    flags = {name: "true"}
    if "max_profiling_buffer_entries" in known:
        flags["max_profiling_buffer_entries"] = str(_PROFILE_ENTRIES)
    return flags


def _is_litert(known: frozenset[str]) -> bool:
    return "use_cpu" in known


def _first_known(option: str, names: tuple[str, ...], known: frozenset[str]) -> str:
    for name in names:
        if name in known:
            return name
    raise _unsupported(option, *names)


def _unsupported(option: str, *names: str) -> OptionUnsupported:
    flags = " nor ".join(f"--{name}" for name in names)
    return OptionUnsupported(
        f"this benchmark_model cannot do {option}: it does not know {flags}; give a build that "
        "does with --benchmark-binary FILE, or change the option"
    )
