"""Three stand-in phones profiled at once, undisturbed and through what phones do.

    sudo .venv/bin/python benchmarks/phones.py -o results.json

The phones are those of `make phone`: a real adbd, real networks, no phone's timing. First all
three are profiled undisturbed. Then again, while the first is cut from the network 20 times at
random moments, the second throttles in spells, and the third asks its user to trust this machine
and is trusted. The second tables must have the same rows, each measured once a session, and
predict the same networks the same within noise.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from machine import report, spread

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "phone"))

from rig_benchmark import build
from rig_front import Front
from rig_phone import PORT, StandInPhone

from latency_tables.model import LatencyModel
from latency_tables.table import LatencyTable
from profilers.phone import PhoneOptions
from profilers.place import Place, measure_everywhere
from profilers.probes import Probe
from profilers.profile import profile_table
from profilers.runner import Runner
from profilers.settings import ProfileSettings
from toolchain.probe_networks import probe_networks
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.space import space_kernels

SPACE = ShrinkCnnSpace(input_shape=(1, 28, 28), nodes=5, base_width=8, stem_channels=16)
CUTS = 20
SEED = 1
DICE_SEED = 7
READABLE_MS = 0.01
"""Kernels below are not compared one by one: the tool's clock has whole microseconds."""


def main() -> None:
    """Profile twice and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    pool = [
        Probe(subject=network.genotype, kernels=network.kernels, build=network.build)
        for network in probe_networks(SPACE, SEED)
    ]
    settings = ProfileSettings(sessions=options.sessions)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ.setdefault("POCKETNAS_CACHE", str(Path.home() / ".cache" / "pocketnas"))
        os.environ["HOME"] = str(folder)  # a key that no phone knows yet
        phones = [stack.enter_context(StandInPhone()) for _ in range(3)]
        fronts = [stack.enter_context(Front((phone.host, PORT))) for phone in phones]
        fronts[2].security = "rsa"
        names = [f"{front.host}:{front.port}" for front in fronts]
        calm, calm_s = _profile([phone.serial for phone in phones], pool, settings, folder)
        with _cut(fronts[0]) as cuts, _throttle(phones[1]) as spells:
            rough, rough_s = _profile(names, pool, settings, folder)
        figures = {
            "seeds": {"profile": SEED, "faults": DICE_SEED},
            "sessions": options.sessions,
            "faults": {
                "cuts": cuts.count,
                "throttled spells": spells.count,
                "prompts": fronts[2].prompts,
            },
            "seconds": {"undisturbed": round(calm_s, 1), "disturbed": round(rough_s, 1)},
            "phones": {
                fault: _compare(one, other, pool, folder, name)
                for fault, one, other, name in zip(
                    ("cut", "throttled", "prompting"), calm, rough, names, strict=True
                )
            },
        }
    report("three phones at once", figures, options.output)


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name.replace(':', '_')}.table"


def _profile(
    names: list[str], pool: list[Probe], settings: ProfileSettings, folder: Path
) -> tuple[list[LatencyTable], float]:
    """The table of each phone, profiled at the same time, and how long that took."""
    place = Place(devices=tuple(names), binary=build(), options=PhoneOptions())

    def profile(name: str, runner: Runner) -> LatencyTable:
        return profile_table(
            pool, runner, _path(folder, name), settings, space="", seed=SEED, resume=False
        )

    start = time.monotonic()
    answers = measure_everywhere(place, profile)
    for answer in answers.values():
        if isinstance(answer, BaseException):
            raise answer
    tables = [answer for answer in answers.values() if isinstance(answer, LatencyTable)]
    return tables, time.monotonic() - start


class Counter:
    """How often a fault happened."""

    count = 0


@contextmanager
def _again_and_again(
    fault: Callable[[random.Random], None], pause_s: float, most: int
) -> Iterator[Counter]:
    """Let a fault happen at random moments."""
    dice, done, counter = random.Random(DICE_SEED), threading.Event(), Counter()

    def happen() -> None:
        while counter.count < most and not done.wait(dice.uniform(0, 2 * pause_s)):
            fault(dice)
            counter.count += 1

    thread = threading.Thread(target=happen)
    thread.start()
    try:
        yield counter
    finally:
        done.set()
        thread.join()


def _cut(front: Front) -> Any:
    return _again_and_again(lambda _: front.drop(), 1.5, CUTS)


def _throttle(phone: StandInPhone) -> Any:
    service = phone.state / "dumpsys" / "thermalservice"
    cool = service.read_text()

    def spell(dice: random.Random) -> None:
        service.write_text(cool.replace("Thermal Status: 0", "Thermal Status: 2"))
        time.sleep(dice.uniform(0.5, 2))
        service.write_text(cool)

    return _again_and_again(spell, 4, 10)


def _compare(
    calm: LatencyTable, rough: LatencyTable, pool: list[Probe], folder: Path, name: str
) -> dict[str, Any]:
    path = _path(folder, name)
    with closing(sqlite3.connect(path.with_name(f"{path.name}.journal"))) as journal:
        rows = list(journal.execute("SELECT subject, session, payload FROM measurement"))
    sessions = [(subject, session) for subject, session, _ in rows]
    models = LatencyModel(calm), LatencyModel(rough)
    predicted = [[m.predict(probe.kernels).p50_ms for m in models] for probe in pool]
    readable = [kernel for kernel in calm if calm[kernel].median_ms >= READABLE_MS]
    return {
        "rows": len(rough),
        "rows lost": len(space_kernels(SPACE) - set(rough)),
        "sessions": len(sessions),
        "sessions doubled": len(sessions) - len(set(sessions)),
        "sessions disturbed": sum(json.loads(text)["disturbed"] > 0 for *_, text in rows),
        "kernel ratio": spread([rough[k].median_ms / calm[k].median_ms for k in readable]),
        "prediction ratio": spread([after / before for before, after in predicted]),
        "median error (leave one out)": [
            table.calibration.median_error if table.calibration else None
            for table in (calm, rough)
        ],
    }


if __name__ == "__main__":
    main()
