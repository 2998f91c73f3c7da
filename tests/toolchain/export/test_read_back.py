"""What is read of our own files is what was planned, so that one table serves both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latency_tables.tflite.decompose import decompose
from latency_tables.tflite.network import parse_network
from profilers.litert import LiteRtModel
from profilers.xnnpack import match_events
from toolchain.export.flatbuffer import random_weights, write_tflite
from toolchain.export.quantizer import run_quantizer
from toolchain.kernels import plan
from toolchain.spaces.space import make_space


@pytest.mark.parametrize("name", ["shrinkcnn", "swiftnet", "mobilenet", "scalenet"])
def test_a_planned_network_reads_back_as_its_plan(name: str) -> None:
    space = make_space(name, {})
    rng = np.random.default_rng(3)
    for _ in range(3):
        planned = plan(space.decode(space.sample(rng)))
        content = write_tflite(planned, random_weights(planned, 0))
        whole = decompose(parse_network(content))
        assert whole.kernels == planned.kernels
        assert (whole.delegated_parts, dict(whole.reasons)) == (1, {})


@pytest.mark.parametrize("recipe", ["int8", "dynamic"])
@pytest.mark.parametrize("name", ["shrinkcnn", "swiftnet", "mobilenet"])
def test_litert_runs_what_is_read_of_a_quantized_network(
    name: str, recipe: str, tmp_path: Path
) -> None:
    space = make_space(name, {"input_shape": (3, 32, 32)})
    planned = plan(space.decode(space.sample(np.random.default_rng(5))))
    content = write_tflite(planned, random_weights(planned, 0))
    sample = np.random.default_rng(0).standard_normal((1, 32, 32, 3), dtype=np.float32)
    feeds = [{"image": sample}]
    path = tmp_path / "quantized.tflite"
    path.write_bytes(run_quantizer(content, feeds, recipe, integer_io=False))
    whole = decompose(parse_network(path.read_bytes()))
    with LiteRtModel(path, profile=True) as model:
        events = model.profile(1, 0).operators
    match_events([event.name for event in events], whole.kernels)
    assert [event.is_delegated for event in events] == [one.is_delegated for one in whole.run]
