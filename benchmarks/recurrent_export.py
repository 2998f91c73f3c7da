"""A ShrinkRNN language model on its way to the phone: parity, variants, and ms per word.

    python benchmarks/recurrent_export.py -o results.json

Trains a small model on the Brown corpus, exports it as a step and as a sequence, and compares
torch, ONNX Runtime and LiteRT on a text of the test part. Quantizes both, with ranges from the
training part, and reads more of the test part with each file: what quantizing costs in perplexity
and gives in time. Then profiles the space on this host and predicts networks that it never saw.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from latency_model import measure_all, pool_of, summary, unseen_of
from machine import report

from latency_tables.kernel import parse_kernel
from latency_tables.model import LatencyModel
from profilers.host import HostRunner
from profilers.litert import LiteRtModel
from profilers.profile import profile_table
from profilers.sessions import median_ms
from profilers.settings import ProfileSettings
from profilers.xnnpack import match_events
from toolchain.export.artifact import Artifact
from toolchain.export.quantize_text import quantize_text_artifact
from toolchain.export.recurrent import export_recurrent
from toolchain.spaces.shrinkrnn import ShrinkRnnSpace
from toolchain.tasks.language import LanguageData, load_language
from toolchain.train.language import train_language
from toolchain.train.language_recipe import LanguageSettings
from toolchain.train.recurrent import RecurrentModule, initialize_recurrent

RELEASED = "i0.s0.s01.t0123.i0123"
PARITY_WORDS = 200
CALIBRATION_WORDS = 500
SEED = 0
VARIANTS = {
    "int8": ("int8", False),
    "int8, integer ends": ("int8", True),
    "dynamic": ("dynamic", False),
}


def main() -> None:
    """Train, export, quantize, profile and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genotype", default=RELEASED)
    parser.add_argument("--hidden", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--train-words", type=int, default=300_000)
    parser.add_argument("--held-out-words", type=int, default=4_000)
    parser.add_argument("--sequence", type=int, default=20, help="words read at a time")
    parser.add_argument("--networks", type=int, default=24, help="unseen cells to predict")
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_language()
    space = ShrinkRnnSpace(hidden=options.hidden, vocabulary=len(data.vocabulary.words))
    module = RecurrentModule(space.decode(options.genotype))
    figures: dict[str, Any] = {"seed": SEED, "genotype": options.genotype}
    figures["training"] = _train(module, data, options)
    runner = HostRunner()
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, options.sequence):
            name = f"{count} word{'s' * (count > 1)} at a time"
            figures[name] = _exported(module, data, count, runner, Path(folder), options)
        figures["prediction"] = _predicted(space, runner, Path(folder), options)
    report("recurrent export", figures, options.output)


def _train(
    module: RecurrentModule, data: LanguageData, options: argparse.Namespace
) -> dict[str, Any]:
    initialize_recurrent(module, seed=SEED)
    settings = LanguageSettings(epochs=options.epochs, decay_after=(options.epochs - 1,))
    reports = list(
        train_language(
            module,
            data.train[: options.train_words],
            data.validation[:20_000],
            settings,
            seed=SEED,
            device="cpu",
        )
    )
    return {
        "words": options.train_words,
        "validation_perplexities": [round(one.validation_perplexity, 2) for one in reports],
        "seconds": round(sum(one.seconds for one in reports)),
    }


def _exported(
    module: RecurrentModule,
    data: LanguageData,
    count: int,
    runner: HostRunner,
    folder: Path,
    options: argparse.Namespace,
) -> dict[str, Any]:
    train, test = data.train.numpy(), data.test.numpy()
    artifact = export_recurrent(
        module, test[: PARITY_WORDS + 1], folder, count=count, name=f"float_{count}"
    )
    events = _events(artifact.path)
    match_events([name for name, _ in events], [*map(parse_kernel, artifact.kernels)])
    files = {"float": _measured(artifact, count, runner)}
    for name, (recipe, integer_io) in VARIANTS.items():
        quantized = quantize_text_artifact(
            artifact,
            folder / f"{recipe}_{integer_io}_{count}.tflite",
            train[: CALIBRATION_WORDS + 1],
            _whole_calls(test, options),
            recipe=recipe,
            integer_io=integer_io,
        )
        assert quantized.quantization is not None
        files[name] = _measured(quantized, count, runner) | {
            "perplexity": quantized.quantization.accuracy,
            "float_perplexity": quantized.quantization.float_accuracy,
            "sqnr_db": round(quantized.quantization.sqnr_db, 1),
            "top1_agreement": quantized.quantization.top1_agreement,
        }
    return {"parity": artifact.parity.to_json(), "kernels": len(events), "files": files}


def _whole_calls(
    test: npt.NDArray[np.int64], options: argparse.Namespace
) -> npt.NDArray[np.int64]:
    """The held-out text, behind that of the parity, the same for step and sequence."""
    words = options.held_out_words // options.sequence * options.sequence
    return test[PARITY_WORDS : PARITY_WORDS + words + 1]


def _measured(artifact: Artifact, count: int, runner: HostRunner) -> dict[str, Any]:
    sessions = [runner.latencies(artifact.path, runs=30, warmup=5) for _ in range(5)]
    medians = [float(np.median(session.samples_ms)) for session in sessions]
    return {
        "bytes": artifact.size_bytes,
        "ms_per_word": round(min(medians) / count, 5),
        "outside_of_xnnpack": [
            name for name, is_inside in _events(artifact.path) if not is_inside
        ],
    }


def _events(path: Path) -> list[tuple[str, bool]]:
    with LiteRtModel(path, profile=True) as model:
        return [(one.name, one.is_delegated) for one in model.profile(3, 1).operators]


def _predicted(
    space: ShrinkRnnSpace, runner: HostRunner, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    pool = pool_of(space)
    settings = ProfileSettings(sessions=options.sessions)
    table = profile_table(
        pool, runner, folder / "rnn.table", settings, space=space.name, seed=1, resume=False
    )
    model = LatencyModel(table)
    unseen = unseen_of(space, pool, options.networks)
    measured = measure_all(unseen, runner, options.sessions)
    true_ms = np.array([median_ms(measured[probe.subject]) for probe in unseen])
    predicted_ms = np.array([model.predict(probe.kernels).p50_ms for probe in unseen])
    return {
        "rows": len(table),
        "networks": len(unseen),
        "measured_ms": [round(float(np.min(true_ms)), 4), round(float(np.max(true_ms)), 4)],
        **summary(predicted_ms / true_ms - 1),
    }


if __name__ == "__main__":
    main()
