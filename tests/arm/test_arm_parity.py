"""Files that this host runs, run by LiteRT's arm64 build: they must compute the same."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter

sys.path.insert(0, str(Path(__file__).parent))  # the rig's own modules, in any import mode

from rig_arm import ArmMachine, RigUnavailable

from toolchain.export.artifact import Normalization
from toolchain.export.export import export_network
from toolchain.export.flatbuffer import random_weights, write_tflite
from toolchain.export.quantize import quantize, quantize_artifact
from toolchain.kernels import plan
from toolchain.module import GraphModule
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.zoo import make_network

pytestmark = pytest.mark.arm

# Processors with more and more ways to compute in int8: without the dot product, with it, with
# matrix products and SVE2, with all that QEMU knows (SME too).
CPUS = ("cortex-a53", "cortex-a76", "cortex-a710", "max")
ROUNDING = 1e-6
"""Largest difference of float outputs, as a share of their spread."""

SPACE = ShrinkCnnSpace(
    nodes=4, input_shape=(3, 32, 32), scales=(1, 2), replicate=(1, 1), pools=(1, 2)
)
GENOTYPE = "s0.c01.s012"


class Case(NamedTuple):
    """A file with the inputs that it reads and the host's outputs, one row for each."""

    path: Path
    inputs: np.ndarray
    outputs: np.ndarray


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> ArmMachine:
    try:
        return ArmMachine(tmp_path_factory.mktemp("arm"))
    except RigUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module", params=["relu", "swish"])
def exported(
    request: pytest.FixtureRequest, machine: ArmMachine, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Case]:
    """A network as the toolchain exports it: float32, int8, and int8 with integer ends."""
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    graph = replace(SPACE, activation=request.param).decode(GENOTYPE)
    images = draw(48)
    artifact = export_network(
        GraphModule(graph),
        graph,
        torch.from_numpy(images[:4]),
        folder,
        genotype=GENOTYPE,
        normalization=Normalization(mean=(0.5,) * 3, std=(0.25,) * 3),
    )
    int8 = quantize_artifact(artifact, folder / "int8.tflite", images[:32], images[32:], None)
    integer = folder / "integer.tflite"
    integer.write_bytes(quantize(artifact.path.read_bytes(), images[:32], integer_io=True))
    return {
        name: on_host(path, images[32:])
        for name, path in (("float32", artifact.path), ("int8", int8.path), ("integer", integer))
    }


def draw(count: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 3, size, size), dtype=np.float32)


def on_host(path: Path, images_NCHW: np.ndarray) -> Case:
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (image,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    inputs = images_NCHW.transpose(0, 2, 3, 1)
    if image["dtype"] == np.int8:
        scale, zero_point = image["quantization"]
        inputs = np.clip(np.rint(inputs / scale) + zero_point, -128, 127).astype(np.int8)
    inputs = np.ascontiguousarray(inputs)
    outputs = []
    for one in inputs:
        interpreter.set_tensor(image["index"], one[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(output["index"])[0])
    return Case(path, inputs, np.stack(outputs))


def on_arm(machine: ArmMachine, cpu: str, case: Case) -> np.ndarray:
    outputs = machine.run(cpu, case.path, case.inputs, case.outputs.dtype)
    assert outputs.shape == case.outputs.shape
    return outputs


def require_close(outputs: np.ndarray, case: Case) -> None:
    spread = np.ptp(case.outputs)
    assert spread > 0
    assert np.abs(outputs - case.outputs).max() <= ROUNDING * spread


@pytest.mark.parametrize("cpu", CPUS)
def test_a_float_network_computes_the_same_but_for_rounding(machine, exported, cpu):
    require_close(on_arm(machine, cpu, exported["float32"]), exported["float32"])


@pytest.mark.parametrize("cpu", CPUS)
def test_an_int8_network_computes_the_same_to_the_last_bit_but_few(machine, exported, cpu):
    case = exported["integer"]
    steps = np.abs(on_arm(machine, cpu, case).astype(int) - case.outputs)
    assert np.ptp(case.outputs.astype(int)) > 20
    assert steps.max() <= 1
    assert (steps == 0).mean() >= 0.95


def test_an_int8_network_with_float_ends_does_so_too(machine, exported):
    case = exported["int8"]
    differences = np.abs(on_arm(machine, CPUS[1], case) - case.outputs)
    step = np.diff(np.unique(case.outputs)).min()
    assert differences.max() <= 1.01 * step
    assert (differences < step / 2).mean() >= 0.95


def test_a_published_network_computes_the_same(machine, tmp_path):
    network = plan(make_network("shrinkcnn-b"))
    content = write_tflite(network, random_weights(network, 0))
    images = draw(3, size=224)
    paths = [tmp_path / name for name in ("float32.tflite", "int8.tflite")]
    for path, file in zip(
        paths, (content, quantize(content, images, integer_io=True)), strict=True
    ):
        path.write_bytes(file)
    floats, integers = (on_host(path, images[:1]) for path in paths)
    require_close(on_arm(machine, CPUS[1], floats), floats)
    steps = np.abs(on_arm(machine, CPUS[1], integers).astype(int) - integers.outputs)
    assert steps.max() <= 1
    assert (steps == 0).mean() >= 0.95


def test_the_runner_says_what_failed(machine, exported, tmp_path):
    case = exported["float32"]
    inputs, outputs = tmp_path / "inputs", tmp_path / "outputs"
    inputs.write_bytes(case.inputs.tobytes()[:-1])
    ended = machine.start(CPUS[0], case.path, inputs, outputs)
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (
        1, "parity_runner: inputs: the last one is cut off",
    )  # fmt: skip
    ended = machine.start(CPUS[0], inputs, inputs, outputs)
    assert ended.returncode == 1
    assert "parity_runner: CreateModelFromFile: status" in ended.stderr
