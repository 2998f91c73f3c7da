"""How well short trainings rank networks of equal latency: rank correlation with a long training.

    python benchmarks/proxies.py --data cifar10_jpeg75.tar.xz --table swift.table -o results.json

Draws random SwiftNets whose predicted latency is within a narrow band, so that size alone does
not rank them, trains each as a search's proxies would and once for long, and compares the
orders. Finished trainings are kept in a journal: stop and start it as you like.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import report
from scipy import stats
from supernet import Supernet

from latency_tables.model import LatencyModel
from latency_tables.store import load_table
from toolchain.executors import ProcessExecutor
from toolchain.kinds.classification import data_of
from toolchain.kinds.table import open_task
from toolchain.methods.candidate import Appraiser, Candidate
from toolchain.module import GraphModule
from toolchain.spaces.dag import parse_dags
from toolchain.spaces.swiftnet import SwiftNetSpace
from toolchain.tasks.classification import ClassificationData
from toolchain.train.epoch import evaluate, place, train_epoch
from toolchain.train.proxy import ProxySettings, evaluate_proxy
from toolchain.train.recipe import TrainSettings, build_optimizer, initialize

SPACE = SwiftNetSpace(nodes=(8, 10, 12))
REFERENCE = "reference"
SHARED = "shared weights, 12 epochs of 10,000"
POOL = 2000
POOL_BAND_MS = (0.06, 0.11)
"""What the network that shares its weights is trained on."""


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
    data = data_of(open_task(options.task, options.data))
    if (candidates[0].genotype, SHARED) not in done:
        records = train_shared(options, candidates, data)
        done |= {(one["genotype"], SHARED): one for one in records}
        with journal.open("a") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
    with ProcessExecutor(options.workers, partial(prepare, data, options.seed)) as executor:
        missing = [job for job in jobs if job not in done]
        for index, record in executor.map(train, missing):
            done[missing[index]] = record
            with journal.open("a") as file:
                file.write(json.dumps(record) + "\n")
    figures = {
        "data": data.name,
        "networks": len(candidates),
        "proxies": {name: compare(name, candidates, done) for name in (*settings(), SHARED)},
        "free": {
            name: correlation([value(one) for one in candidates], candidates, done)
            for name, value in FREE.items()
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
    found = draw(appraiser, np.random.default_rng(options.seed), options.networks, options.band_ms)
    known.write_text(json.dumps(found))
    return [appraiser.appraise(genotype) for genotype in found]


def draw(
    appraiser: Appraiser, rng: np.random.Generator, count: int, band_ms: Sequence[float]
) -> list[str]:
    """Random networks whose predicted latency is within a band."""
    found: dict[str, None] = {}
    while len(found) < count:
        candidate = appraiser.appraise(SPACE.sample(rng))
        if band_ms[0] <= candidate.p50_ms <= band_ms[1]:
            found[candidate.genotype] = None
    return list(found)


def separable(candidate: Candidate) -> float:
    """Inputs of separable convolutions, all together."""
    nodes = [node for dag in parse_dags(candidate.genotype) for node in dag.nodes]
    return sum(len(node.sources) for node in nodes if node.operator == "s")


FREE: Mapping[str, Callable[[Candidate], float]] = {
    "parameters": lambda one: one.params,
    "MACs": lambda one: one.macs,
    "predicted ms": lambda one: one.p50_ms,
    "inputs of separable convolutions": separable,
}
"""What ranks networks without any training."""


def train_shared(
    options: argparse.Namespace, candidates: list[Candidate], data: ClassificationData
) -> list[dict[str, Any]]:
    """Train one network that shares its weights with all, then measure each with its part."""
    torch.set_num_threads(1)
    begun_s = time.process_time()
    appraiser = Appraiser(space=SPACE, model=LatencyModel(load_table(options.table)))
    pool = draw(appraiser, np.random.default_rng(options.seed + 1), POOL, POOL_BAND_MS)
    training, validation = data.split(
        validation_per_class=500, train_per_class=1000, seed=options.seed
    )
    order = torch.randperm(len(validation), generator=torch.Generator().manual_seed(options.seed))
    shuffled = validation.select(order)  # batch norm takes the batch's statistics
    recipe = TrainSettings(epochs=12)
    supernet = Supernet(SPACE, pool)
    initialize(supernet, seed=options.seed)
    place(supernet, "cpu")
    optimizer = build_optimizer(supernet, recipe)
    for epoch in range(recipe.epochs):
        for _ in train_epoch(
            supernet, optimizer, training, recipe, seed=options.seed, epoch=epoch
        ):
            pass
    share_s = (time.process_time() - begun_s) / len(candidates)
    records = []
    for candidate in candidates:
        begun_s = time.process_time()
        supernet.genotype = candidate.genotype
        accuracy = evaluate(supernet, shuffled).accuracy
        cpu_s = round(share_s + time.process_time() - begun_s, 2)
        records.append(
            {
                "genotype": candidate.genotype,
                "proxy": SHARED,
                "accuracy": accuracy,
                "cpu_s": cpu_s,
            }
        )
    return records


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
