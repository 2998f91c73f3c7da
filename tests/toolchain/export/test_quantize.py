from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from latency_tables.kernel import make_kernel
from toolchain.errors import ArtifactUnusable, ExportFailed, NotInteger
from toolchain.export.artifact import Artifact, Normalization, kernels_of, load_card
from toolchain.export.export import export_network
from toolchain.export.flatbuffer import random_weights, write_tflite
from toolchain.export.parity import run_litert
from toolchain.export.quantization import compare_outputs, read_arithmetic
from toolchain.export.quantize import quantize, quantize_artifact
from toolchain.kernels import Plan, Step, image_plan, plan
from toolchain.module import GraphModule
from toolchain.spaces.mobilenet import MobileNetSpace
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace

SPACE = ShrinkCnnSpace(
    nodes=4, input_shape=(3, 15, 16), scales=(0.5, 1), replicate=(1, 1), pools=(2, 2)
)
GENOTYPE = "s0.c01.s012"
WEIGHTED = ("conv2d", "depthwise_conv2d", "fully_connected")


def float_network(activation: str = "relu") -> tuple[Plan, bytes]:
    network = plan(replace(SPACE, activation=activation).decode(GENOTYPE))
    return network, write_tflite(network, random_weights(network, 0))


def images(count: int, seed: int = 0, shape: tuple[int, ...] = SPACE.input_shape) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, *shape), dtype=np.float32)


def ends(content: bytes) -> list[type]:
    interpreter = Interpreter(model_content=content)
    details = [*interpreter.get_input_details(), *interpreter.get_output_details()]
    return [tensor["dtype"] for tensor in details]


def clamped_product() -> bytes:
    """A convolution times itself, then a ReLU6 of its own, which the quantizer does not know."""
    shape = (1, 6, 6, 4)
    window = {"kernel": "3x3", "stride": "1x1", "padding": "same"}
    network = image_plan(
        (1, 6, 6, 2),
        (
            Step(make_kernel("conv2d", ((1, 6, 6, 2),), shape, window), (0,)),
            Step(make_kernel("multiply", (shape, shape), shape), (1, 1)),
            Step(make_kernel("clamp", (shape,), shape, {"range": "relu6"}), (2,)),
            Step(make_kernel("mean", (shape,), (1, 4), {"axes": "1x2"}), (3,)),
        ),
    )
    return write_tflite(network, random_weights(network, 0))


@pytest.mark.parametrize("activation", ["relu", "relu6", "swish"])
def test_every_operator_of_an_int8_network_computes_in_integers(activation):
    network, content = float_network(activation)
    before, after = read_arithmetic(content), read_arithmetic(quantize(content, images(8)))
    assert before.integer_ops == 0
    # The flatten belongs to the dense layer, see write_tflite.
    assert len(before.float_ops) == len(network.steps) - 1
    assert after.integer_ops == len(before.float_ops)
    assert after.float_ops == ()


@pytest.mark.parametrize("activation", ["relu", "swish"])
def test_an_int8_network_computes_nearly_the_same(activation):
    content = float_network(activation)[1]
    held_out = images(30, seed=1)
    reference = run_litert(content, held_out)
    quantized = run_litert(quantize(content, images(30)), held_out)
    assert compare_outputs(reference, quantized, None).sqnr_db > 15
    assert not np.array_equal(quantized, reference)


def test_ranges_come_from_the_samples():
    content = float_network()[1]
    held_out = images(30, seed=1)
    reference = run_litert(content, held_out)
    dark = quantize(content, images(30) * np.float32(0.01))
    assert compare_outputs(reference, run_litert(dark, held_out), None).sqnr_db < 10


def test_ranges_hold_every_sample_in_whatever_order():
    content = float_network()[1]
    samples = images(40)
    samples[0] *= np.float32(4)  # an average would forget it
    assert quantize(content, samples) == quantize(content, samples[::-1])
    bright = run_litert(content, samples[:1])
    movement = compare_outputs(bright, run_litert(quantize(content, samples), samples[:1]), None)
    assert movement.sqnr_db > 20


