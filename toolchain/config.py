"""What a run was asked to do: one value that, with the data and the table, decides its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latency_tables.budget import Budget
from toolchain.errors import NameUnknown, RunUnusable
from toolchain.kinds.table import ImageSize, NoSettings, entry, make_task_settings
from toolchain.kinds.task import Task
from toolchain.methods.limits import Limits
from toolchain.methods.method import make_settings
from toolchain.settings import override, parse_assignments
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.spaces.space import Space, make_space, space_to_json
from toolchain.train.supernet_plan import SupernetPlan
from toolchain.versions import versions

WEIGHTS = ("auto", "own", "shared")
"""How candidates get weights: a short training of their own, or a supernet's."""

NO_LIMITS = Limits()
NO_SETTINGS = NoSettings()


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that a search and the training after it depend on, the latency table excepted.

    Attributes:
        task: name of the task.
        data: folder or archive of its data; None where the task finds its own.
        image_size: rows and columns to resize to, one number where they are equal; None for the
            images' own.
        space: the search space.
        method: name of the search method.
        method_settings: its settings.
        proxy: training of candidates that have weights of their own.
        training: training of the answer.
        budget: the hard limit on latency; None for a search by MACs alone.
        limits: hard limits on everything else.
        seed: of everything random.
        task_settings: the user's choices of the task, of the type that the table of tasks states.
        supernet: training of the weights that candidates share; None where they have their own.
        measure_doubtful: whether candidates that the table doubts are measured.
    """

    task: str
    data: str | None
    image_size: ImageSize
    space: Space
    method: str
    method_settings: Any
    proxy: Any
    training: Any
    budget: Budget | None
    limits: Limits = NO_LIMITS
    seed: int
    task_settings: Any = NO_SETTINGS
    supernet: SupernetPlan | None = None
    measure_doubtful: bool = False

    @property
    def kind(self) -> type[Task]:
        """The kind of the task."""
        return entry(self.task).kind

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the versions that run now; what is of few kinds only where it is."""
        return {
            "task": self.task,
            **({"task_settings": asdict(self.task_settings)} if self._has_choices else {}),
            "data": self.data,
            "image_size": self.image_size,
            "space": space_to_json(self.space),
            "method": {"name": self.method, "settings": asdict(self.method_settings)},
            "proxy": asdict(self.proxy),
            **({"supernet": asdict(self.supernet)} if self.supernet else {}),
            "training": asdict(self.training),
            "budget": asdict(self.budget) if self.budget else None,
            "limits": asdict(self.limits),
            "measure_doubtful": self.measure_doubtful,
            "seed": self.seed,
            "versions": versions(),
        }

    @property
    def _has_choices(self) -> bool:
        return not isinstance(self.task_settings, NoSettings)


def make_config(
    *,
    space: Space,
    budget: Budget | None,
    limits: Limits = NO_LIMITS,
    seed: int,
    task: str,
    data: Path | None,
    image_size: ImageSize,
    method: str,
    method_set: Sequence[str],
    proxy: str,
    proxy_set: Sequence[str],
    epochs: int | None,
    train_set: Sequence[str],
    task_set: Sequence[str] = (),
    weights: str = "auto",
    supernet_set: Sequence[str] = (),
    recipe: str | None = None,
    measure_doubtful: bool = False,
) -> RunConfig:
    """A configuration from what a person types; ``*_set`` are texts like ``name=value``.

    Args:
        space: the search space, fitted to the data.
        budget: the hard limit on latency.
        limits: on everything else.
        seed: of everything random.
        task: name of the task.
        data: folder or archive of its data.
        image_size: to resize to.
        method: name of the search method.
        method_set: its settings.
        proxy: name of the training of candidates.
        proxy_set: its settings.
        epochs: of the answer's training; None for what suits the kind of task, and for none where
            the answer inherits a supernet's weights.
        train_set: settings of that training.
        task_set: choices of the task.
        weights: a name of ``WEIGHTS``; ``auto`` shares them where the method is ScaleNAS and the
            kind of task is one for it.
        supernet_set: settings of the supernet's training.
        recipe: name of the answer's training; None for the customary one of the kind of task.
        measure_doubtful: whether candidates that the table doubts are measured.

    Raises:
        NameUnknown: there is no such task, method, proxy or recipe, or none of its settings has
            such a name.
        ValueError: a text or a value cannot be understood, or the choices do not go together.
    """
    kind = entry(task).kind
    supernet = _plan(kind, space, method, weights, supernet_set)
    if supernet and (proxy_set or proxy != "quick"):
        raise ValueError(
            "--proxy and --proxy-set are of trainings that candidates have each of their own, and "
            "here they share a supernet's weights: see --supernet-set, or add --weights own"
        )
    training = _training(kind, recipe, epochs, is_inherited=supernet is not None)
    return RunConfig(
        task=task,
        data=str(data.resolve()) if data else None,
        image_size=image_size,
        space=space,
        method=method,
        method_settings=make_settings(method, parse_assignments(method_set)),
        proxy=make_proxy(kind, proxy, parse_assignments(proxy_set)),
        training=override(training, parse_assignments(train_set)),
        budget=budget,
        limits=limits,
        seed=seed,
        task_settings=make_task_settings(task, parse_assignments(task_set)),
        supernet=supernet,
        measure_doubtful=measure_doubtful,
    )


