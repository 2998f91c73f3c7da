"""Settings as text: ``name=value`` pairs become fields of frozen dataclasses.

Every part of a run is configured by a frozen dataclass with defaults and its own checks; the
command line names a field, with dots into nested ones: ``training.epochs=2``.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from toolchain.errors import NameUnknown

Settings = TypeVar("Settings")


def parse_assignments(texts: Sequence[str]) -> dict[str, Any]:
    """Values by name, from texts such as ``base_width=8`` or ``pools=(1, 2)``.

    A value is a Python literal if it reads as one, otherwise the text itself.

    Raises:
        ValueError: a text has no ``=``.
    """
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"expected name=value, got {text!r}")
        try:
            values[name.strip()] = ast.literal_eval(value.strip())
        except (SyntaxError, ValueError):
            values[name.strip()] = value.strip()
    return values


def override(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """The settings with some fields replaced.

    Args:
        settings: a frozen dataclass.
        values: by field name, with dots into nested dataclasses; lists become tuples.

    Raises:
        NameUnknown: there is no such field; lists those there are.
        ValueError: a value is of another type than the field's, or out of its range.
    """
    known = {field.name for field in fields(cast(Any, settings))}
    types = get_type_hints(type(settings))
    changes: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        head, _, rest = name.partition(".")
        if head not in known:
            raise NameUnknown(f"setting of {type(settings).__name__}", name, known)
        if rest:
            nested.setdefault(head, {})[rest] = value
        else:
            changes[head] = _fitting(head, getattr(settings, head), value)
            if get_origin(types[head]) is Literal and value not in get_args(types[head]):
                choices = ", ".join(get_args(types[head]))
                raise ValueError(f"{head} is one of {choices}, got {value!r}")
    for head, inner in nested.items():
        if not is_dataclass(getattr(settings, head)):
            raise ValueError(f"{head} of {type(settings).__name__} has no fields of its own")
        changes[head] = override(getattr(settings, head), inner)
    return cast(Settings, replace(cast(Any, settings), **changes))


def _fitting(name: str, present: Any, value: Any) -> Any:
    """The value, if it may stand where ``present`` stood."""
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(present, tuple) and present and isinstance(value, tuple):
        return tuple(_fitting(name, present[0], one) for one in value)
    if isinstance(present, dict | Mapping) or is_dataclass(present):
        if isinstance(value, Mapping) and is_dataclass(present):
            return override(present, value)
        raise ValueError(f"{name} is set field by field: {name}.field=value")
    accepted: tuple[type, ...] = (int, float) if isinstance(present, float) else (type(present),)
    if not isinstance(value, accepted) or isinstance(value, bool) != isinstance(present, bool):
        raise ValueError(f"{name} must be like {present!r}, got {value!r}")
    return value
