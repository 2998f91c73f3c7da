from __future__ import annotations

import inspect
import pickle

import pytest

from device_farm import errors
from device_farm.errors import DeviceError, DeviceUnauthorized, printable

CLASSES = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, DeviceError)
]


def test_the_module_draws_every_error() -> None:
    drawn = errors.__doc__ or ""
    assert all(f"{kind.__name__} " in drawn or f"{kind.__name__}\n" in drawn for kind in CLASSES)


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_survives_the_way_between_processes(kind: type[DeviceError]) -> None:
    error = kind("serial", "what happened", "what to do")
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) == "serial: what happened; what to do"


def test_a_message_names_device_cause_and_remedy() -> None:
    error = DeviceUnauthorized("PIXEL", "it does not trust this machine")
    assert str(error).startswith("PIXEL: it does not trust this machine; unlock the phone")


@pytest.mark.parametrize(
    "hostile", ["\x1b[2J", "a\rb", "a\nb", "\N{RIGHT-TO-LEFT OVERRIDE}", "\0"]
)
def test_a_message_cannot_steer_a_terminal(hostile: str) -> None:
    assert str(DeviceError(hostile, hostile)).isprintable()


def test_a_message_cannot_flood_a_terminal() -> None:
    assert len(printable("\0" * 10_000_000)) < 1100


def test_ordinary_text_is_shown_as_it_is() -> None:
    assert printable("Größe 10 µs, 手机") == "Größe 10 µs, 手机"
