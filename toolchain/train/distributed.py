"""Several processes that train one network: `torchrun --nproc-per-node N ...`.

Each takes its part of every batch; gradients are averaged (torch's DistributedDataParallel).
Batch norms see the part of their own process, and running statistics are those of the first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that torchrun has started, for as long as this lasts; else nothing."""
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def place() -> tuple[int, int]:
    """Number of this process, from 0, and how many there are."""
    if not dist.is_initialized():
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def shared_training(network: nn.Module) -> nn.Module:
    """The network, or, among several processes, what averages its gradients.

    Steps may use different parts of it, the same in every process.
    """
    if not dist.is_initialized():
        return network
    return DistributedDataParallel(network, find_unused_parameters=True)


def mean_over_processes(value: float) -> float:
    """Mean of a figure that each process has."""
    if not dist.is_initialized():
        return value
    total = torch.tensor(value, dtype=torch.float64)
    dist.all_reduce(total)
    return float(total) / dist.get_world_size()
