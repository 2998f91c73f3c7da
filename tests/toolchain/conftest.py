from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from ray_cluster import ray_cluster

from toolchain.errors import DataUnusable
from toolchain.tasks.classification import ClassificationData
from toolchain.tasks.fashion_mnist import load_fashion_mnist


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def fashion_mnist() -> ClassificationData:
    try:
        return load_fashion_mnist()
    except DataUnusable as problem:
        pytest.skip(f"no Fashion-MNIST on this machine: {problem}")


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """Address of a Ray cluster with two CPUs."""
    with ray_cluster(cpus=2) as address:
        yield address
