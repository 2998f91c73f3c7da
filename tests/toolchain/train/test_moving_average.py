from __future__ import annotations

import pytest
import torch
from torch import nn

from toolchain.train.moving_average import MovingAverage


def test_the_mean_is_plain_at_first_and_forgets_later() -> None:
    module = nn.Linear(1, 1, bias=False)
    average = MovingAverage(module, decay=0.75)
    mean = 0.0
    for step, value in enumerate((8.0, 4.0, 6.0, 2.0, 10.0, -2.0), start=1):
        nn.init.constant_(module.weight, value)
        average.add()
        mean += max(0.25, 1 / step) * (value - mean)
        with average.applied():
            assert module.weight.item() == pytest.approx(mean)
        assert module.weight.item() == value
    average.adopt()
    assert module.weight.item() == pytest.approx(mean)


def test_its_state_is_all_that_it_goes_on_from() -> None:
    module = nn.Linear(3, 2)
    one, two = MovingAverage(module, decay=0.9), MovingAverage(module, decay=0.9)
    for _ in range(12):
        nn.init.normal_(module.weight)
        one.add()
    two.load_state_dict(one.state_dict())
    nn.init.normal_(module.weight)
    one.add()
    two.add()
    assert all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    )
