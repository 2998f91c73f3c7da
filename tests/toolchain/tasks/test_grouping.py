from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolchain.tasks.grouping import (
    Candidate,
    GroupingSettings,
    candidates,
    found_persons,
    group,
)
from toolchain.tasks.heatmaps import bells
from toolchain.tasks.skeleton import STICK_PERSON

SETTINGS = GroupingSettings()
Found = list[list[Candidate]]


@st.composite
def found(draw: st.DrawFn) -> Found:
    """Up to four candidates of three keypoints, tags near whole numbers, scores all different."""
    scores = iter(draw(st.permutations(range(12))))
    tags = st.tuples(st.integers(0, 3), st.floats(-0.4, 0.4))
    kinds = []
    for _ in range(3):
        drawn = draw(st.lists(tags, max_size=4))
        kinds.append(
            [
                Candidate(place, place, 0.2 + next(scores) / 20, np.array([whole + part]))
                for place, (whole, part) in enumerate(drawn)
            ]
        )
    return kinds


Persons = tuple[frozenset[tuple[int, int]], ...]


def brute_force(by_keypoint: Found) -> set[frozenset[frozenset[tuple[int, int]]]]:
    """All ways to gather persons, as sets of (keypoint, number of its candidate), that cost least.

    Costs are of whole numbers and often equal, so that there may be several.
    """
    ways: set[Persons] = {()}
    for keypoint, listed in enumerate(by_keypoint):
        ways = {
            longer
            for persons in ways
            for longer in extended(persons, keypoint, listed, by_keypoint)
        }
    return {frozenset(persons) for persons in ways}


def extended(
    persons: Persons, keypoint: int, listed: list[Candidate], by_keypoint: Found
) -> list[Persons]:
    means = [np.mean([by_keypoint[k][n].tag[0] for k, n in person]) for person in persons]
    places = [*range(len(persons)), *[-1] * max(0, len(listed) - len(persons))]

    def distance(number: int, to: int) -> float:
        return float(abs(listed[number].tag[0] - means[to]))

    def cost(choice: tuple[int, ...]) -> float:
        taken = [(number, to) for number, to in enumerate(choice) if to >= 0]
        return sum(100 * round(distance(*pair)) - listed[pair[0]].score for pair in taken)

    choices = set(itertools.permutations(places, len(listed)))
    least = min(map(cost, choices))
    longer = []
    for choice in choices:
        if cost(choice) < least + 1e-6:
            grown, new = list(persons), []
            for number, to in enumerate(choice):
                if to >= 0 and distance(number, to) < SETTINGS.tag_threshold:
                    grown[to] |= {(keypoint, number)}
                else:
                    new.append(frozenset({(keypoint, number)}))
            longer.append((*grown, *new))
    return longer


@settings(max_examples=150, deadline=None)
@given(found())
def test_persons_are_those_of_trying_every_assignment(by_keypoint: Found) -> None:
    groups = group(by_keypoint, (0, 1, 2), SETTINGS)
    gathered = frozenset(
        frozenset((keypoint, one.row) for keypoint, one in person.found.items())
        for person in groups
    )
    assert gathered in brute_force(by_keypoint)


@settings(max_examples=50)
@given(found())
def test_every_candidate_is_of_exactly_one_person_who_has_one_of_a_kind(
    by_keypoint: Found,
) -> None:
    groups = group(by_keypoint, (2, 0, 1), SETTINGS)
    gathered = [(k, one.row) for person in groups for k, one in person.found.items()]
    assert sorted(gathered) == [
        (k, n) for k, kind in enumerate(by_keypoint) for n in range(len(kind))
    ]


def maps_of(
    people: list[tuple[list[tuple[float, float]], float]], size: tuple[int, int] = (40, 60)
) -> tuple[torch.Tensor, torch.Tensor]:
    """Perfect heatmaps of people, and tags that are theirs within three pixels of a keypoint."""
    points = torch.tensor([own for own, _ in people])
    each = bells(points, torch.ones(points.shape[:2], dtype=torch.bool), size, 1.5)
    tags = torch.zeros(*each.shape[1:], 1)
    for own, (_, tag) in zip(each, people, strict=True):
        tags[own > 0.1] = tag
    return each.amax(dim=0), tags


PEOPLE = [
    ([(10.0, 5.0), (10.3, 20.0), (3.0, 12.2), (17.0, 12.0), (7.0, 34.0), (13.0, 34.0)], 0.0),
    ([(40.0, 6.0), (40.0, 21.0), (33.0, 13.0), (47.2, 13.0), (37.0, 35.0), (43.0, 35.1)], 5.0),
]


def test_people_apart_are_found_with_their_keypoints() -> None:
    people = found_persons(*maps_of(PEOPLE), STICK_PERSON, SETTINGS)
    assert len(people) == 2
    for person, (points, _) in zip(
        sorted(people, key=lambda p: p.points[0, 0]), PEOPLE, strict=True
    ):
        assert (person.points - torch.tensor(points)).abs().max() <= 0.25
        assert person.score == pytest.approx(1, abs=0.05)


def test_a_keypoint_too_faint_to_be_a_candidate_is_found_by_its_tag() -> None:
    heatmaps, tags = maps_of(PEOPLE)
    heatmaps[4, :, 30:] *= 0.09
    people = found_persons(heatmaps, tags, STICK_PERSON, SETTINGS)
    faint = max(people, key=lambda person: person.points[0, 0].item())
    assert faint.points[4].tolist() == pytest.approx([37, 35], abs=0.25)
    assert faint.scores[4].item() == pytest.approx(0.09)
    assert faint.score == pytest.approx(5 / 6, abs=0.05)


def test_an_empty_image_has_nobody_in_it() -> None:
    assert (
        found_persons(torch.zeros(6, 8, 8), torch.zeros(6, 8, 8, 1), STICK_PERSON, SETTINGS) == []
    )
    negative = torch.full((6, 8, 8), -0.5)
    assert found_persons(negative, torch.zeros(6, 8, 8, 2), STICK_PERSON, SETTINGS) == []


def test_candidates_are_the_highest_in_their_window_and_above_the_threshold() -> None:
    heatmaps = torch.zeros(1, 12, 12)
    heatmaps[0, [2, 3, 9, 9], [3, 4, 9, 2]] = torch.tensor([0.9, 0.8, 0.7, 0.09])
    tags = torch.arange(144.0).view(1, 12, 12, 1)
    (listed,) = candidates(heatmaps, tags, SETTINGS)
    assert [(one.row, one.column) for one in listed] == [(2, 3), (9, 9)]
    assert [one.tag.item() for one in listed] == [27, 117]
    (first,) = candidates(heatmaps, tags, GroupingSettings(candidates=1))[0]
    assert (first.row, first.column) == (2, 3)


def test_tags_of_two_numbers_are_told_apart_by_either() -> None:
    kinds = [
        [Candidate(0, 0, 0.9, np.array([0.0, 0.0])), Candidate(1, 1, 0.8, np.array([0.0, 3.0]))],
        [Candidate(0, 0, 0.7, np.array([0.0, 3.1])), Candidate(1, 1, 0.6, np.array([0.1, 0.0]))],
    ]
    groups = group(kinds, (0, 1), SETTINGS)
    assert [[one.row for one in person.found.values()] for person in groups] == [[0, 1], [1, 0]]
