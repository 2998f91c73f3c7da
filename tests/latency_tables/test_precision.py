from __future__ import annotations

from dataclasses import replace

import pytest

from latency_tables.kernel import Kernel, make_kernel, parse_kernel
from latency_tables.precision import as_int8, kernels_in, network_in

CONV = make_kernel("conv2d", ((1, 8, 8, 3),), (1, 8, 8, 4), {"kernel": "1x1"}, "relu")
DENSE = make_kernel("fully_connected", ((1, 4),), (1, 10))


def test_floats_run_as_they_are_on_a_target_of_floats() -> None:
    for precision in ("float32", "float16"):
        assert network_in(precision, [CONV, DENSE]) == (CONV, DENSE)
        assert kernels_in(precision, [CONV]) == (CONV,)


def test_an_int8_network_converts_at_its_ends() -> None:
    first, conv, dense, last = network_in("int8", [CONV, DENSE])
    assert first.key == "quantize 1x8x8x3 -> 1x8x8x3 to=int8 act=linear float32"
    assert (conv, dense) == (replace(CONV, dtype="int8"), replace(DENSE, dtype="int8"))
    assert last.key == "dequantize 1x10 -> 1x10 to=float32 act=linear int8"
    assert kernels_in("int8", [CONV, DENSE]) == (conv, dense)


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (
            make_kernel("repeat", ((4, 1, 4, 1, 8),), (4, 2, 4, 2, 8)),
            "multiply 4x1x4x1x8 -> 4x2x4x2x8 with=1x2x1x2x1 act=linear int8",
        ),
        (
            make_kernel("scale", ((1, 1, 1, 16),), (1, 1, 1, 16), {"by": "1/6"}),
            "multiply 1x1x1x16 -> 1x1x1x16 with=scalar act=linear int8",
        ),
        (
            make_kernel("hard_swish", ((1, 8, 8, 4),), (1, 8, 8, 4)),
            "hard_swish 1x8x8x4 -> 1x8x8x4 delegate=none act=linear int8",
        ),
    ],
)
def test_what_runs_otherwise_in_int8_is_told(kernel: Kernel, expected: str) -> None:
    assert as_int8(kernel) == parse_kernel(expected)


@pytest.mark.parametrize("kernel", [make_kernel("gelu", ((1, 4),), (1, 4)), as_int8(CONV)])
def test_what_is_not_known_is_not_guessed(kernel: Kernel) -> None:
    with pytest.raises(ValueError, match=f"runs in int8 for the kernel '{kernel.kind}"):
        as_int8(kernel)
