from __future__ import annotations

import pytest
import torch
from torch import nn

from toolchain.train.recipe import TrainSettings, build_optimizer, derived_seed, initialize


def small_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 4, 1, bias=False),
        nn.ConvTranspose2d(4, 4, 2, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def is_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_one_cycle_rises_to_the_peak_and_falls_to_zero() -> None:
    settings = TrainSettings(epochs=1, learning_rate=0.5, schedule="one-cycle")
    rates = [settings.learning_rate_at(step / 100) for step in range(101)]
    assert max(rates) == rates[30] == pytest.approx(0.5)
    assert rates[0] == pytest.approx(0.02)
    assert rates[100] == pytest.approx(0)
    assert rates[:31] == sorted(rates[:31])
    assert rates[30:] == sorted(rates[30:], reverse=True)


def test_cosine_falls_from_the_first_step_and_constant_stays() -> None:
    cosine = TrainSettings(epochs=1, learning_rate=0.5, schedule="cosine")
    assert [cosine.learning_rate_at(p) for p in (0, 0.5, 1)] == pytest.approx([0.5, 0.25, 0])
    constant = TrainSettings(epochs=1, learning_rate=0.5, schedule="constant")
    assert {constant.learning_rate_at(p) for p in (0, 0.5, 1)} == {0.5}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", 1),
        ("learning_rate", 0.0),
        ("momentum", 1.0),
        ("weight_decay", -1e-4),
        ("label_smoothing", 1.0),
        ("warm_up_epochs", 1.0),
        ("square_decay", 1.0),
        ("epsilon", 0.0),
        ("average", 1.0),
        ("norm_momentum", 0.0),
        ("norm_epsilon", 0.0),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} {value} is out of range"):
        TrainSettings(**{"epochs": 1, field: value})


@pytest.mark.parametrize("decays_linear", [True, False])
def test_weight_decay_spares_depthwise_convolutions_normalisation_and_biases(
    decays_linear: bool,
) -> None:
    module = small_net()
    optimizer = build_optimizer(
        module,
        TrainSettings(epochs=1, weight_decay=0.25, decays_linear=decays_linear),
    )
    decayed = {
        name
        for name, parameter in module.named_parameters()
        for group in optimizer.param_groups
        if group["weight_decay"] == 0.25 and any(parameter is p for p in group["params"])
    }
    assert decayed == {"0.weight", "3.weight", "4.weight"} | (
        {"7.weight"} if decays_linear else set()
    )
    everything = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(everything) == len(list(module.parameters()))


def test_first_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = small_net()
    torch.manual_seed(2)
    two = small_net()
    two.train()(torch.randn(4, 1, 8, 8))
    initialize(one, seed=7)
    initialize(two, seed=7)
    assert is_same(state(one), state(two))
    initialize(two, seed=8)
    assert not is_same(state(one), state(two))


def test_first_weights_are_glorot_normal_and_leave_the_random_state_alone() -> None:
    layer = nn.Conv2d(64, 64, 3)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    initialize(nn.Sequential(layer), seed=3)
    assert torch.equal(torch.rand(1), expected)
    assert layer.weight.std().item() == pytest.approx((2 / (2 * 64 * 9)) ** 0.5, rel=0.02)
    assert layer.bias is not None
    assert layer.bias.abs().max().item() == 0


def test_cosine_rises_along_a_line_before_it_falls() -> None:
    settings = TrainSettings(epochs=20, learning_rate=0.5, schedule="cosine", warm_up_epochs=5)
    rates = [settings.learning_rate_at(p) for p in (0, 0.125, 0.25, 0.625, 1)]
    assert rates == pytest.approx([0, 0.25, 0.5, 0.25, 0])


def test_other_schedules_have_no_warm_up() -> None:
    with pytest.raises(ValueError, match="is of schedule cosine, not one-cycle"):
        TrainSettings(epochs=20, warm_up_epochs=5)


def test_the_imagenet_recipe_is_the_papers() -> None:
    settings = TrainSettings.imagenet()
    assert (settings.epochs, settings.warm_up_epochs, settings.batch_size) == (300, 10, 256)
    assert settings.learning_rate_at(5 / 300) == pytest.approx(0.05)
    (group, spared) = build_optimizer(small_net(), settings).param_groups
    assert (group["weight_decay"], spared["weight_decay"]) == (4e-5, 0)
    constants = {name: group[name] for name in ("decay", "momentum", "epsilon")}
    assert constants == {"decay": 0.9, "momentum": 0.9, "epsilon": 1.0}


def test_fan_out_weights_keep_the_variance_of_gradients() -> None:
    net = nn.Sequential(
        nn.Conv2d(64, 32, 3), nn.Conv2d(512, 512, 5, groups=512), nn.Linear(256, 64)
    )
    initialize(net, seed=3, rule="fan-out")
    expected = [(2 / (9 * 32)) ** 0.5, (2 / 25) ** 0.5, 0.01]
    for layer, deviation in zip(net, expected, strict=True):
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.03)
        assert layer.bias.abs().max().item() == 0


def test_derived_seeds_differ_and_fit_a_generator() -> None:
    seeds = {derived_seed(a, b) for a in range(20) for b in range(20)}
    assert len(seeds) == 400
    assert all(torch.Generator().manual_seed(seed).initial_seed() == seed for seed in seeds)
