"""Supernets of the ScaleNAS benchmarks: their data, and their trainings, kept in a folder."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.tasks.camvid import load_camvid
from toolchain.tasks.people_and_shapes import people_and_shapes
from toolchain.tasks.segmentation import SegmentationData
from toolchain.train.checkpoint import load_weights, save_weights
from toolchain.train.recipe import initialize
from toolchain.train.segmentation_objective import SegmentationObjective
from toolchain.train.supernet import Supernet
from toolchain.train.supernet_training import SupernetSettings, frozen_teacher, train_supernet


def data_of(options: argparse.Namespace) -> SegmentationData:
    """CamVid, or drawn scenes with as many validation images as are asked for."""
    if options.camvid:
        return load_camvid(options.camvid, tuple(options.image_size))
    return people_and_shapes(validation=options.validation)


def space_of(options: argparse.Namespace, data: SegmentationData) -> ScaleNetSpace:
    """The small outline for these images."""
    classes = len(data.classes)
    return ScaleNetSpace(input_shape=data.input_shape, classes=classes, head="segmentation")


def objective_of(data: SegmentationData) -> SegmentationObjective:
    """Trained on the training images, scored on the data set's own validation images."""
    training, validation = data.split(seed=0)
    return SegmentationObjective(
        training=training, validation=validation, classes=len(data.classes)
    )


def teacher_weights(options: argparse.Namespace, seed: int) -> Path:
    """Train the largest network, unless the file is there."""
    settings = SupernetSettings(
        steps=options.teacher_steps, learning_rate=3e-3, sampling="largest", distillation=0.0
    )
    return _trained(options, seed, settings, None)


def supernet_weights(options: argparse.Namespace, job: tuple[int, str]) -> Path:
    """Train a supernet from its teacher, unless the file is there."""
    seed, sampling = job
    settings = SupernetSettings(steps=options.steps, sampling=sampling)
    return _trained(options, seed, settings, teacher_weights(options, seed))


def _trained(
    options: argparse.Namespace, seed: int, settings: SupernetSettings, start: Path | None
) -> Path:
    torch.set_num_threads(1)
    path: Path = options.folder / f"{settings.sampling}-{seed}.safetensors"
    if path.exists():
        return path
    data = data_of(options)
    supernet = Supernet(space_of(options, data))
    teacher = None
    if start is None:
        initialize(supernet, seed=seed)
    else:
        load_weights(start, supernet)
        teacher = frozen_teacher(supernet)
    reports = train_supernet(
        supernet,
        objective_of(data),
        settings,
        seed=seed,
        teacher=teacher,
        checkpoint=path.with_suffix(".checkpoint"),
        resume=True,
    )
    for one in reports:
        print(
            f"{path.stem}: step {one.step}, loss {one.loss:.3f}, {one.seconds:.0f} s", flush=True
        )
    save_weights(path, supernet, {"sampling": settings.sampling, "seed": str(seed)})
    return path


def load_supernet(options: argparse.Namespace, space: ScaleNetSpace, name: str) -> Supernet:
    """A trained supernet."""
    supernet = Supernet(space)
    load_weights(options.folder / f"{name}.safetensors", supernet)
    return supernet
