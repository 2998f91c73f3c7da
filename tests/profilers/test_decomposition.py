"""What is worked out from a file is what LiteRT reports running, one by one.

Networks of others are read from the folder that POCKETNAS_MODELS names; collect them with
benchmarks/collect_models.py, which tells where each comes from.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from operator_zoo import REFUSED, ZOO, network_of

from latency_tables.errors import NetworkUnreadable
from latency_tables.tflite.decompose import decompose
from latency_tables.tflite.network import parse_network
from profilers.errors import ModelRejected
from profilers.litert import LiteRtModel
from profilers.xnnpack import match_events

MODELS = os.environ.get("POCKETNAS_MODELS")


def others() -> list[Path]:
    return sorted(Path(MODELS).glob("*.tflite")) if MODELS else []


def agree(path: Path) -> None:
    """Run a file and compare.

    Raises:
        ModelRejected: LiteRT does not run it.
    """
    with LiteRtModel(path, profile=True) as model:
        events = model.profile(1, 0).operators
    whole = decompose(parse_network(path.read_bytes()))
    match_events([event.name for event in events], whole.kernels)
    assert [event.is_delegated for event in events] == [one.is_delegated for one in whole.run]
    starts = [event.index for event in events if event.is_delegated].count(0)
    assert starts == whole.delegated_parts


@pytest.mark.parametrize("dtype", REFUSED)
@pytest.mark.parametrize("name", ZOO)
def test_litert_runs_what_was_worked_out(name: str, dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(network_of(name, dtype))
    if name in REFUSED[dtype]:
        with pytest.raises(ModelRejected):
            agree(path)
    else:
        agree(path)


@pytest.mark.skipif(not MODELS, reason="POCKETNAS_MODELS names no folder of others' networks")
@pytest.mark.parametrize("path", others(), ids=lambda path: path.stem)
def test_litert_runs_what_was_worked_out_of_networks_of_others(path: Path) -> None:
    try:
        agree(path)
    except (NetworkUnreadable, ModelRejected) as error:
        pytest.skip(f"refused: {error}")
