from __future__ import annotations

import json
import shutil
from pathlib import Path

from command_line import SPACE, TRAINING, Call, write_images
from PIL import Image

from cli_steps import existing_run
from toolchain import pipeline


def test_a_folder_of_images_is_trained_by_the_imagenet_recipe_and_resumed_exactly(
    data: Path, tmp_path: Path, call: Call
) -> None:
    run = tmp_path / "run"
    words = ["search", "-o", run, "--task=image-folder", f"--data={data}", *SPACE, *TRAINING]
    words += ["--method=random", "--method-set=evaluations=1", "--recipe=imagenet"]
    ended = call(*words, "--json")
    assert (ended.code, ended.err) == (0, "")
    shutil.copytree(run, tmp_path / "stopped")
    training = json.loads((run / "config.json").read_text())["training"]
    assert (training["optimizer"], training["average"]) == ("rmsprop", 0.999)
    assert (training["epochs"], training["batch_size"]) == (2, 8)

    assert call("train", run).code == 0
    folder, config, task = existing_run(tmp_path / "stopped")
    genotype = pipeline.found(folder)["best"]["genotype"]
    next(pipeline.train_network(folder, config, genotype, task))
    assert not (folder.path / "weights.safetensors").exists()
    assert call("train", folder.path).code == 0
    for name in ("weights.safetensors", "test.json"):
        assert (folder.path / name).read_bytes() == (run / name).read_bytes()
    exported = call("export", run, "--json")
    assert exported.code == 0, exported.err
    assert json.loads(exported.out)["genotype"] == genotype
    assert call("report", run).code == 0
    assert "first_weights=fan-out" in (run / "report.html").read_text()


def test_colour_images_are_trained_by_the_imagenet_recipe(tmp_path: Path, call: Call) -> None:
    write_images(tmp_path / "grey")
    for file in (tmp_path / "grey").rglob("*.png"):
        with Image.open(file) as image:
            image.convert("RGB").save(file)
    words = ["search", "-o", tmp_path / "run", "--task=image-folder", *SPACE, *TRAINING]
    words += [f"--data={tmp_path / 'grey'}", "--method=random", "--method-set=evaluations=1"]
    assert call(*words, "--recipe=imagenet").code == 0
    assert call("train", tmp_path / "run").code == 0


def test_a_recipe_of_another_kind_of_task_is_refused(tmp_path: Path, call: Call) -> None:
    words = ["search", "-o", tmp_path / "run", "--task=people-and-shapes", "--space=scalenet"]
    complaint = call(*words, "--recipe=imagenet").complaint
    assert "unknown recipe of this kind of task 'imagenet'" in complaint
    assert not (tmp_path / "run").exists()
