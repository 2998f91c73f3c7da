"""Enlarging a feature map: Resize by repeated pixels, or bilinear."""

from __future__ import annotations

from latency_tables.kernel import Shape, make_kernel
from toolchain.errors import ExportFailed
from toolchain.export.lowering.emitter import Emitter, Value
from toolchain.export.lowering.network import Operation, unsupported
from toolchain.kernels import repeat_kernels

RESIZE_ATTRIBUTES = frozenset(
    {
        "antialias",
        "coordinate_transformation_mode",
        "cubic_coeff_a",
        "exclude_outside",
        "extrapolation_value",
        "keep_aspect_ratio_policy",
        "mode",
        "nearest_mode",
    }
)

# Where a whole factor enlarges, each of these repeats every pixel as often as it says.
_REPEATS = {
    ("asymmetric", "floor"),
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
    ("pytorch_half_pixel", "round_prefer_floor"),
    ("pytorch_half_pixel", "round_prefer_ceil"),
}
_HALF_PIXEL = ("half_pixel", "pytorch_half_pixel")


def lower_resize(emitter: Emitter, operation: Operation) -> Value:
    """A feature map enlarged by a whole number, the same in both directions."""
    source = emitter.read(operation)
    output = emitter.shape(operation)
    factor = _factor(emitter, operation, source.shape, output)
    attributes = operation.attributes
    mode = attributes.get("mode", "nearest")
    coordinates = attributes.get("coordinate_transformation_mode", "half_pixel")
    rounding = attributes.get("nearest_mode", "round_prefer_floor")
    if mode == "nearest" and (coordinates, rounding) in _REPEATS:
        value = source
        for kernel in repeat_kernels(source.shape, factor):
            value = emitter.emit(kernel, value)
        return value
    if mode == "linear" and coordinates in _HALF_PIXEL and not attributes.get("antialias", 0):
        kernel = make_kernel("resize_bilinear", (source.shape,), output)
        return emitter.emit(kernel, source)
    raise unsupported(
        operation,
        f"mode={mode}, coordinate_transformation_mode={coordinates}, nearest_mode={rounding}",
        "enlarge by nearest pixels, or bilinear with align_corners=False",
    )


def _factor(emitter: Emitter, operation: Operation, source: Shape, output: Shape) -> int:
    factor = output[1] // source[1] if len(source) == len(output) == 4 else 0
    if factor < 2 or output[1:3] != (source[1] * factor, source[2] * factor):
        raise _enlarges_otherwise(operation, f"it makes {output} of {source} (NHWC)")
    # Sizes may be given instead; factors with a fraction may lead to the same sizes.
    scales = emitter.network.setting(operation, 2, "scales")
    if scales is not None and scales.size and scales.tolist() != [1, 1, factor, factor]:
        raise _enlarges_otherwise(operation, f"its factors are {scales.tolist()}")
    return factor


def _enlarges_otherwise(operation: Operation, what: str) -> ExportFailed:
    remedy = "enlarge rows and columns by the same whole number, 2 or more"
    return unsupported(operation, what, remedy)
