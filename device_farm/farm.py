"""All phones in reach: who is there, take one for oneself, work on several at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from device_farm.adb import AdbPhone, AdbServer
from device_farm.adb.connection import AUTH_TIMEOUT_S
from device_farm.adb.server import LOCAL_SERVER
from device_farm.address import is_host_and_port, parse_address
from device_farm.choice import choose
from device_farm.crew import Crew, Job, JobEvent, Outcome
from device_farm.discovery import ADB_PORT, FoundDevice, discover, look, look_again
from device_farm.errors import DeviceLeased, DeviceUnreachable
from device_farm.lease import Lease
from device_farm.leased import LeasedPhone

__all__ = ["Farm", "Job", "JobEvent", "LeasedPhone", "Outcome", "work"]

_POLL_S = 0.2
_Value = TypeVar("_Value")


class Farm:
    """The phones that can be reached from here.

    Args:
        servers: The adb servers to ask; phones on other machines count as ours through theirs.
        addresses: Phones in the network, as `host:port`.
        timeout_s: How long a phone may take to tell what it is.
        key_directory: Where this machine's key lies, by default `~/.android`.

    Raises:
        ValueError: An address is none.
    """

    def __init__(
        self,
        *,
        servers: Sequence[AdbServer] = (LOCAL_SERVER,),
        addresses: Sequence[str] = (),
        timeout_s: float = 5.0,
        key_directory: Path | None = None,
    ) -> None:
        self._servers = tuple(servers)
        for address in addresses:
            parse_address(address, ADB_PORT)
        self._addresses = tuple(addresses)
        self._timeout_s = timeout_s
        self._key_directory = key_directory

    def devices(self) -> list[FoundDevice]:
        """Every phone once; see discover."""
        return discover(
            servers=self._servers,
            addresses=self._addresses,
            timeout_s=self._timeout_s,
            key_directory=self._key_directory,
        )

    def look(self, wanted: Collection[str] = ()) -> list[FoundDevice]:
        """A row for each way in which a phone was seen; addresses that are wanted count too."""
        named = [name for name in wanted if is_host_and_port(name)]
        return look(
            servers=self._servers,
            addresses=[*self._addresses, *named],
            timeout_s=self._timeout_s,
            key_directory=self._key_directory,
        )

    @contextmanager
    def acquire(
        self,
        wanted: str,
        *,
        wait_s: float = 0.0,
        seen: Sequence[FoundDevice] | None = None,
        shunned: Collection[str] = (),
        cancelled: threading.Event | None = None,
    ) -> Iterator[LeasedPhone]:
        """A phone for oneself, as long as the `with` block lasts.

        Args:
            wanted: A serial, `host:port`, or `model:` and a model, which takes the first free and
                ready phone of it; empty for the only phone there is.
            wait_s: How long to wait for a phone that another run uses.
            seen: What `look` told a moment ago; by default this looks anew.
            shunned: Identities of phones to take only when no other fits.
            cancelled: Given to the phone's user; once set, nothing is waited for any more.

        Raises:
            DeviceNotFound: No such phone; the message lists what is there.
            DeviceAmbiguous: Several fit, and none is taken by chance.
            DeviceLeased: Another run uses it; the message names the process.
            DeviceError: It cannot be used; the message tells what to do.
        """
        cancelled = cancelled or threading.Event()
        rows = choose(self.look([wanted]) if seen is None else seen, wanted)
        rows.sort(key=lambda row: row.identity in shunned)
        if len(rows) == 1:
            rows = [self._admitted(rows[0])]
        lease, row = _first_free(rows, wanted, wait_s, cancelled)
        try:
            found = self._usable(row)
            assert found.route is not None
            assert found.info is not None
            phone = AdbPhone(found.route)
            try:
                yield LeasedPhone(phone=phone, found=found, info=found.info, cancelled=cancelled)
            finally:
                phone.close()
        finally:
            lease.release()

    def _admitted(self, row: FoundDevice) -> FoundDevice:
        """The phone once its user has accepted the prompt, for which there is more time now."""
        if row.state != "unauthorized" or row.route is None:
            return row
        return look_again(row, timeout_s=self._timeout_s, auth_timeout_s=AUTH_TIMEOUT_S)

    def _usable(self, row: FoundDevice) -> FoundDevice:
        """The phone, asked anew when its cable was held, or its link cut, a moment ago."""
        is_passing = row.state == "busy" or isinstance(row.problem, DeviceUnreachable)
        if is_passing and row.route is not None:
            row = look_again(row, timeout_s=self._timeout_s)
        if row.problem is not None:
            raise row.problem
        return row


def work(
    farm: Farm,
    jobs: Sequence[Job[_Value]],
    on_event: Callable[[JobEvent], None] | None = None,
    *,
    wait_s: float = 0.0,
) -> dict[str, Outcome[_Value]]:
    """Do all jobs at once, each in a thread and on a phone of its own; see Crew.

    Args:
        farm: Where the phones are.
        jobs: What to do; two that want the same phone follow each other.
        on_event: Told what happens, from the jobs' threads, one event at a time.
        wait_s: How long a job waits for a phone that another process uses.

    Returns:
        How each job ended, by its name.

    Raises:
        ValueError: Two jobs have the same name.
        KeyboardInterrupt: Ctrl-C; the jobs were told to stop and have ended.
    """
    return Crew(farm, jobs, on_event, wait_s).work()


def _first_free(
    rows: Sequence[FoundDevice], wanted: str, wait_s: float, cancelled: threading.Event
) -> tuple[Lease, FoundDevice]:
    """The first phone that nobody else holds, and its lease, taken."""
    deadline = time.monotonic() + wait_s
    while True:
        refusals = []
        for row in rows:
            lease = Lease(row.identity)
            try:
                lease.take()
            except DeviceLeased as refusal:
                refusals.append(refusal)
            else:
                return lease, row
        if time.monotonic() > deadline or cancelled.is_set():
            raise _all_leased(wanted, refusals)
        cancelled.wait(_POLL_S)


def _all_leased(wanted: str, refusals: Sequence[DeviceLeased]) -> DeviceLeased:
    if len(refusals) == 1:
        return refusals[0]
    each = "; ".join(f"{refusal.serial} is {refusal.what}" for refusal in refusals)
    pids = frozenset[int]().union(*(refusal.holder_pids for refusal in refusals))
    return DeviceLeased(wanted, f"all phones that fit are in use: {each}", holder_pids=pids)
