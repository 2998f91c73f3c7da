"""Reports of tasks that are no classification, from runs as the loop leaves them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import typer
from small_tasks import CHOICES, SUPERNET, small_task, start_shared

import cli
from toolchain import pipeline
from toolchain.config import config_from_json, make_config
from toolchain.report.commands import search_command
from toolchain.report.content import read_content
from toolchain.report.page import write_report
from toolchain.run_dir import RunDirectory
from toolchain.shared_weights import train_shared_weights
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.spaces.space import make_space


@pytest.fixture(scope="module", params=CHOICES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Searched with shared weights, tested and exported, in float and int8."""
    kind = request.param
    folder, config, appraiser = start_shared(tmp_path_factory.mktemp(kind) / "run", kind=kind)
    task = small_task(kind)
    found = pipeline.search(folder, config, appraiser, task, workers=1)
    list(pipeline.train_network(folder, config, found["best"]["genotype"], task))
    artifact = pipeline.export(folder, config, task)
    pipeline.quantize(folder, config, task, artifact, calibration_images=4)
    return folder


def test_a_report_speaks_of_the_tasks_metric_and_of_the_supernet(run: RunDirectory) -> None:
    page = write_report(run).read_text()
    config = config_from_json(run.config)
    metric = config.kind.metric
    assert f"<h2>{metric.title} against latency</h2>" in page
    assert f"Supernet {metric.axis}" in page
    assert f"Test {metric.name}" in page
    assert metric.text(run.read_json("test.json")[metric.key]) in page
    assert "ccuracy" not in page
    assert "<h2>Supernet</h2>" in page
    assert "teacher, step 8" in page
    assert "6 networks were scored on validation data with the weights of the supernet" in page
    assert "The network has the weights of the supernet, as they were" in page
    report = run.read_json("network.int8.json")["quantization"]
    assert f"{metric.name} {metric.text(report['accuracy'])} for" in page


def test_a_report_shows_predictions_and_needs_no_other_file(run: RunDirectory) -> None:
    page = write_report(run).read_text()
    assert 'src="data:image/png;base64,iVBORw0KGgo' in page
    for name in run.read_json("test.json")["details"]:
        assert name in page


def test_the_command_to_reproduce_asks_for_the_same_run(run: RunDirectory) -> None:
    content = read_content(run)
    words = shlex.split(search_command(content, run.path.with_name("again")))
    search = typer.main.get_command(cli.app).commands["search"]  # type: ignore[attr-defined]
    options = search.make_context("search", words[2:]).params
    config = config_from_json(run.config)
    space = config.space
    assert isinstance(space, ScaleNetSpace)
    fitted = {"input_shape": space.input_shape, "classes": space.classes, "head": space.head}
    from toolchain.settings import parse_assignments

    again = make_config(
        space=make_space("scalenet", {**fitted, **parse_assignments(options["space_set"])}),
        budget=config.budget,
        seed=options["seed"],
        task=options["task"],
        data=options["data"],
        image_size=options["image_size"],
        method=options["method"],
        method_set=options["method_set"] or [],
        proxy=options["proxy"],
        proxy_set=options["proxy_set"] or [],
        epochs=options["epochs"],
        train_set=options["train_set"] or [],
        task_set=options["task_set"] or [],
        weights=options["weights"],
        supernet_set=options["supernet_set"] or [],
    )
    assert again == config


def test_a_run_whose_supernet_is_in_training_says_so(tmp_path: Path) -> None:
    folder, config, _ = start_shared(tmp_path / "run", supernet_set=SUPERNET)
    assert "The supernet has not been trained yet." in write_report(folder).read_text()

    class Stop(Exception):
        pass

    def stop(done: int, steps: int, text: str) -> None:
        if done == 5:
            raise Stop

    with pytest.raises(Stop):
        train_shared_weights(folder, config, small_task("segmentation"), on_step=stop)
    page = write_report(folder).read_text()
    assert "so far; the training has not finished" in page
    assert "No network has been scored yet." in page
