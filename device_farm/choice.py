"""Which of the phones that were found the user means; never just the first one."""

from __future__ import annotations

from collections.abc import Sequence

from device_farm.errors import DeviceAmbiguous, DeviceNotFound, printable
from device_farm.found import FoundDevice, merge

_MODEL = "model:"
_MAX_LISTED = 30


def choose(seen: Sequence[FoundDevice], wanted: str) -> list[FoundDevice]:
    """The phones that fit, ready or not; all but one only where a model was asked for.

    Args:
        seen: What `look` found, a row for each way.
        wanted: A serial or an address as some way names it, the phone's own serial number,
            `model:` and a model, or empty, which means the only phone there is.

    Raises:
        DeviceNotFound: None fits; the message lists what is there.
        DeviceAmbiguous: Several fit a name, or nothing was asked for.
    """
    if wanted.startswith(_MODEL):
        return _of_model(seen, wanted)
    if wanted == "":
        return [_only_one(seen)]
    return [_called(seen, wanted)]


def _of_model(seen: Sequence[FoundDevice], wanted: str) -> list[FoundDevice]:
    model = wanted.removeprefix(_MODEL).strip().casefold()
    fitting = [
        row
        for row in merge(seen)
        if row.is_ready and row.info is not None and row.info.model.casefold() == model
    ]
    if not fitting:
        what = f"no phone of this model is ready; {_there_is(seen)}"
        raise DeviceNotFound(wanted, what, "see what `pocketnas devices` tells")
    return fitting


def _only_one(seen: Sequence[FoundDevice]) -> FoundDevice:
    phones = [row for row in merge(seen) if row.route is not None or row.state != "unreachable"]
    if not phones:
        raise DeviceNotFound("any phone", "no phone is there")
    if len(phones) > 1:
        what = f"none was named and several are there; {_there_is(seen)}"
        raise DeviceAmbiguous("any phone", what)
    return phones[0]


def _called(seen: Sequence[FoundDevice], wanted: str) -> FoundDevice:
    by_serial = [row for row in seen if wanted in (row.serial, printable(row.serial))]
    fitting = merge(by_serial or [row for row in seen if row.identity == wanted])
    if not fitting:
        raise DeviceNotFound(wanted, f"no phone has this name; {_there_is(seen)}")
    if len(fitting) > 1:
        names = ", ".join(f"{row.identity} ({row.way})" for row in fitting)
        raise DeviceAmbiguous(
            wanted, f"several phones have this name: {names}", "name it by its own serial number"
        )
    return fitting[0]


def _there_is(seen: Sequence[FoundDevice]) -> str:
    phones = merge(seen)
    rows = [_described(row) for row in phones[:_MAX_LISTED]]
    if len(phones) > _MAX_LISTED:
        rows.append(f"and {len(phones) - _MAX_LISTED} more")
    return f"there are: {', '.join(rows)}" if rows else "no phone is there"


def _described(row: FoundDevice) -> str:
    model = f"{row.info.model}, " if row.info else ""
    return f"{printable(row.serial)} ({model}{row.state})"
