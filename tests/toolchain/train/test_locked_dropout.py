from __future__ import annotations

import pytest
import torch

from toolchain.train.locked_dropout import NO_MASKS, LockedDropout, Masks, masked

CPU = torch.device("cpu")


def draw(dropout: LockedDropout, seed: int = 0) -> Masks:
    generator = torch.Generator().manual_seed(seed)
    return dropout.draw(batch=200, hidden=50, vocabulary=3000, generator=generator, device=CPU)


def test_a_share_is_left_out_and_the_mean_is_kept() -> None:
    masks = draw(LockedDropout.paper())
    shares = {"word": 0.1, "embedding": 0.2, "input": 0.75, "hidden": 0.25, "output": 0.75}
    for name, share in shares.items():
        mask = getattr(masks, name)
        assert mask.shape == ((3000, 1) if name == "word" else (200, 50))
        assert mask.unique().tolist() == pytest.approx([0.0, 1 / (1 - share)])
        assert (mask == 0).float().mean().item() == pytest.approx(share, abs=0.02)


def test_masks_follow_the_generator_and_differ_from_place_to_place() -> None:
    dropout = LockedDropout(embedding=0.5, hidden=0.5)
    one, same, other = draw(dropout), draw(dropout), draw(dropout, seed=1)
    assert one.hidden is not None
    assert one.embedding is not None
    assert same.hidden is not None
    assert other.hidden is not None
    assert torch.equal(one.hidden, same.hidden)
    assert not torch.equal(one.hidden, other.hidden)
    assert not torch.equal(one.hidden, one.embedding)


def test_nothing_is_left_out_of_a_share_of_none() -> None:
    assert draw(LockedDropout()) == NO_MASKS
    values = torch.rand(3, 4)
    assert masked(values, None) is values


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
@pytest.mark.parametrize("name", ["word", "embedding", "input", "hidden", "output"])
def test_a_share_that_leaves_nothing_is_refused(name: str, share: float) -> None:
    with pytest.raises(ValueError, match=rf"dropout of {name} lies in \[0, 1\), got"):
        LockedDropout(**{name: share})
