"""AutoShrink on recurrent cells: what it finds on the Brown corpus, what its choices are worth.

    python benchmarks/shrinkrnn.py --seeds 0 1 2 -o results.json
    python benchmarks/shrinkrnn.py --data ptb --parts search final --seeds 0 1 2 -o results.json

Every candidate of a seed is trained with the same first weights on the same segments, at most once
whatever parts ask for it. Parts:

    noise       children of the complete cell, each trained with several seeds: how far their
                perplexities scatter alone, as differences under the same seed, and where they
                inherit the complete cell's weights
    search      AutoShrink and random search with as many evaluations
    ablation    walks on from the edge with the best score, from a random edge and from the
                dearest, for several K, from the same complete cell
    final       the networks that both searches found, the complete cell, the released one, and an
                LSTM and a GRU of as many parameters and one of as many measured ms a word,
                trained longer and alike; test perplexity

The search is in paper mode, or, with ``--budget-ms``, in budget mode with this machine's table.

Everything is kept in the folder, so that the script can be stopped and started again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from machine import report
from recurrent_bench import Bench, best, described, draw, journal, score, walk
from recurrent_finals import Finalist, FinalTraining
from recurrent_speed import gated_of_speed, measured_ms, step_of
from run_folders import mean_and_spread

from toolchain.methods.autoshrink import CHOICES
from toolchain.run_dir import RunDirectory
from toolchain.spaces.gated_network import GATES, GatedNetwork, gated_of_size
from toolchain.spaces.recurrent_network import RecurrentNetwork
from toolchain.zoo import SHRINKRNN_CELL


def main() -> None:
    """Run the parts that are asked for."""
    options = parse()
    options.folder.mkdir(parents=True, exist_ok=True)
    parts = {"noise": noise, "search": search, "ablation": ablation, "final": final}
    bench = Bench(options)
    figures: dict[str, Any] = {"data": bench.data.name, "proxy": str(bench.proxy)}
    figures |= {part: parts[part](bench) for part in options.parts}
    figures["options"] = {key: str(value) for key, value in vars(options).items()}
    report("AutoShrink on recurrent cells", figures, options.output)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="text; the Brown corpus without it")
    parser.add_argument("--folder", type=Path, default=Path("runs/shrinkrnn"))
    parser.add_argument("--parts", nargs="+", default=["noise", "search", "ablation", "final"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--vocabulary", type=int, default=5000)
    parser.add_argument("--hidden", type=int, default=100)
    parser.add_argument("--candidates", type=int, default=10, help="K of the search")
    parser.add_argument("--train-words", type=int, default=40_000)
    parser.add_argument("--validation-words", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--budget-ms", type=float, help="limit a word takes; none without it")
    parser.add_argument("--inherit", action="store_true", help="candidates begin as heirs")
    parser.add_argument("--ablation-candidates", type=int, nargs="+", default=[1, 3, 10])
    parser.add_argument("--noise-candidates", type=int, default=8)
    parser.add_argument("--noise-seeds", type=int, default=5)
    parser.add_argument("--final-words", type=int, default=1_000_000)
    parser.add_argument("--final-epochs", type=int, default=12)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    return parser.parse_args()


def noise(bench: Bench) -> dict[str, Any]:
    """How much of what a short training says is chance."""
    options, seed = bench.options, bench.options.seeds[0]
    cell = bench.space.parse(bench.complete(seed))
    order = np.random.default_rng(seed).permutation(len(cell.edges))[: options.noise_candidates]
    children = [cell.without(cell.edges[index]).genotype for index in order]
    figures: dict[str, Any] = {"children": children}
    means = {}
    for regime in ("fresh", "inherited"):
        rows = []
        for training_seed in range(options.noise_seeds):
            work = bench.work(seed, inherits=regime == "inherited", training_seed=training_seed)
            with bench.executor(work) as executor:
                evaluator = bench.evaluator(f"noise-{regime}-{training_seed}", work, executor)
                rows.append([-one.accuracy for one in evaluator(children)])
        scatter = np.array(rows)  # seeds x children
        means[regime] = scatter.mean(axis=0)
        figures[regime] = {"perplexities": rows, **_scatter(scatter)}
        print(json.dumps({regime: _scatter(scatter)}), flush=True)
    figures["rank_correlation_fresh_inherited"] = _spearman(means["fresh"], means["inherited"])
    return figures


def _scatter(scatter: np.ndarray[Any, Any]) -> dict[str, float]:
    """What seeds do to perplexities (seeds x children), alone and as differences."""
    alone = scatter.std(axis=0, ddof=1)
    pairs = [
        (scatter[:, one] - scatter[:, other]).std(ddof=1)
        for one in range(scatter.shape[1])
        for other in range(one)
    ]
    unpaired = float(np.sqrt(2 * np.mean(alone**2)))
    paired = float(np.sqrt(np.mean(np.square(pairs))))
    between = float(scatter.mean(axis=0).std(ddof=1))
    # What the means of so few seeds differ by chance is no signal.
    signal = max(between**2 - paired**2 / 2 / len(scatter), 0.0) ** 0.5
    reliability = [
        _spearman(row, np.delete(scatter, index, axis=0).mean(axis=0))
        for index, row in enumerate(scatter)
    ]
    return {
        "sd_of_a_perplexity": float(np.sqrt(np.mean(alone**2))),
        "sd_of_a_difference_unpaired": unpaired,
        "sd_of_a_difference_paired": paired,
        "sd_between_children": between,
        "signal_to_noise": 2**0.5 * signal / paired,
        "rank_correlation_of_one_seed_with_the_others": float(np.mean(reliability)),
    }


def _spearman(one: Sequence[float], other: Sequence[float]) -> float:
    first, second = (np.argsort(np.argsort(values)) for values in (one, other))
    return float(np.corrcoef(first, second)[0, 1])


def search(bench: Bench) -> dict[str, Any]:
    """AutoShrink, and random search with as many evaluations."""
    rows = []
    for seed in bench.options.seeds:
        work = bench.work(seed, inherits=bench.options.inherit)
        with bench.executor(work) as executor:
            evaluator = bench.evaluator(journal(bench, seed), work, executor)
            shrunk = walk(bench, evaluator, seed, "score", bench.options.candidates)
            drawn = draw(bench, evaluator, seed, len(shrunk.evaluated))
            (complete,) = evaluator([bench.complete(seed)])
        rows.append(
            {
                "seed": seed,
                "autoshrink": described(bench, shrunk),
                "random": described(bench, drawn),
                "complete": {
                    "genotype": complete.genotype,
                    "perplexity": -complete.accuracy,
                    "score": score(bench, complete),
                },
                "trajectory": [step.to_json() for step in shrunk.trajectory],
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    names = ("autoshrink", "random", "complete")
    return {
        "rows": rows,
        **{
            f"{what}_of_{name}": mean_and_spread([row[name][what] for row in rows])
            for name in names
            for what in ("score", "perplexity")
        },
    }


def ablation(bench: Bench) -> dict[str, Any]:
    """Where walks lead that go on from other edges, or compare fewer."""
    rows = []
    for seed in bench.options.seeds:
        work = bench.work(seed, inherits=bench.options.inherit)
        with bench.executor(work) as executor:
            evaluator = bench.evaluator(journal(bench, seed), work, executor)
            for candidates in bench.options.ablation_candidates:
                for choice in _choices(candidates):
                    found = walk(bench, evaluator, seed, choice, candidates)
                    steps = [step.score for step in found.trajectory]
                    rows.append(
                        {
                            "seed": seed,
                            "choice": choice,
                            "candidates_per_step": candidates,
                            "mean_score_of_steps": float(np.mean(steps)),
                            **described(bench, found),
                        }
                    )
                    print(json.dumps(rows[-1]), flush=True)
    means = {}
    for candidates in bench.options.ablation_candidates:
        for choice in _choices(candidates):
            own = [
                row
                for row in rows
                if (row["choice"], row["candidates_per_step"]) == (choice, candidates)
            ]
            means[f"{choice}, K {candidates}"] = {
                what: mean_and_spread([row[what] for row in own])
                for what in ("score", "mean_score_of_steps", "evaluations")
            }
    return {"means": means, "rows": rows}


def _choices(candidates: int) -> tuple[str, ...]:
    return CHOICES if candidates > 1 else ("random",)  # Of one all choose the same.


def final(bench: Bench) -> dict[str, Any]:
    """Networks trained longer and alike."""
    options = bench.options
    finals = FinalTraining(
        data=options.data, vocabulary=options.vocabulary, words=options.final_words,
        epochs=options.final_epochs, batch_size=options.batch_size, dropout=options.dropout,
    )  # fmt: skip
    jobs = [
        Finalist(options.folder / f"final-{seed}-{name}", name, network, seed)
        for seed in options.seeds
        for name, network in finalists(bench, seed).items()
    ]
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        rows = list(pool.map(finals.result, jobs))
    for row, job in zip(rows, jobs, strict=True):  # one after the other: they are timed
        row["measured_ms"] = kept_ms(job)
    names = dict.fromkeys(row["name"] for row in rows)
    means = {
        name: {
            what: mean_and_spread([row[what] for row in rows if row["name"] == name])
            for what in ("test_perplexity", "params", "macs_per_token", "measured_ms", "cpu_s")
        }
        for name in names
    }
    return {"means": means, "rows": rows}


def kept_ms(job: Finalist) -> float:
    """Measured milliseconds of a word, once for each folder."""
    run = RunDirectory.open(job.folder)
    if not run.has("speed.json"):
        run.write_json("speed.json", {"ms": measured_ms(step_of(job.network), job.folder)})
    return float(run.read_json("speed.json")["ms"])


def finalists(bench: Bench, seed: int) -> dict[str, RecurrentNetwork | GatedNetwork]:
    """The networks to compare, of one seed's searches; what was measured for it is kept."""
    work = bench.work(seed, inherits=bench.options.inherit)
    with bench.executor(work) as executor:
        evaluator = bench.evaluator(journal(bench, seed), work, executor)
        shrunk = walk(bench, evaluator, seed, "score", bench.options.candidates)
        drawn = draw(bench, evaluator, seed, len(shrunk.evaluated))
    found = bench.space.decode(best(bench, shrunk).genotype)
    vocabulary = bench.space.vocabulary
    speeds = RunDirectory.create(
        bench.options.folder / f"speeds-{seed}", {"network": str(found)}, resume=True
    )
    as_quick = {}
    for kind in GATES:
        if not speeds.has(f"{kind}.json"):
            speeds.write_json(f"{kind}.json", gated_of_speed(found, kind, speeds.path))
        hidden = int(speeds.read_json(f"{kind}.json")["hidden"])
        network = GatedNetwork(kind=kind, hidden=hidden, vocabulary=vocabulary)
        as_quick[f"{kind}-of-equal-ms"] = network
    return {
        "autoshrink": found,
        "random": bench.space.decode(best(bench, drawn).genotype),
        "complete": bench.space.decode(bench.complete(seed)),
        "released": bench.space.decode(SHRINKRNN_CELL),
        "lstm": gated_of_size("lstm", found.parameters, vocabulary),
        "gru": gated_of_size("gru", found.parameters, vocabulary),
        **as_quick,
    }


if __name__ == "__main__":
    main()
