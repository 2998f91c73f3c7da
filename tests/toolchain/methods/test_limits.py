from __future__ import annotations

import pytest
from swiftnets import SPACE, appraiser_of

from toolchain.errors import BudgetUnreachable
from toolchain.methods.limits import Limits

COUNTS = {"macs": 100, "params": 20, "memory_bytes": 4000}
NAMES = {"macs": "max_macs", "params": "max_params", "memory_bytes": "max_memory_bytes"}


def test_no_limits_admit_everything() -> None:
    assert Limits().admits(macs=10**18, params=10**18, memory_bytes=10**18)
    assert str(Limits()) == ""


@pytest.mark.parametrize("cost", COUNTS)
def test_each_limit_is_kept_on_its_own(cost: str) -> None:
    at = Limits(**{NAMES[cost]: COUNTS[cost]})
    assert at.admits(**COUNTS)
    assert not at.admits(**{**COUNTS, cost: COUNTS[cost] + 1})
    others = {name: 10**12 for name in COUNTS if name != cost}
    assert at.admits(**{**COUNTS, **others})


@pytest.mark.parametrize("name", NAMES.values())
@pytest.mark.parametrize("value", [0, -5])
def test_a_limit_below_one_is_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got {value}"):
        Limits(**{name: value})


@pytest.mark.parametrize("cost", COUNTS)
def test_an_impossible_limit_is_named_with_the_smallest_network(cost: str) -> None:
    appraiser = appraiser_of(SPACE, 1.0, Limits(**{NAMES[cost]: 1}))
    smallest = appraiser_of(SPACE).appraise("1c0/1c0")
    with pytest.raises(BudgetUnreachable) as caught:
        appraiser.require_reachable()
    message = str(caught.value)
    assert (
        f"no network of space swiftnet was found within {NAMES[cost]} 1; the smallest" in message
    )
    assert f"{smallest.genotype} with {smallest.macs:,} MACs" in message
    assert f"{smallest.params:,} parameters and {smallest.memory_bytes:,} bytes" in message
    assert "Raise the limits" in message


@pytest.mark.parametrize("cost", COUNTS)
def test_a_limit_at_the_smallest_network_is_reachable_one_below_is_not(cost: str) -> None:
    smallest = getattr(appraiser_of(SPACE).appraise("1c0/1c0"), cost)
    appraiser_of(SPACE, None, Limits(**{NAMES[cost]: smallest})).require_reachable()
    with pytest.raises(BudgetUnreachable):
        appraiser_of(SPACE, None, Limits(**{NAMES[cost]: smallest - 1})).require_reachable()


def test_within_the_limits_but_not_the_budget_the_fastest_is_named() -> None:
    limits = Limits(max_params=appraiser_of(SPACE).appraise("1c0/1c0").params)
    appraiser = appraiser_of(SPACE, 1e-3, limits)
    with pytest.raises(BudgetUnreachable, match=r"ms at 95% confidence; the fastest of \d+ seen"):
        appraiser.require_reachable()
