"""Shell scripts in place of `benchmark_model`: they know flags, write texts and end as told."""

from __future__ import annotations

import hashlib
from pathlib import Path

from profilers.benchmark_binary import BenchmarkBinary

_BASIC = ("num_runs", "num_threads", "warmup_runs", "graph")
_LIMITS = ("min_secs", "max_secs", "warmup_min_secs")
TFLITE = (
    *_BASIC,
    *_LIMITS,
    *("allow_fp16", "enable_op_profiling", "max_profiling_buffer_entries"),
    *("use_xnnpack", "xnnpack_force_fp16", "use_gpu", "gpu_precision_loss_allowed"),
    *("use_nnapi", "nnapi_allow_fp16", "require_full_delegation"),
)
"""Flags of a build of today from tflite/tools/benchmark."""

LITERT = (
    *_BASIC,
    *_LIMITS,
    *("allow_fp16", "use_cpu", "use_gpu", "use_npu", "use_profiler", "require_full_delegation"),
)
"""Flags of a build of today from litert/tools."""

OLD = (*_BASIC, "use_nnapi", "run_delay")
"""Flags of a build of TensorFlow 1.13."""


def help_text(flags: tuple[str, ...]) -> str:
    """What a build that knows these flags says to `--help`."""
    lines = [f"\t--{name}=0{' ' * (40 - len(name))}\tint32\toptional\ttext" for name in flags]
    return "\n".join(["usage: benchmark_model <flags>", "Flags:", *lines]) + "\n"


def tool(
    folder: Path, body: str, *, flags: tuple[str, ...] = TFLITE, shell: str = "/bin/sh"
) -> BenchmarkBinary:
    """Write a script that answers `--help` and otherwise runs a body.

    Args:
        folder: Where to write it, on this machine.
        body: Lines of shell.
        flags: That the help names.
        shell: Of the machine that it will run on.
    """
    path = folder / "benchmark_model.sh"
    path.write_text(
        f"#!{shell}\n"
        f"if [ \"$1\" = --help ]; then cat <<'END'\n{help_text(flags)}END\nexit 1; fi\n{body}\n"
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return BenchmarkBinary(path=path, sha256=digest, version="unknown", source="file")


def says(text: str, exit_code: int = 0) -> str:
    """A body that writes a text and ends."""
    return f"cat <<'END'\n{text}\nEND\nexit {exit_code}"


LOADED = "INFO: STARTING!\nINFO: Loaded model net.tflite"
WHOLE = (
    "VERBOSE: Replacing 31 out of 31 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding "
    "1 partitions for subgraph 0.\n"
    "INFO: Explicitly applied XNNPACK delegate, and the model graph will be completely executed "
    "by the delegate."
)
PARTIAL = (
    "VERBOSE: Replacing 30 out of 31 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding "
    "3 partitions for subgraph 0.\n"
    "INFO: Explicitly applied XNNPACK delegate, and the model graph will be partially executed by "
    "the delegate w/ 2 delegate kernels."
)
IGNORED = (
    "INFO: Though XNNPACK delegate is explicitly applied, the model graph will not be executed by "
    "the delegate."
)


def timings(runs: int, wanted: int = 50) -> str:
    """The end of a run of a build of today."""
    return (
        "INFO: The input model file size (MB): 3.27\n"
        "INFO: Initialized session in 4.478ms.\n"
        "INFO: Running benchmark for at least 1 iterations and at least 0 seconds but terminate "
        "if exceeding 60 seconds.\n"
        "INFO: count=1 curr=2100\n\n"
        f"INFO: Running benchmark for at least {wanted} iterations and at least 0 seconds but "
        "terminate if exceeding 60 seconds.\n"
        f"INFO: count={runs} first=1900 curr=1850 min=1800 max=2300 avg=1875.5 std=22 p5=1801 "
        "median=1860 p95=2000\n\n"
        "INFO: Inference timings in us: Init: 4478, First inference: 2100, Warmup (avg): 2100, "
        "Inference (avg): 1875.5"
    )


OF_TFLITE = f"{LOADED}\n{WHOLE}\n{timings(50)}"
OF_2020 = """STARTING!
Min num runs: [50]
Num threads: [1]
Graph: [net.tflite]
Loaded model net.tflite
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
Explicitly applied XNNPACK delegate, and the model graph will be completely executed w/ the delegate.
The input model file size (MB): 3.27
Initialized session in 4.478ms.
Running benchmark for at least 1 iterations and at least 0 seconds but terminate if exceeding 60 seconds.
count=1 curr=2100

Running benchmark for at least 50 iterations and at least 0 seconds but terminate if exceeding 60 seconds.
count=50 first=1900 curr=1850 min=1800 max=2300 avg=1875.5 std=22

Inference timings in us: Init: 4478, First inference: 2100, Warmup (avg): 2100, Inference (avg): 1875.5
"""  # noqa: E501
OF_LITERT = """INFO: STARTING!
INFO: [litert/runtime/accelerators/auto_registration.cc:148] CPU accelerator registered.
VERBOSE: Replacing 31 out of 31 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 partitions for subgraph 0.
INFO: The input model file size (MB): 3.27
INFO: Initialized session in 4.478ms.
INFO: Running benchmark for at least 1 iterations and at least 0 seconds but terminate if exceeding 60 seconds.
INFO: count=1 curr=2100

INFO: Running benchmark for at least 50 iterations and at least 0 seconds but terminate if exceeding 60 seconds.
INFO: count=50 first=1900 curr=1850 min=1800 max=2300 avg=1875.5 std=22 p5=1801 median=1860 p95=2000

INFO: [litert/tools/benchmark_litert_model.h:81]
========== BENCHMARK RESULTS ==========
INFO: [litert/tools/benchmark_litert_model.h:82] Model initialization: 4.48 ms
INFO: [litert/tools/benchmark_litert_model.h:88] Inference (avg):      1.88 ms (50 runs)
"""  # noqa: E501
