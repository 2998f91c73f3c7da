"""Two processes that torchrun starts, against one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
import json, sys
import torch
from pathlib import Path
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.tasks.people_and_shapes import people_and_shapes
from toolchain.train.distributed import joined, place
from toolchain.train.recipe import initialize
from toolchain.train.segmentation_objective import SegmentationObjective
from toolchain.train.supernet import Supernet
from toolchain.train.supernet_training import SupernetSettings, train_supernet

torch.set_num_threads(1)
space = ScaleNetSpace(
    input_shape=(3, 32, 32), modules=(1, 1), max_depth=2, stem_channels=8, classes=5,
    head="segmentation",
)
data = people_and_shapes(side=32, train=64, validation=8, test=1)
training, validation = data.split(seed=0)
objective = SegmentationObjective(training=training, validation=validation, classes=5)
with joined():
    supernet = Supernet(space)
    initialize(supernet, seed=0)
    settings = SupernetSettings(steps=12, batch_size=32)
    folder = Path(sys.argv[1])
    reports = train_supernet(
        supernet, objective, settings, seed=0, every=4, checkpoint=folder / "state"
    )
    told = {
        "losses": [report.loss for report in reports],
        "weight": float(sum(p.detach().abs().sum() for p in supernet.parameters())),
    }
    (folder / f"{place()[0]}.json").write_text(json.dumps(told))
"""


def trained(folder: Path, launcher: list[str]) -> list[dict[str, Any]]:
    """What each process tells."""
    folder.mkdir()
    script = folder / "script.py"
    script.write_text(SCRIPT)
    subprocess.run([sys.executable, *launcher, str(script), str(folder)], check=True, timeout=300)
    return [json.loads(told.read_text()) for told in sorted(folder.glob("[0-9].json"))]


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tmp_path: Path) -> None:
    """Their batch norms see half a batch each, so that losses differ a little."""
    (alone,) = trained(tmp_path / "one", [])
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    both = trained(tmp_path / "two", launcher)
    assert len(both) == 2
    assert both[0] == both[1]
    assert both[0]["losses"] == pytest.approx(alone["losses"], rel=0.05)
    assert both[0]["weight"] == pytest.approx(alone["weight"], rel=0.01)
    assert alone["losses"][-1] < alone["losses"][0]
