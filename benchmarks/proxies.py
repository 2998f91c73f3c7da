"""How well short trainings rank networks of equal latency: rank correlation with a long training.

    python benchmarks/proxies.py --data cifar10_jpeg75.tar.xz --table swift.table -o results.json

Draws random SwiftNets whose predicted latency is within a narrow band, so that size alone does
not rank them, trains each as a search's proxies would and once for long, and compares the
orders. Finished trainings are kept in a journal: stop and start it as you like.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import report
from scipy import stats

from latency_tables.model import LatencyModel
from latency_tables.store import load_table
from toolchain.executors import ProcessExecutor
from toolchain.methods.candidate import Appraiser, Candidate
from toolchain.module import GraphModule
from toolchain.spaces.swiftnet import SwiftNetSpace
from toolchain.tasks import load_task
from toolchain.tasks.classification import ClassificationData
from toolchain.train.proxy import ProxySettings, evaluate_proxy
from toolchain.train.recipe import TrainSettings

SPACE = SwiftNetSpace(nodes=(8, 10, 12))
REFERENCE = "reference"


def settings() -> Mapping[str, ProxySettings]:
    """The trainings by name: the reference and what is compared with it."""

    def plain(epochs: int, per_class: int, **training: Any) -> ProxySettings:
        recipe = TrainSettings(epochs=epochs, **{"augment": "none", **training})
        return ProxySettings(
            training=recipe,
            train_per_class=per_class,
            validation_per_class=500,
            patience_epochs=epochs,
        )

    return {
        REFERENCE: plain(8, 1500, augment="crop-flip"),
        "2 epochs of 4,000": plain(2, 400, optimizer="adam", learning_rate=1e-2, batch_size=32),
        "1 epoch of 8,000": plain(1, 800, optimizer="adam", learning_rate=1e-2, batch_size=32),
        "3 epochs of 10,000": plain(3, 1000),
        "4 epochs of 2,000": plain(4, 200, optimizer="adam", learning_rate=1e-2, batch_size=32),
    }


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="image-folder")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("runs/proxies"))
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--band-ms", type=float, nargs=2, default=[0.085, 0.1])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    candidates = networks(options)
    journal = options.folder / "trainings.jsonl"
    done = {(one["genotype"], one["proxy"]): one for one in read(journal)}
    jobs = [(one.genotype, name) for name in settings() for one in candidates]
    data = load_task(options.task, options.data, None)
    with ProcessExecutor(options.workers, partial(prepare, data, options.seed)) as executor:
        missing = [job for job in jobs if job not in done]
        for index, record in executor.map(train, missing):
            done[missing[index]] = record
            with journal.open("a") as file:
                file.write(json.dumps(record) + "\n")
    figures = {
        "data": data.name,
        "networks": len(candidates),
        "proxies": {name: compare(name, candidates, done) for name in settings()},
        "free": {
            name: correlation([getattr(one, name) for one in candidates], candidates, done)
            for name in ("params", "macs", "p50_ms")
        },
        "records": list(done.values()),
        "options": {key: str(value) for key, value in vars(options).items()},
    }
    report("proxies against a long training", figures, options.output)


def networks(options: argparse.Namespace) -> list[Candidate]:
    """Random networks within the band; the same again in the same folder."""
    known = options.folder / "networks.json"
    appraiser = Appraiser(space=SPACE, model=LatencyModel(load_table(options.table)))
    if known.exists():
        return [appraiser.appraise(genotype) for genotype in json.loads(known.read_text())]
    rng = np.random.default_rng(options.seed)
    low_ms, high_ms = options.band_ms
    found: dict[str, Candidate] = {}
    while len(found) < options.networks:
        candidate = appraiser.appraise(SPACE.sample(rng))
        if low_ms <= candidate.p50_ms <= high_ms:
            found[candidate.genotype] = candidate
    known.write_text(json.dumps(list(found)))
    return list(found.values())


_prepared: tuple[ClassificationData, int] | None = None


def prepare(data: ClassificationData, seed: int) -> None:
    """Get a worker process ready."""
    global _prepared
    torch.set_num_threads(1)
    _prepared = (data, seed)


def train(job: tuple[str, str]) -> dict[str, Any]:
    """Train one network in one way."""
    assert _prepared is not None
    data, seed = _prepared
    genotype, name = job
    proxy = settings()[name]
    training, validation = proxy.draw(data, seed=seed)
    module = GraphModule(SPACE.decode(genotype))
    result = evaluate_proxy(module, training, validation, proxy, seed=seed)
    return {
        "genotype": genotype,
        "proxy": name,
        "accuracy": result.accuracy,
        "cpu_s": round(result.cpu_s, 2),
    }


Records = Mapping[tuple[str, str], dict[str, Any]]
"""Finished trainings by genotype and proxy."""


def compare(name: str, candidates: list[Candidate], done: Records) -> dict[str, Any]:
    """A proxy against the reference."""
    records = [done[one.genotype, name] for one in candidates]
    accuracies = [record["accuracy"] for record in records]
    return {
        **correlation(accuracies, candidates, done),
        "accuracy_mean": float(np.mean(accuracies)),
        "accuracy_std": float(np.std(accuracies)),
        "cpu_s_mean": float(np.mean([record["cpu_s"] for record in records])),
    }


def correlation(
    values: list[float], candidates: list[Candidate], done: Records
) -> dict[str, float]:
    """Rank correlations with the reference, with a bootstrap interval of Spearman's."""
    truth = np.array([done[one.genotype, REFERENCE]["accuracy"] for one in candidates])
    guess = np.array(values)
    rng = np.random.default_rng(0)
    drawn = [rng.integers(len(truth), size=len(truth)) for _ in range(2000)]
    spearmans = [stats.spearmanr(guess[one], truth[one]).statistic for one in drawn]
    low, high = np.nanpercentile(spearmans, (2.5, 97.5))
    return {
        "spearman": float(stats.spearmanr(guess, truth).statistic),
        "spearman_low": float(low),
        "spearman_high": float(high),
        "kendall": float(stats.kendalltau(guess, truth).statistic),
    }


def read(journal: Path) -> list[dict[str, Any]]:
    """Finished trainings."""
    if not journal.exists():
        return []
    return [json.loads(line) for line in journal.read_text().splitlines()]


if __name__ == "__main__":
    main()
