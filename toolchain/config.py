"""What a run was asked to do: one value that, with the data and the table, decides its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latency_tables.budget import Budget
from toolchain.errors import NameUnknown, RunUnusable
from toolchain.methods.limits import Limits
from toolchain.methods.method import make_settings
from toolchain.settings import override, parse_assignments
from toolchain.spaces.space import Space, make_space, space_to_json
from toolchain.train.proxy import ProxySettings
from toolchain.train.recipe import TrainSettings
from toolchain.versions import versions

PROXIES = {"quick": ProxySettings.quick, "paper": ProxySettings.paper}
"""Proxy trainings by name."""

NO_LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that a search and the training after it depend on, the latency table excepted.

    Attributes:
        task: name of the task.
        data: folder or archive of its data; None where the task finds its own.
        image_size: rows and columns to resize to; None for the images' own.
        space: the search space.
        method: name of the search method.
        method_settings: its settings.
        proxy: training of candidates.
        training: training of the answer.
        budget: the hard limit on latency; None for a search by MACs alone.
        limits: hard limits on everything else.
        seed: of everything random.
    """

    task: str
    data: str | None
    image_size: int | None
    space: Space
    method: str
    method_settings: Any
    proxy: ProxySettings
    training: TrainSettings
    budget: Budget | None
    limits: Limits = NO_LIMITS
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the versions that run now."""
        return {
            "task": self.task,
            "data": self.data,
            "image_size": self.image_size,
            "space": space_to_json(self.space),
            "method": {"name": self.method, "settings": asdict(self.method_settings)},
            "proxy": asdict(self.proxy),
            "training": asdict(self.training),
            "budget": asdict(self.budget) if self.budget else None,
            "limits": asdict(self.limits),
            "seed": self.seed,
            "versions": versions(),
        }


def make_config(
    *,
    space: Space,
    budget: Budget | None,
    limits: Limits = NO_LIMITS,
    seed: int,
    task: str,
    data: Path | None,
    image_size: int | None,
    method: str,
    method_set: Sequence[str],
    proxy: str,
    proxy_set: Sequence[str],
    epochs: int,
    train_set: Sequence[str],
) -> RunConfig:
    """A configuration from what a person types; ``*_set`` are texts like ``name=value``.

    Raises:
        NameUnknown: there is no such method or proxy, or none of its settings has such a name.
        ValueError: a text or a value cannot be understood.
    """
    return RunConfig(
        task=task,
        data=str(data.resolve()) if data else None,
        image_size=image_size,
        space=space,
        method=method,
        method_settings=make_settings(method, parse_assignments(method_set)),
        proxy=make_proxy(proxy, parse_assignments(proxy_set)),
        training=override(TrainSettings(epochs=epochs), parse_assignments(train_set)),
        budget=budget,
        limits=limits,
        seed=seed,
    )


def make_proxy(name: str, values: Mapping[str, Any]) -> ProxySettings:
    """A proxy training by name with some settings replaced.

    Raises:
        NameUnknown: there is no such proxy, or it has no such setting.
        ValueError: a value is out of range.
    """
    if name not in PROXIES:
        raise NameUnknown("proxy", name, PROXIES)
    return override(PROXIES[name](), values)


def config_from_json(data: Mapping[str, Any]) -> RunConfig:
    """The configuration that ``RunConfig.to_json`` wrote.

    Raises:
        NameUnknown: it names something that this version does not have.
        RunUnusable: a field is absent or its value not possible.
    """
    try:
        return RunConfig(
            task=data["task"],
            data=data["data"],
            image_size=data["image_size"],
            space=make_space(data["space"]["name"], data["space"]["settings"]),
            method=data["method"]["name"],
            method_settings=make_settings(data["method"]["name"], data["method"]["settings"]),
            proxy=override(ProxySettings.quick(), data["proxy"]),
            training=override(TrainSettings(epochs=1), data["training"]),
            budget=Budget(**data["budget"]) if data["budget"] else None,
            limits=Limits(**data["limits"]),
            seed=data["seed"],
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RunUnusable(
            f"the run's config.json is damaged or of another version ({error!r}); search again "
            "in another folder"
        ) from error
