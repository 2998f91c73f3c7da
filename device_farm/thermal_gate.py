"""Waiting until a phone is cool enough for a fair measurement."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from device_farm.battery import read_battery
from device_farm.device import Device
from device_farm.errors import CommandFailed, InfoUnreadable, TooHot
from device_farm.thermal import (
    Sensor,
    Temperature,
    ThermalState,
    ThrottlingStatus,
    read_thermal,
)


class ThermalGate:
    """Lets a measurement pass when the phone is about as cool as at the first one.

    Cool means: the system does not throttle, and the skin, or else the battery, is below the
    ceiling or has come back near the temperature that it had when the gate first looked.
    """

    def __init__(
        self,
        device: Device,
        *,
        ceiling_celsius: float = 37.0,
        settle_celsius: float = 2.0,
        timeout_s: float = 900.0,
        fallback_cooldown_s: float = 60.0,
        poll_s: float = 5.0,
        on_wait: Callable[[str], None] | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            device: The phone.
            ceiling_celsius: Cool enough whatever it was at first.
            settle_celsius: How far above the first temperature is near it.
            timeout_s: How long a phone may take to cool down.
            fallback_cooldown_s: The pause after load for phones that tell no temperature.
            poll_s: Pause between readings.
            on_wait: Is told before each pause what it is for.
        """
        self._device = device
        self._ceiling_celsius = ceiling_celsius
        self._settle_celsius = settle_celsius
        self._timeout_s = timeout_s
        self._fallback_cooldown_s = fallback_cooldown_s
        self._poll_s = poll_s
        self._on_wait = on_wait or (lambda _: None)
        self._limit_celsius: float | None = None

    def wait(self, *, is_after_load: bool = True) -> ThermalState:
        """Return the phone's heat once it is cool.

        Args:
            is_after_load: Whether the phone has worked since the last wait; only then does one
                that tells no temperature get its pause.

        Raises:
            TooHot: It did not cool down in time.
        """
        deadline = time.monotonic() + self._timeout_s
        state = self._read()
        if state.status is None and state.surface_celsius is None:
            if is_after_load:
                self._pause("the phone tells no temperature", self._fallback_cooldown_s)
            return state
        while reason := self._heat(state):
            if time.monotonic() > deadline:
                raise TooHot(
                    self._device.serial, f"{reason}; it did not cool down in {self._timeout_s} s"
                )
            self._pause(reason, self._poll_s)
            state = self._read()
        return state

    def _read(self) -> ThermalState:
        """The phone's heat, with the battery's own reading where no sensor is told."""
        state = read_thermal(self._device)
        if state.surface_celsius is not None:
            return state
        try:
            celsius = read_battery(self._device).celsius
        except (CommandFailed, InfoUnreadable):
            return state
        if celsius is None:
            return state
        battery = Temperature(sensor=Sensor.BATTERY, name="battery", celsius=celsius)
        return replace(state, temperatures=(*state.temperatures, battery))

    def _heat(self, state: ThermalState) -> str:
        """In which way the phone is too hot; empty when it is not."""
        celsius = state.surface_celsius
        if self._limit_celsius is None and celsius is not None:
            self._limit_celsius = max(self._ceiling_celsius, celsius + self._settle_celsius)
        if state.status is not None and state.status > ThrottlingStatus.NONE:
            return f"its thermal status is {state.status.name}"
        if celsius is None or self._limit_celsius is None or celsius <= self._limit_celsius:
            return ""
        return f"it has {celsius:.1f} C, the limit is {self._limit_celsius:.1f} C"

    def _pause(self, reason: str, seconds: float) -> None:
        self._on_wait(reason)
        time.sleep(seconds)
