from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from toolchain.errors import GenotypeInvalid
from toolchain.module import GraphModule
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.spaces.scalenet_heads import HEADS
from toolchain.train.recipe import initialize
from toolchain.train.supernet import Supernet, recalibrate

SPACE = ScaleNetSpace(input_shape=(3, 32, 32), modules=(1, 1), max_depth=3, stem_channels=8)


def supernet_of(space: ScaleNetSpace = SPACE, seed: int = 0) -> Supernet:
    """With weights, and with running statistics that no network would have by itself."""
    supernet = Supernet(space)
    initialize(supernet, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for layer in supernet.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(0, 0.1, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
    return supernet.eval()


def images(count: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(count, *SPACE.input_shape, generator=torch.Generator().manual_seed(seed))


def drawn(space: ScaleNetSpace, count: int) -> list[str]:
    rng = np.random.default_rng(0)
    return [space.smallest(), space.largest(), *(space.sample(rng) for _ in range(count))]


@pytest.mark.parametrize("head", HEADS)
def test_an_extracted_network_computes_the_very_bits_of_the_supernet(head: str) -> None:
    space = replace(SPACE, head=head)
    supernet = supernet_of(space)
    for genotype in drawn(space, 6):
        supernet.choose(genotype)
        with torch.no_grad():
            assert torch.equal(supernet.extract(genotype)(images()), supernet(images()))


def test_the_supernet_has_no_weight_more_than_its_largest_network() -> None:
    largest = GraphModule(SPACE.decode(SPACE.largest()))
    assert sum(p.numel() for p in supernet_of().parameters()) == sum(
        p.numel() for p in largest.parameters()
    )


def test_what_only_other_networks_use_is_never_touched() -> None:
    """Weights outside the network are not a number: the output would tell."""
    for genotype in drawn(SPACE, 6):
        supernet = supernet_of()
        own = {f"shared.{name}" for name in supernet.extract(genotype).state_dict()}
        with torch.no_grad():
            for name, value in supernet.state_dict().items():
                if name not in own and value.is_floating_point():
                    value.fill_(math.nan)
        supernet.choose(genotype)
        assert torch.isfinite(supernet(images())).all()


def test_gradients_reach_the_chosen_network_alone() -> None:
    supernet = supernet_of().train()
    genotype = SPACE.regular(2)
    own = {f"shared.{name}" for name, _ in supernet.extract(genotype).named_parameters()}
    supernet.choose(genotype)
    supernet(images()).square().sum().backward()
    reached = {name for name, p in supernet.named_parameters() if p.grad is not None}
    assert reached == own


def test_an_extracted_network_shares_nothing_with_the_supernet() -> None:
    supernet = supernet_of()
    network = supernet.extract(SPACE.regular(2))
    supernet.choose(SPACE.regular(2))
    network(images()).sum().backward()  # it can be trained on
    assert all(p.grad is None for p in supernet.parameters())
    with torch.no_grad():
        before = supernet(images()).clone()
        for parameter in network.parameters():
            parameter.zero_()
        assert torch.equal(supernet(images()), before)


def test_a_genotype_of_another_space_is_refused_and_the_choice_kept() -> None:
    supernet = supernet_of()
    for wrong in ("0.0", "0000.0/0.0.0", "nonsense"):
        with pytest.raises(GenotypeInvalid):
            supernet.choose(wrong)
        with pytest.raises(GenotypeInvalid):
            supernet.extract(wrong)
    assert supernet.genotype == SPACE.largest()


def test_recalibrated_norms_have_the_statistics_of_the_batches() -> None:
    network = supernet_of().extract(SPACE.regular(2))
    batches = [images(8, seed) for seed in range(3)]
    recalibrate(network, batches)
    assert not network.training
    first = network.layers["stem0"]
    assert isinstance(first, nn.Sequential)
    *before, norm, _ = first
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        maps = [nn.Sequential(*before)(batch) for batch in batches]
        means = torch.stack([one.mean((0, 2, 3)) for one in maps]).mean(0)
        variances = torch.stack([one.var((0, 2, 3)) for one in maps]).mean(0)
    assert torch.allclose(norm.running_mean, means, atol=1e-6)
    assert torch.allclose(norm.running_var, variances, rtol=1e-5)
    assert norm.momentum == 0.1


def test_recalibration_forgets_what_was_before_and_repeats_exactly() -> None:
    one, other = (supernet_of(seed=seed) for seed in (0, 0))
    for layer in other.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
    networks = [supernet.extract(SPACE.regular(3)) for supernet in (one, other)]
    with torch.no_grad():
        assert not torch.equal(networks[0](images()), networks[1](images()))
        for network in networks:
            recalibrate(network, [images(8, seed) for seed in range(2)])
        assert torch.equal(networks[0](images()), networks[1](images()))
