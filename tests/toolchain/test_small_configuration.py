"""The configuration of the documentation, far smaller: it learns, and keeps a budget."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from made_up import middle_ms, table_of

from latency_tables.budget import Budget
from toolchain import pipeline
from toolchain.config import make_config
from toolchain.kinds.image_task import ImageTask
from toolchain.kinds.table import make_task_settings, open_task
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.spaces.space import make_space

CHOICES = {"scenes": (512, 96, 96)}


@pytest.mark.slow
def test_a_supernet_of_stick_people_learns_and_its_answer_keeps_the_budget(
    tmp_path: Path,
) -> None:
    """Without any training of its own, the answer finds keypoints; int8 costs little of that."""
    task = open_task("stick-people", settings=make_task_settings("stick-people", CHOICES))
    assert isinstance(task, ImageTask)
    space = make_space(
        "scalenet", {"modules": (1, 1), "max_depth": 3, **task.fitted(ScaleNetSpace())}
    )
    budget = Budget(limit_ms=middle_ms(space))
    config = make_config(
        space=space, budget=budget, seed=0, task="stick-people", data=None, image_size=None,
        task_set=[f"{name}={value}" for name, value in CHOICES.items()], method="scalenas",
        method_set=["evaluations=16", "population=10", "parents=3"], proxy="quick", proxy_set=[],
        epochs=None, train_set=[],
        supernet_set=[
            "teacher_steps=90", "steps=99", "batch_size=16", "teacher_learning_rate=4e-3",
            "learning_rate=3e-3",
        ],
    )  # fmt: skip
    table = table_of(space)
    run = pipeline.open_run(tmp_path / "run", config, table, resume=False)
    found = pipeline.search(run, config, pipeline.make_appraiser(config, table), task, workers=2)
    scores = [one["metric"] for one in run.records("candidates.jsonl")]
    assert len(scores) == 16
    assert found["best"]["metric"] == max(scores) > statistics.median(scores)
    assert found["best"]["p95_ms"] <= budget.limit_ms
    losses = [one["loss"] for one in run.records("supernet.jsonl")]
    assert losses[-1] < 1
    list(pipeline.train_network(run, config, found["best"]["genotype"], task))
    tested = run.read_json("test.json")
    assert tested["ap"] > 0.5
    assert abs(tested["ap"] - found["best"]["metric"]) < 0.15
    artifact = pipeline.export(run, config, task)
    quantized = pipeline.quantize(run, config, task, artifact).quantization
    assert quantized is not None
    assert quantized.accuracy is not None
    assert quantized.accuracy > tested["ap"] - 0.1