def test_ends_are_float_unless_integers_are_asked_for():
    content = float_network()[1]
    assert ends(quantize(content, images(4))) == [np.float32, np.float32]
    integer = quantize(content, images(4), integer_io=True)
    assert ends(integer) == [np.int8, np.int8]
    held_out = images(5, seed=1)
    np.testing.assert_array_equal(
        run_litert(integer, held_out), run_litert(quantize(content, images(4)), held_out)
    )


def test_gates_and_hard_swishes_compute_in_integers():
    space = MobileNetSpace(input_shape=SPACE.input_shape, widths=(0.25,))
    network = plan(space.decode("v3s-w0.25-s1-d3-h"))
    content = write_tflite(network, random_weights(network, 0))
    arithmetic = read_arithmetic(quantize(content, images(4)))
    assert arithmetic.float_ops == ()
    flattens = sum(kernel.kind == "flatten" for kernel in network.kernels)
    assert arithmetic.integer_ops == len(network.kernels) - flattens


def test_dynamic_quantizes_the_weights_alone():
    network, content = float_network()
    arithmetic = read_arithmetic(quantize(content, images(1), recipe="dynamic"))
    assert arithmetic.integer_ops == sum(kernel.kind in WEIGHTED for kernel in network.kernels)
    assert set(arithmetic.float_ops) == {"ADD", "CONCATENATION", "MAX_POOL_2D", "MEAN"}


def test_the_same_file_and_samples_give_the_same_bytes_in_another_process(tmp_path):
    path = tmp_path / "float.tflite"
    path.write_bytes(float_network()[1])
    script = (
        "import sys; from pathlib import Path; from test_quantize import images, quantize;"
        "path = Path(sys.argv[1]); sys.stdout.buffer.write(quantize(path.read_bytes(), images(4)))"
    )
    here = Path(__file__).parent
    child = subprocess.run(
        [sys.executable, "-c", script, path],
        env={
            **os.environ,
            "PYTHONPATH": f"{here}{os.pathsep}{here.parents[2]}",
            "PYTHONHASHSEED": "7",
        },
        check=True,
        stdout=subprocess.PIPE,
    )
    assert child.stdout == quantize(path.read_bytes(), images(4))


def test_operators_left_in_float_are_named_and_refused():
    samples = images(4, shape=(2, 6, 6))
    with pytest.raises(NotInteger, match=r"floating point: 1 RELU6; .*another activation"):
        quantize(clamped_product(), samples)
    dynamic = read_arithmetic(quantize(clamped_product(), samples, recipe="dynamic"))
    assert (dynamic.integer_ops, dynamic.float_ops) == (1, ("MUL", "RELU6", "MEAN"))


def test_the_quantizer_says_nothing(capfd):
    quantize(float_network()[1], images(10))
    assert capfd.readouterr() == ("", "")


def test_wrong_arguments_are_refused():
    content = float_network()[1]
    with pytest.raises(ValueError, match="'int4'; give one of int8, dynamic"):
        quantize(content, images(1), recipe="int4")
    with pytest.raises(ValueError, match="stay float32 by dynamic"):
        quantize(content, images(1), recipe="dynamic", integer_io=True)
    wrong_shape = (images(1)[0], images(1).astype(np.float64), images(2, shape=(3, 14, 16)))
    for samples in wrong_shape:
        with pytest.raises(ValueError, match="float32 images of shape 3x15x16, got"):
            quantize(content, samples)
    for samples in (images(0), images(2) * np.float32(np.inf)):
        with pytest.raises(ValueError, match="one image or more, of finite numbers"):
            quantize(content, samples)


def test_a_file_that_the_quantizer_cannot_run_is_refused():
    model = schema.ModelT.InitFromPackedBuf(float_network()[1])
    model.signatureDefs[0].signatureKey = b"another"
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(ExportFailed, match="litert-quantizer does not take this network"):
        quantize(bytes(builder.Output()), images(2))


