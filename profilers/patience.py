"""Outlive the loss of a device: wait until it is back, and do again what was in flight."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from device_farm.device import Device
from device_farm.errors import DeviceUnreachable, printable
from profilers.errors import Cancelled

_log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

_MAX_LOSSES = 50
_WAIT_S = 2.0


class Patience:
    """How long to wait for one device, and when to stop."""

    def __init__(self, device: Device, limit_s: float, cancelled: threading.Event) -> None:
        """Nothing is waited for yet.

        Args:
            device: that may go away.
            limit_s: how long to wait for it each time.
            cancelled: once set, nothing is begun or waited for any more.
        """
        self._device = device
        self._limit_s = limit_s
        self._cancelled = cancelled

    def outlive(
        self, task: Callable[[], Answer], set_up: Callable[[], None] = lambda: None
    ) -> Answer:
        """Do a task that may be repeated, again after each loss of the device.

        Args:
            task: what to do.
            set_up: done first whenever the device is back: it may have been restarted.

        Raises:
            DeviceUnreachable: the device did not come back in time, or is lost all the time.
            Cancelled: the user wants to stop.
        """
        for _ in range(_MAX_LOSSES):
            if self._cancelled.is_set():
                raise Cancelled(f"{printable(self._device.serial)}: stopped")
            try:
                return task()
            except DeviceUnreachable as error:
                self._wait(set_up, error)
        return task()

    def _wait(self, set_up: Callable[[], None], loss: DeviceUnreachable) -> None:
        """Say why the device is away, each reason once: a user may have to lend a hand."""
        deadline = time.monotonic() + self._limit_s
        told: set[str] = set()
        while True:
            if str(loss) not in told:
                _log.warning("%s; waiting for it", loss)
                told.add(str(loss))
            try:
                self._device.wait_until_reachable(_WAIT_S)
                set_up()
            except DeviceUnreachable as error:
                if time.monotonic() > deadline or self._cancelled.is_set():
                    raise
                loss = error
            else:
                return
