from __future__ import annotations

import math
from typing import Any

import pytest
from benchmark_tool import LITERT, OLD, TFLITE

from profilers.benchmark_options import BenchmarkOptions, flags_of_options
from profilers.errors import OptionUnsupported

_COUNTS = {"num_runs": "50", "warmup_runs": "1", "num_threads": "1"}
_PLAIN = _COUNTS | {"min_secs": "0", "warmup_min_secs": "0", "max_secs": "60"}


def flags(known: tuple[str, ...], **options: Any) -> dict[str, str]:
    lines = flags_of_options(BenchmarkOptions(**options), frozenset(known))
    return dict(line.removeprefix("--").split("=") for line in lines)


@pytest.mark.parametrize(
    ("known", "options", "wanted"),
    [
        (TFLITE, {}, _PLAIN | {"use_xnnpack": "true"}),
        (LITERT, {}, _PLAIN | {"use_cpu": "true"}),
        (OLD, {"delegate": "none"}, _COUNTS),
        (TFLITE, {"delegate": "none"}, _PLAIN | {"use_xnnpack": "false"}),
        (
            TFLITE,
            {"precision": "float16"},
            _PLAIN | {"use_xnnpack": "true", "xnnpack_force_fp16": "true"},
        ),
        (
            TFLITE,
            {"delegate": "gpu"},
            _PLAIN | {"use_gpu": "true", "gpu_precision_loss_allowed": "false"},
        ),
        (
            LITERT,
            {"delegate": "gpu", "precision": "float16"},
            _PLAIN | {"use_gpu": "true", "allow_fp16": "true"},
        ),
        (
            TFLITE,
            {"profile": True},
            _PLAIN
            | {
                "use_xnnpack": "true",
                "enable_op_profiling": "true",
                "max_profiling_buffer_entries": "8192",
            },
        ),
        (LITERT, {"profile": True}, _PLAIN | {"use_cpu": "true", "use_profiler": "true"}),
        (
            TFLITE,
            {
                "runs": 7,
                "warmup": 0,
                "threads": 4,
                "min_seconds": 0.2,
                "max_seconds": 1.5,
                "warmup_min_seconds": 0.3,
            },
            {
                "num_runs": "7",
                "warmup_runs": "0",
                "num_threads": "4",
                "min_secs": "0.2",
                "max_secs": "1.5",
                "warmup_min_secs": "0.3",
                "use_xnnpack": "true",
            },
        ),
    ],
)
def test_a_build_is_told_in_its_own_flags(
    known: tuple[str, ...], options: dict[str, Any], wanted: dict[str, str]
) -> None:
    assert flags(known, **options) == wanted


@pytest.mark.parametrize(
    ("known", "options", "said"),
    [
        (OLD, {}, "delegate xnnpack: it does not know --use_xnnpack nor --use_cpu"),
        (OLD, {"delegate": "none", "min_seconds": 0.2}, r"min_seconds 0.2.*--min_secs"),
        (OLD, {"delegate": "none", "warmup_min_seconds": 1}, "--warmup_min_secs"),
        (OLD, {"delegate": "none", "profile": True}, "--enable_op_profiling nor --use_profiler"),
        (OLD, {"delegate": "gpu"}, "--use_gpu"),
        (LITERT, {"delegate": "none"}, "cannot do without XNNPACK"),
        (LITERT, {"delegate": "nnapi"}, "--use_nnapi"),
        (LITERT, {"precision": "float16"}, "--xnnpack_force_fp16"),
    ],
)
def test_what_a_build_cannot_do_is_refused(
    known: tuple[str, ...], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(OptionUnsupported, match=said):
        flags(known, **options)


def test_a_gpu_whose_precision_cannot_be_chosen_is_refused() -> None:
    known = tuple(name for name in TFLITE if name != "gpu_precision_loss_allowed")
    with pytest.raises(OptionUnsupported, match="precision float32 on the gpu"):
        flags(known, delegate="gpu")


def test_nnapi_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    assert flags(TFLITE, delegate="nnapi", precision="float16") == _PLAIN | {
        "use_nnapi": "true",
        "nnapi_allow_fp16": "true",
    }
    assert "deprecated since Android 15" in caplog.text


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("runs", 0),
        ("warmup", -1),
        ("threads", 0),
        ("cpu_mask", 0),
        ("precision", "int8"),
        ("delegate", "hexagon"),
        ("min_seconds", -1.0),
        ("min_seconds", 60.0),
        ("max_seconds", math.inf),
        ("warmup_min_seconds", math.nan),
    ],
)
def test_senseless_options_are_refused(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"(?s){option}.*{value}"):
        BenchmarkOptions(**{option: value})


def test_half_precision_needs_a_delegate() -> None:
    with pytest.raises(ValueError, match="float16 needs a delegate"):
        BenchmarkOptions(delegate="none", precision="float16")
