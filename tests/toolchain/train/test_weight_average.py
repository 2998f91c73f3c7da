from __future__ import annotations

import pytest
import torch
from torch import nn

from toolchain.train.weight_average import WeightAverage


def scalar() -> nn.Linear:
    return nn.Linear(1, 1, bias=False)


def put(module: nn.Linear, value: float) -> None:
    with torch.no_grad():
        module.weight.fill_(value)


def test_the_mean_is_of_all_steps_and_the_module_gets_its_own_weights_back() -> None:
    module = scalar()
    average = WeightAverage(module)
    for value, mean in ((4.0, 4.0), (8.0, 6.0), (3.0, 5.0)):
        put(module, value)
        average.add()
        with average.applied():
            assert module.weight.item() == pytest.approx(mean)
        assert module.weight.item() == value
    assert average.steps == 3


def test_a_failure_inside_gives_the_weights_back_too() -> None:
    module = scalar()
    average = WeightAverage(module)
    for value in (1.0, 3.0):
        put(module, value)
        average.add()
    with pytest.raises(KeyError), average.applied():
        raise KeyError
    assert module.weight.item() == 3.0
    with average.applied():
        assert module.weight.item() == 2.0


def test_it_is_torch_s_averaged_sgd_with_the_first_step_counted() -> None:
    ours, theirs = scalar(), scalar()
    put(ours, 1.0)
    put(theirs, 1.0)
    sgd = torch.optim.SGD(ours.parameters(), lr=0.1)
    asgd = torch.optim.ASGD(theirs.parameters(), lr=0.1, t0=0, lambd=0.0)
    average = WeightAverage(ours)
    first = None
    for step in range(1, 6):
        for module, optimizer in ((ours, sgd), (theirs, asgd)):
            optimizer.zero_grad()
            (module.weight**2).sum().backward()
            optimizer.step()
        assert ours.weight.item() == pytest.approx(theirs.weight.item())
        average.add()
        first = ours.weight.item() if first is None else first
        with average.applied():
            mean = ours.weight.item()
        if step > 1:
            later = asgd.state[theirs.weight]["ax"].item()
            assert mean == pytest.approx((first + (step - 1) * later) / step)
