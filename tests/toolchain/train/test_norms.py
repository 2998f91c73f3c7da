from __future__ import annotations

import torch
from torch import nn

from toolchain.train.norms import set_norms, settle_norms
from toolchain.train.recipe import TrainSettings

RECIPE = TrainSettings(epochs=1, norm_momentum=0.01, norm_epsilon=1e-3)


def test_settled_norms_compute_the_same_with_the_customary_epsilon() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(5)
    set_norms(norm, RECIPE)
    assert (norm.eps, norm.momentum) == (1e-3, 0.01)
    for _ in range(300):
        norm(0.02 * torch.randn(8, 5, 3, 3))
    norm.eval()
    x_NCHW = 0.02 * torch.randn(8, 5, 3, 3)
    before = norm(x_NCHW)
    settle_norms(norm, RECIPE)
    assert (norm.eps, norm.momentum) == (1e-5, 0.1)
    torch.testing.assert_close(norm(x_NCHW), before, rtol=1e-5, atol=1e-6)


def test_the_customary_constants_leave_norms_as_they_were_made() -> None:
    norm = nn.BatchNorm2d(3, eps=0.1, momentum=0.3)
    for change in (set_norms, settle_norms):
        change(norm, TrainSettings(epochs=1))
        assert (norm.eps, norm.momentum) == (0.1, 0.3)
        assert torch.equal(norm.running_var, torch.ones(3))