def test_movement_counts_noise_and_classes():
    reference = np.array([[3, 4, 0], [0, 0, 5]], np.float32)
    moved = np.array([[3, 2.9, 0], [0, 0, 5]], np.float32)
    movement = compare_outputs(reference, moved, np.array([1, 2]))
    assert movement.sqnr_db == pytest.approx(10 * np.log10(50 / 1.21), abs=1e-5)
    assert movement.top1_agreement == movement.accuracy == 0.5
    assert movement.float_accuracy == 1
    assert np.isfinite(compare_outputs(reference, reference, None).sqnr_db)
    for dead in (0 * reference, np.nan * reference):
        with pytest.raises(ExportFailed, match="nothing can be compared"):
            compare_outputs(dead, moved, None)


@pytest.fixture
def exported(look_trained, tmp_path) -> Artifact:
    torch.manual_seed(0)
    graph = SPACE.decode(GENOTYPE)
    return export_network(
        look_trained(GraphModule(graph), 0),
        graph,
        torch.from_numpy(images(4)),
        tmp_path,
        genotype=GENOTYPE,
        normalization=Normalization(mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1)),
    )


def test_a_quantized_artifact_has_a_card_of_its_own(exported, tmp_path):
    held_out = images(20, seed=1)
    labels = run_litert(exported.path.read_bytes(), held_out).argmax(axis=1)
    artifact = quantize_artifact(
        exported, tmp_path / "network.int8.tflite", images(10), held_out, labels
    )
    assert load_card(artifact.path) == artifact
    assert load_card(exported.path) == exported
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "network.int8.json",
        "network.int8.tflite",
        "network.json",
        "network.onnx",
        "network.tflite",
    ]
    report = artifact.quantization
    assert (report.recipe, report.calibration_images, report.images) == ("int8", 10, 20)
    assert report.integer_ops == len(exported.kernels) - 1
    assert report.float_ops == ()
    assert report.float_accuracy == 1
    assert report.accuracy == report.top1_agreement > 0.5
    assert report.sqnr_db > 10
    assert artifact.size_bytes == artifact.path.stat().st_size < exported.size_bytes
    assert artifact.versions["litert-quantizer"]
    assert kernels_of(exported.path)
    assert kernels_of(artifact.path) is None
    assert f"SQNR {report.sqnr_db:.1f} dB" in artifact.summary()


def test_integer_ends_stand_in_the_card(exported, tmp_path):
    path = tmp_path / "integer.tflite"
    artifact = quantize_artifact(exported, path, images(4), images(4), None, integer_io=True)
    assert artifact.inputs[0] == replace(exported.inputs[0], dtype="int8")
    assert artifact.outputs[0].dtype == "int8"
    assert artifact.quantization.accuracy is None


def test_a_quantized_file_is_not_quantized_again(exported, tmp_path):
    path = tmp_path / "network.int8.tflite"
    artifact = quantize_artifact(exported, path, images(4), images(4), None)
    with pytest.raises(ValueError, match="quantized already; give the float file"):
        quantize_artifact(artifact, tmp_path / "again.tflite", images(4), images(4), None)


def test_nothing_is_written_for_a_network_that_stays_float(exported, tmp_path):
    exported.path.write_bytes(clamped_product())
    before = sorted(tmp_path.iterdir())
    samples = images(2, shape=(2, 6, 6))
    with pytest.raises(NotInteger):
        quantize_artifact(exported, tmp_path / "int8.tflite", samples, samples, None)
    assert sorted(tmp_path.iterdir()) == before


def test_a_card_with_a_misspelt_quantization_is_refused(exported, tmp_path):
    path = tmp_path / "network.int8.tflite"
    artifact = quantize_artifact(exported, path, images(4), images(4), None)
    card = artifact.card_path
    card.write_text(card.read_text().replace('"sqnr_db"', '"sqnr"'))
    with pytest.raises(ArtifactUnusable, match="lacks or misspells a field"):
        load_card(path)
