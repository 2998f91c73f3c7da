"""The commands that made a run, or that would go on with it, to be copied from the report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from toolchain.kinds.table import make_task_settings
from toolchain.kinds.task import Task
from toolchain.methods.method import make_settings
from toolchain.pipeline import BENCHMARK
from toolchain.report.content import Content, Record
from toolchain.run_dir import TABLE
from toolchain.spaces.space import make_space, space_to_json
from toolchain.train.supernet_plan import SupernetPlan

FROM_DATA = ("input_shape", "classes", "head", "vocabulary")
"""Settings of a space that the task's data decide."""


def profile_command(content: Content) -> str:
    """Makes a latency table for the run's space."""
    words = ["pocketnas", "profile", "--output", "device.table"]
    return shlex.join([*words, *_task_words(content.config), *_space_words(content.config)])


def search_command(content: Content, folder: Path) -> str:
    """The search that has the run's configuration.

    Args:
        content: the run.
        folder: where the command is to put its run.
    """
    config = content.config
    words = ["pocketnas", "search", "--output", str(folder), *_task_words(config)]
    words += _space_words(config)
    method = config["method"]
    method_defaults = asdict(make_settings(method["name"], {}))
    words += ["--method", method["name"]]
    words += _changed("--method-set", method["settings"], method_defaults)
    if content.shares_weights:
        words += ["--weights", "shared"]
        words += _changed("--supernet-set", config["supernet"], asdict(SupernetPlan()))
    else:
        if content.kind.shares_weights:
            words += ["--weights", "own"]
        proxy, proxy_defaults = _nearest_proxy(content.kind, config["proxy"])
        words += ["--proxy", proxy, *_changed("--proxy-set", config["proxy"], proxy_defaults)]
    epochs = config["training"]["epochs"]
    training = content.kind.training(epochs, is_inherited=content.shares_weights)
    training_defaults = asdict(training)
    words += ["--epochs", str(epochs)]
    words += _changed("--train-set", config["training"], training_defaults)
    words += _table_and_budget_words(content)
    if content.budget is not None and content.budget.fill:
        words += ["--fill", repr(content.budget.fill)]
    if config.get("measure_doubtful"):
        words += ["--measure-doubtful"]
    for name, limit in config["limits"].items():
        if limit is not None:
            words += [f"--{name.replace('_', '-')}", str(limit)]
    return shlex.join([*words, "--seed", str(config["seed"])])


def make_command(content: Content, folder: Path) -> str:
    """Makes the run again: the search, or the pruning or scaling of what another one found."""
    if content.scaled_from is not None:
        outline = content.config["space"]["settings"]
        words = ["pocketnas", "scale", content.scaled_from, "--output", str(folder)]
        words += ["--channel-scale", f"{outline['channel_scale']:g}"]
        words += ["--replicate", ",".join(map(str, outline["replicate"]))]
        return shlex.join([*words, *_table_and_budget_words(content)])
    if content.pruned_from is None:
        return search_command(content, folder)
    words = ["pocketnas", "prune", content.pruned_from, "--output", str(folder)]
    return shlex.join([*words, *_table_and_budget_words(content)])


def resume_command(content: Content) -> str:
    """Goes on with the run's search."""
    return f"{search_command(content, content.path)} --resume"


def prune_command(content: Content) -> str:
    """Makes a member of the family of the run's meta-graph, for half the budget."""
    words = ["pocketnas", "prune", str(content.path), "--output", f"{content.path}-family"]
    if not content.has_latency:
        words += ["--table", "device.table"]
    limit_ms = content.budget.limit_ms if content.budget else 20.0
    return shlex.join([*words, "--budget-ms", f"{limit_ms / 2:g}"])


def train_command(content: Content) -> str:
    """Trains the run's answer."""
    return shlex.join(["pocketnas", "train", str(content.path)])


def export_command(content: Content) -> str:
    """Exports the run's trained network."""
    return shlex.join(["pocketnas", "export", str(content.path)])


def benchmark_command(content: Content) -> str:
    """Measures the run's exported network and keeps the result in the folder."""
    words = ["pocketnas", "benchmark", str(content.path / "network.tflite")]
    if content.table_path is not None:
        words += ["--table", str(content.table_path)]
    if content.budget is not None:
        words += ["--budget-ms", repr(content.budget.limit_ms)]
    words += ["--json"]
    return f"{shlex.join(words)} > {shlex.quote(str(content.path / BENCHMARK))}"


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level, with dots in the names and lists as tuples."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = tuple(value) if isinstance(value, list) else value
    return flat


def _task_words(config: Record) -> list[str]:
    words = ["--task", config["task"]]
    if config["data"] is not None:
        words += ["--data", config["data"]]
    if (size := config["image_size"]) is not None:
        words += [
            "--image-size",
            ",".join(map(str, size)) if isinstance(size, list) else str(size),
        ]
    defaults = asdict(make_task_settings(config["task"], {}))
    return [*words, *_changed("--task-set", config.get("task_settings", {}), defaults)]


def _space_words(config: Record) -> list[str]:
    name = config["space"]["name"]
    defaults = space_to_json(make_space(name, {}))["settings"]
    chosen = {
        setting: value
        for setting, value in config["space"]["settings"].items()
        if setting not in FROM_DATA
    }
    return ["--space", name, *_changed("--set", chosen, defaults)]


def _table_and_budget_words(content: Content) -> list[str]:
    words = []
    if content.has_latency:
        words += ["--table", str(content.path / TABLE)]
    if content.budget is not None:
        words += ["--budget-ms", repr(content.budget.limit_ms)]
        words += ["--confidence", repr(content.budget.confidence)]
    return words


def _nearest_proxy(kind: type[Task], settings: Record) -> tuple[str, Record]:
    """The named proxy with the fewest settings that differ, and its settings."""
    named = {name: asdict(make()) for name, make in kind.proxies.items()}
    nearest = min(named, key=lambda name: len(_changed("", settings, named[name])))
    return nearest, named[nearest]


def _changed(option: str, settings: Record, defaults: Record) -> list[str]:
    """Words that set what differs from the defaults."""
    flat_defaults = flatten(defaults)
    words = []
    for name, value in flatten(settings).items():
        if value != flat_defaults.get(name):
            words += [option, f"{name}={value}"]
    return words
