"""ScaleNets trained alone, from fresh weights: what supernets are held against."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scalenas_supernets import data_of, objective_of, space_of
from scipy import stats

from toolchain.kinds.objective_task import initialize_fitting
from toolchain.module import GraphModule
from toolchain.train.fitting import FitSettings, fit
from toolchain.train.segmentation_objective import measure_segmentation

Job = tuple[str, int]
"""A genotype and a seed."""


def train_alone(options: argparse.Namespace, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Mean IoU of networks on validation and test images; what a file has is not trained again."""
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        return list(pool.map(partial(_trained, options), jobs))


def rank_correlations(
    truth: Sequence[float], guesses: Sequence[Sequence[float]]
) -> dict[str, Any]:
    """Spearman's correlation of each seed's scores, and of their mean."""
    each = [float(stats.spearmanr(one, truth).statistic) for one in guesses]
    together = float(stats.spearmanr(np.mean(guesses, axis=0), truth).statistic)
    return {"of_seeds": each, "of_mean": together}


def _trained(options: argparse.Namespace, job: Job) -> dict[str, Any]:
    genotype, seed = job
    name = f"alone-{sha256(genotype.encode()).hexdigest()[:16]}-{seed}-{options.epochs}.json"
    path: Path = options.folder / name
    if path.exists():
        known: dict[str, Any] = json.loads(path.read_text())
        return known
    torch.set_num_threads(1)
    data = data_of(options)
    objective = objective_of(data)
    module = GraphModule(space_of(options, data).decode(genotype))
    initialize_fitting(module, (), seed)
    settings = FitSettings(epochs=options.epochs)
    *_, last = fit(module, objective, settings, seed=seed)
    test = measure_segmentation(module, data.test, len(data.classes)).mean_iou
    row = {
        "genotype": genotype, "seed": seed, "validation": last.validation_score, "test": test,
    }  # fmt: skip
    path.write_text(json.dumps(row))
    print(json.dumps(row), flush=True)
    return row
