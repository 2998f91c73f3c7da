"""The conditions that measurements need, held for a time and then put back as they were."""

from __future__ import annotations

import json
import logging
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType, TracebackType

from device_farm.device import Device, require_success
from device_farm.errors import (
    CommandFailed,
    CommandTimeout,
    ConditionRefused,
    ConditionsNotRestored,
    DeviceError,
    DeviceUnreachable,
    printable,
)
from device_farm.knobs import Knob, all_knobs

FOLDER = "/data/local/tmp/pocketnas"
_RECORD = f"{FOLDER}/conditions.json"
_RECORD_VERSION = 1
_UNAVAILABLE = "not available"
_VALUE = re.compile(r"[\w= -]{1,1000}", re.ASCII)
_TIMEOUT_S = 20.0
_RECONNECT_S = 60.0
# Android changes some settings a moment after the command that asks for it.
_VERIFY_TRIES, _VERIFY_PAUSE_S = 3, 0.3

_LOGGER = logging.getLogger(__name__)


class Conditions:
    """Knobs of a phone, applied on entering and restored on leaving, however that happens.

    The values found are stored on the phone before the first of them changes. A session that was
    killed leaves that record, and the next one restores what it says. One session at a time may
    hold a phone's conditions; the farm's lease sees to that.
    """

    def __init__(
        self,
        device: Device,
        knobs: Sequence[Knob] | None = None,
        *,
        is_strict: bool = False,
        reconnect_s: float = _RECONNECT_S,
    ) -> None:
        """Nothing is read or changed yet.

        Args:
            device: The phone.
            knobs: What to hold; all that exist when not given.
            is_strict: Whether a knob that does not take ends the session.
            reconnect_s: How long to wait on leaving for a phone that has gone away.
        """
        self._device = device
        self._knobs = all_knobs() if knobs is None else tuple(knobs)
        self._is_strict = is_strict
        self._reconnect_s = reconnect_s
        self._originals: dict[str, str] = {}
        self._state: dict[str, str] = {}
        self._refused: tuple[str, ...] = ()

    def __enter__(self) -> Conditions:
        """Restore what a killed session left, then read, record, apply and verify.

        Raises:
            ConditionRefused: Strict only: a knob did not take.
            CommandFailed: The record cannot be stored on the phone.
        """
        try:
            self._begin()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Restore everything in reverse order.

        Raises:
            ConditionsNotRestored: Something is still changed; the message says what.
        """
        self._end()

    def state(self) -> Mapping[str, str]:
        """Each knob's value as last verified, for the record."""
        return MappingProxyType(self._state)

    @property
    def refused(self) -> tuple[str, ...]:
        """Of each knob that did not take, what it is instead."""
        return self._refused

    def reapply(self) -> None:
        """Apply and verify all knobs again, as after a restart of the phone.

        Raises:
            ConditionRefused: Strict only: a knob did not take.
        """
        available = [knob for knob in self._knobs if knob.name in self._originals]
        values = {knob.name: self._applied(knob) for knob in available}
        self._state = {knob.name: values.get(knob.name, _UNAVAILABLE) for knob in self._knobs}
        self._refused = tuple(
            f"{knob.name} stays {values[knob.name]!r}"
            for knob in available
            if not knob.has_taken(values[knob.name])
        )
        if self._refused and self._is_strict:
            raise ConditionRefused(self._device.serial, ", ".join(self._refused))

    def _begin(self) -> None:
        leftover = self._restore_leftover()
        for knob in self._knobs:
            value = knob.read(self._device)
            if value is not None:
                self._originals[knob.name] = leftover.get(knob.name, value)
        if self._originals:
            self._write_record()
        elif leftover:
            self._device.remove(_RECORD)
        self.reapply()

    def _restore_leftover(self) -> Mapping[str, str]:
        """Put back what a killed session changed, and return it; what refuses is only reported."""
        leftover = self._read_record()
        if leftover:
            serial, names = printable(self._device.serial), ", ".join(leftover)
            _LOGGER.warning("%s: restoring what an interrupted session changed: %s", serial, names)
            for reason in self._restore(leftover).values():
                _LOGGER.warning("%s: %s", serial, reason)
        return leftover

    def _applied(self, knob: Knob) -> str:
        """Apply a knob unless it is as wanted already, and return its value then."""
        value = knob.read(self._device) or _UNAVAILABLE
        if knob.has_taken(value):
            return value
        try:
            knob.apply(self._device)
        except CommandFailed as error:
            _LOGGER.info("%s", error)
            return value
        for _ in range(_VERIFY_TRIES):
            value = knob.read(self._device) or _UNAVAILABLE
            if knob.has_taken(value):
                break
            time.sleep(_VERIFY_PAUSE_S)
        return value

    def _end(self) -> None:
        """Restore, and wait for the phone as long as allowed if it has gone away."""
        deadline = time.monotonic() + self._reconnect_s
        while self._originals:
            try:
                self._device.wait_until_reachable(max(0.0, deadline - time.monotonic()))
                self._restore_originals()
            except ConditionsNotRestored:
                raise
            except DeviceError as error:
                if not isinstance(error, DeviceUnreachable) or time.monotonic() > deadline:
                    raise self._not_restored(error.what, error.remedy) from error

    def _restore_originals(self) -> None:
        """Put everything back and delete the record; keep of it what refuses."""
        reasons = self._restore(self._originals)
        if reasons:
            self._originals = {name: self._originals[name] for name in reasons}
            self._write_record()
            raise self._not_restored("; ".join(reasons.values()))
        self._device.remove(_RECORD)
        self._originals = {}

    def _restore(self, originals: Mapping[str, str]) -> dict[str, str]:
        """Put back values, the last one first; return why which of them refuse."""
        knobs = {knob.name: knob for knob in (*all_knobs(), *self._knobs)}
        reasons = {}
        for name, value in reversed(list(originals.items())):
            try:
                knobs[name].restore(self._device, value)
            except (CommandFailed, CommandTimeout) as error:
                reasons[name] = error.what
        return reasons

    def _not_restored(self, reason: str, remedy: str = "") -> ConditionsNotRestored:
        changed = ", ".join(f"{name} (was {was})" for name, was in self._originals.items())
        remedies = [*filter(None, [remedy]), ConditionsNotRestored.default_remedy]
        what = f"left changed: {changed}: {reason}"
        return ConditionsNotRestored(self._device.serial, what, "; ".join(remedies))

    def _write_record(self) -> None:
        """Store the originals on the phone, all at once or not at all."""
        text = json.dumps({"version": _RECORD_VERSION, "originals": self._originals})
        partial = f"{_RECORD}.partial"
        store = f"echo {shlex.quote(text)} >{partial} && mv -f {partial} {_RECORD}"
        command = f"mkdir -p {FOLDER} && {store}"
        answer = self._device.run(command, timeout_s=_TIMEOUT_S)
        require_success(self._device.serial, answer, f"write {_RECORD}")

    def _read_record(self) -> dict[str, str]:
        """What a killed session left; one that cannot be read is ignored, with a warning."""
        answer = self._device.run(f"head -c 65536 {_RECORD}", timeout_s=_TIMEOUT_S)
        if answer.exit_code != 0:
            return {}
        originals = parse_record(answer.text)
        if not originals:
            _LOGGER.warning(
                "%s: %s makes no sense: %s",
                printable(self._device.serial),
                _RECORD,
                printable(answer.text),
            )
        return originals


def parse_record(text: str) -> dict[str, str]:
    """The knobs and their original values in a record, empty when it makes no sense."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(record, dict) or record.get("version") != _RECORD_VERSION:
        return {}
    originals = record.get("originals")
    names = {knob.name for knob in all_knobs()}
    return {
        name: value
        for name, value in (originals.items() if isinstance(originals, dict) else ())
        if name in names and isinstance(value, str) and _VALUE.fullmatch(value)
    }