def make_proxy(kind: type[Task], name: str, values: Mapping[str, Any]) -> Any:
    """A kind's proxy training by name with some settings replaced.

    Raises:
        NameUnknown: there is no such proxy, or it has no such setting.
        ValueError: a value is out of range.
    """
    if name not in kind.proxies:
        raise NameUnknown("proxy", name, kind.proxies)
    return override(kind.proxies[name](), values)


def _training(
    kind: type[Task], recipe: str | None, epochs: int | None, *, is_inherited: bool
) -> Any:
    """Settings of the answer's training, with the epochs that suit it unless said otherwise."""
    if recipe is None:
        if epochs is None:
            epochs = 0 if is_inherited else kind.default_epochs
        return kind.training(epochs, is_inherited=is_inherited)
    if recipe not in kind.recipes:
        raise NameUnknown("recipe of this kind of task", recipe, kind.recipes)
    return kind.recipes[recipe](*([] if epochs is None else [epochs]))


def require_scalenet(space: Space) -> ScaleNetSpace:
    """The space, if there is a supernet of its networks.

    Raises:
        ValueError: there is none.
    """
    if not isinstance(space, ScaleNetSpace):
        raise ValueError(
            f"there is no supernet of the networks of space {space.name}: take --space scalenet, "
            "or --weights own"
        )
    return space


def _plan(
    kind: type[Task], space: Space, method: str, weights: str, settings: Sequence[str]
) -> SupernetPlan | None:
    """How the shared weights are trained; None where candidates have their own."""
    if weights not in WEIGHTS:
        raise ValueError(f"weights is one of {', '.join(WEIGHTS)}, got {weights!r}")
    if weights == "auto":
        weights = "shared" if kind.shares_weights and method == "scalenas" else "own"
    elif weights == "shared" and not kind.shares_weights:
        raise ValueError(
            "there is no supernet for networks of this kind of task: take --weights own"
        )
    if weights == "shared":
        require_scalenet(space)
        return override(SupernetPlan(), parse_assignments(settings))
    if settings:
        raise ValueError(
            "--supernet-set is of weights that candidates share, and here each has its own: add "
            "--weights shared, or --method scalenas to a task of segmentation or pose"
        )
    return None


def config_from_json(data: Mapping[str, Any]) -> RunConfig:
    """The configuration that ``RunConfig.to_json`` wrote.

    Raises:
        NameUnknown: it names something that this version does not have.
        RunUnusable: a field is absent or its value not possible.
    """
    try:
        kind, size = entry(data["task"]).kind, data["image_size"]
        plan = data.get("supernet")
        blank = kind.training(1, is_inherited=plan is not None)
        return RunConfig(
            task=data["task"],
            task_settings=make_task_settings(data["task"], data.get("task_settings", {})),
            data=data["data"],
            image_size=tuple(size) if isinstance(size, list) else size,
            space=make_space(data["space"]["name"], data["space"]["settings"]),
            method=data["method"]["name"],
            method_settings=make_settings(data["method"]["name"], data["method"]["settings"]),
            proxy=override(next(iter(kind.proxies.values()))(), data["proxy"]),
            supernet=override(SupernetPlan(), plan) if plan else None,
            training=override(blank, data["training"]),
            budget=Budget(**data["budget"]) if data["budget"] else None,
            limits=Limits(**data["limits"]),
            seed=data["seed"],
            measure_doubtful=data.get("measure_doubtful", False),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RunUnusable(
            f"the run's config.json is damaged or of another version ({error!r}); search again "
            "in another folder"
        ) from error
