"""The table of search methods, and how one is run by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from toolchain.errors import NameUnknown
from toolchain.methods.autoshrink import AutoShrinkSettings, autoshrink
from toolchain.methods.candidate import Appraiser, Evaluate
from toolchain.methods.evolution import EvolutionSettings, evolution
from toolchain.methods.gram import gram
from toolchain.methods.gram_settings import GramSettings
from toolchain.methods.random_search import RandomSearchSettings, random_search
from toolchain.methods.result import SearchResult
from toolchain.methods.scalenas import ScaleNasSettings, scalenas
from toolchain.settings import override


class Search(Protocol):
    """A search method.

    It is a deterministic function of its arguments and of what ``evaluate`` returns: the same
    seed and the same evaluations lead to the same result. A run that was interrupted is therefore
    resumed by running it again on the evaluations already in its journal.
    """

    def __call__(
        self, appraiser: Appraiser, evaluate: Evaluate, settings: Any, rng: np.random.Generator, /
    ) -> SearchResult:
        """Search; every network that goes to ``evaluate`` is trained."""


class Method(NamedTuple):
    """A search method and the type of its settings."""

    search: Search
    settings: type[Any]


METHODS: Mapping[str, Method] = {
    "autoshrink": Method(autoshrink, AutoShrinkSettings),
    "evolution": Method(evolution, EvolutionSettings),
    "gram": Method(gram, GramSettings),
    "random": Method(random_search, RandomSearchSettings),
    "scalenas": Method(scalenas, ScaleNasSettings),
}
"""Every method by its name."""


def make_settings(method: str, values: Mapping[str, Any]) -> Any:
    """The settings of a method; what is not given keeps its default.

    Raises:
        NameUnknown: there is no such method, or it has no such setting.
        ValueError: a value is out of range.
    """
    if method not in METHODS:
        raise NameUnknown("method", method, METHODS)
    return override(METHODS[method].settings(), values)
