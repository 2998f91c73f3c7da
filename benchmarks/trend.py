"""How much better networks are ranked when their accuracies lean on the trend of a search.

    python benchmarks/trend.py --proxies benchmarks/results/proxies.json \
        --searches benchmarks/results/swiftnet_pilot.json

Reads what `proxies.py` and `swiftnet.py` have measured; trains nothing. The trend is fitted to one
search's networks. The networks that are ranked are those of `proxies.py`: others, with a short
training (their own accuracy) and a long one (the truth).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from machine import report
from scipy import stats

from toolchain.methods.trend import RIDGE, Trend

SHORT, LONG = "2 epochs of 4,000", "reference"
SHARES = (0.0, 0.3, 0.5, 0.7, 1.0)


def main() -> None:
    """Rank by mixtures of the short trainings and each search's trend."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--proxies", type=Path, required=True)
    parser.add_argument("--searches", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    records = json.loads(options.proxies.read_text())["records"]
    searches = json.loads(options.searches.read_text())["candidates"]
    accuracies = {
        name: {one["genotype"]: one["accuracy"] for one in records if one["proxy"] == name}
        for name in (SHORT, LONG)
    }
    rows = {
        name: {str(trained): ranked(search[:trained], accuracies) for trained in (40, len(search))}
        for name, search in searches.items()
    }
    figures = {"ridge": RIDGE, "networks": len(accuracies[LONG]), "spearman": rows}
    report("accuracies that lean on a trend", figures, options.output)


def ranked(search: list[Any], accuracies: dict[str, dict[str, float]]) -> dict[str, float]:
    """Spearman's correlation with the long trainings, by the trend's share of the estimate."""
    trend = Trend.fit([row[0] for row in search], [row[1] for row in search])
    genotypes = list(accuracies[LONG])
    truth = [accuracies[LONG][one] for one in genotypes]
    own = np.array([accuracies[SHORT][one] for one in genotypes])
    expected = np.array([trend.accuracy(one) for one in genotypes])
    expected += own.mean() - expected.mean()
    return {
        str(share): round(float(stats.spearmanr(own + share * (expected - own), truth)[0]), 3)
        for share in SHARES
    }


if __name__ == "__main__":
    main()
