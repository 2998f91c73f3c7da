from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from toolchain.train.rmsprop import TensorFlowRmsProp

RATES = (0.1, 0.05, 0.2, 0.1)


def test_steps_are_tensorflows() -> None:
    """As the documentation of tf.compat.v1.train.RMSPropOptimizer writes them down."""
    weight = nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    group = {"params": [weight], "weight_decay": 0.01}
    optimizer = TensorFlowRmsProp([group], 1.0, decay=0.8, momentum=0.7, epsilon=0.5)
    expected = np.array([1.0, -2.0, 0.5])
    mean_square, velocity = np.ones(3), np.zeros(3)
    for rate in RATES:
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        weight.pow(3).sum().backward()
        optimizer.step()
        gradient = 3 * expected**2 + 0.01 * expected
        mean_square = 0.8 * mean_square + 0.2 * gradient**2
        velocity = 0.7 * velocity + rate * gradient / np.sqrt(mean_square + 0.5)
        expected = expected - velocity
        assert weight.detach().numpy() == pytest.approx(expected, rel=1e-12)


def test_a_parameter_without_gradient_stays() -> None:
    weight = nn.Parameter(torch.ones(2))
    TensorFlowRmsProp([weight], 1.0, decay=0.9, momentum=0.9, epsilon=1.0).step()
    assert torch.equal(weight, torch.ones(2))
