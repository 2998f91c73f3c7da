"""Weights and half-finished trainings on disk: safetensors with a text header, written atomically.

A checkpoint holds what the next epoch needs and cannot recompute: weights, optimizer state and
the number of finished epochs. Order and augmentation of the images follow from seed and epoch,
so that a resumed training goes on exactly as the uninterrupted one would.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from toolchain.atomic import atomic_path
from toolchain.errors import CheckpointUnusable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# Versions of the checkpoint file.
# 1: `module.<name>`, `optimizer.<parameter index>.<name>`; header: format, epochs_done, recipe.
CHECKPOINT_FORMAT = "pocketnas-checkpoint-1"


def save_weights(path: Path, module: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write the weights and buffers of `module`.

    Args:
        path: File to write, customarily `*.safetensors`.
        module: Whose state to save.
        metadata: What a reader needs to rebuild the module, such as its genotype or its graph;
            kept as text in the header of the file.

    Raises:
        CheckpointUnusable: The disk is full or the folder not writable.
    """
    _write(path, module.state_dict(), metadata)


def load_weights(path: Path, module: nn.Module) -> dict[str, str]:
    """Read into `module` what `save_weights` wrote.

    Returns:
        The metadata that were saved beside the weights.

    Raises:
        CheckpointUnusable: The file cannot be read or belongs to another network.
    """
    tensors, metadata = _read(path)
    _load_state(path, module, tensors)
    return metadata


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a weight file without reading the weights.

    Raises:
        CheckpointUnusable: The file cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            return opened.metadata() or {}
    except (OSError, SafetensorError) as problem:
        raise CheckpointUnusable(f"{path} cannot be read: {problem}") from problem


def save_checkpoint(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    epochs_done: int,
    settings: DataclassInstance,
    seed: int,
) -> None:
    """Write the state of a training after a whole epoch."""
    tensors = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            # SGD without momentum keeps a None.
            if value is not None:
                tensors[f"optimizer.{index}.{name}"] = value
    header = {
        "format": CHECKPOINT_FORMAT,
        "epochs_done": str(epochs_done),
        "recipe": _recipe_text(settings, seed),
    }
    _write(path, tensors, header)


def load_checkpoint(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    settings: DataclassInstance,
    seed: int,
) -> int:
    """Restore a training into `module` and `optimizer`.

    Returns:
        The number of epochs that were finished.

    Raises:
        CheckpointUnusable: The file cannot be read, or was written for another network, recipe or
            seed: going on from it would be neither training.
    """
    tensors, header = _read(path)
    if header.get("format") != CHECKPOINT_FORMAT:
        raise CheckpointUnusable(
            f"{path} is no training checkpoint of this version: its format is "
            f"{header.get('format')!r}, not {CHECKPOINT_FORMAT!r}"
        )
    if header["recipe"] != _recipe_text(settings, seed):
        raise CheckpointUnusable(
            f"{path} belongs to a training with {header['recipe']}, not "
            f"{_recipe_text(settings, seed)}: train with those settings, or start afresh"
        )
    in_module: dict[str, Tensor] = {}
    in_optimizer: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        owner, _, name = key.partition(".")
        (in_module if owner == "module" else in_optimizer)[name] = tensor
    _load_state(path, module, in_module)
    _load_optimizer(optimizer, in_optimizer)
    return int(header["epochs_done"])


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    try:
        with atomic_path(path) as temporary:
            save_file(_plain(tensors), temporary, metadata=dict(metadata))
    except (OSError, SafetensorError) as problem:
        raise CheckpointUnusable(f"cannot write {path}: {problem}; what it held is kept") from None


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies in plain memory order; tied weights become two equal tensors, as the file needs."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    metadata = read_metadata(path)
    return load_file(path), metadata


def _load_state(path: Path, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    try:
        module.load_state_dict(tensors)
    except RuntimeError as problem:
        raise CheckpointUnusable(
            f"{path} holds the weights of another network: {problem}"
        ) from None


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _recipe_text(settings: DataclassInstance, seed: int) -> str:
    return json.dumps({"seed": seed, **dataclasses.asdict(settings)}, sort_keys=True)
