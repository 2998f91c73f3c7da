from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from toolchain.evaluation import CANDIDATES, JournaledEvaluator, prepare
from toolchain.executors import ProcessExecutor, SerialExecutor
from toolchain.methods.candidate import Appraiser
from toolchain.methods.limits import Limits
from toolchain.methods.scalenas import ScaleNasSettings, scalenas
from toolchain.run_dir import RunDirectory
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.supernet_scores import SupernetScores
from toolchain.tasks.people_and_shapes import people_and_shapes
from toolchain.train.recipe import initialize
from toolchain.train.segmentation_objective import SegmentationObjective
from toolchain.train.supernet import Supernet
from toolchain.train.supernet_training import SupernetSettings, score, train_supernet

SPACE = ScaleNetSpace(
    input_shape=(3, 32, 32), modules=(1, 1), max_depth=2, stem_channels=8, classes=5,
    head="segmentation",
)  # fmt: skip


def trained() -> tuple[Supernet, SegmentationObjective]:
    data = people_and_shapes(side=32, train=64, validation=16, test=1)
    training, validation = data.split(seed=0)
    objective = SegmentationObjective(training=training, validation=validation, classes=5)
    supernet = Supernet(SPACE)
    initialize(supernet, seed=0)
    settings = SupernetSettings(steps=20, batch_size=16, learning_rate=4e-3)
    list(train_supernet(supernet, objective, settings, seed=0))
    return supernet, objective


def test_a_search_by_shared_weights_is_the_same_in_processes_and_after_a_stop(
    tmp_path: Path,
) -> None:
    supernet, objective = trained()
    work = SupernetScores(space=SPACE, weights=supernet.state_dict(), objective=objective)
    limit = Appraiser(space=SPACE).appraise(SPACE.regular(2)).macs
    appraiser = Appraiser(space=SPACE, limits=Limits(max_macs=limit))
    settings = ScaleNasSettings(evaluations=14, population=8, parents=3)
    run = RunDirectory.create(tmp_path / "run", {}, resume=False)
    with ProcessExecutor(2, partial(prepare, work)) as executor:
        evaluator = JournaledEvaluator(appraiser, executor, run)
        found = scalenas(appraiser, evaluator, settings, np.random.default_rng(0))
    assert evaluator.judged == len(run.records(CANDIDATES)) == 14
    for one in found.evaluated:
        assert one.macs <= limit
        assert one.cost["cpu_s"] > 0
    assert found.best.metric == score(supernet, found.best.genotype, objective)
    resumed = JournaledEvaluator(appraiser, SerialExecutor(partial(prepare, work)), run)
    again = scalenas(appraiser, resumed, settings, np.random.default_rng(0))
    assert resumed.judged == 0
    assert [one.to_json() for one in again.evaluated] == [one.to_json() for one in found.evaluated]
