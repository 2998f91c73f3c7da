"""Several jobs on several phones at once; a phone that dies gives its work back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Literal, Protocol, TypeVar

from device_farm.errors import DeviceError, DeviceLeased, DeviceUnreachable
from device_farm.found import FoundDevice
from device_farm.leased import LeasedPhone
from device_farm.task import start

# How many phones a job may lose before it is given up.
_MAX_TRIES = 3
# After Ctrl-C a job has so long to end by itself; then what it waits for is cut off.
_STOP_GRACE_S = 5.0
EventKind = Literal["waiting", "started", "lost", "finished", "failed"]
_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class Job(Generic[_Value]):
    """What to do on one phone.

    Attributes:
        name: Unlike every other job's.
        wanted: The phone; see Farm.acquire.
        do: The work. When it lets a DeviceUnreachable out, the phone counts as dead, and the work
            is done from its beginning on another phone that fits; so it must be repeatable, and
            wait by itself for a phone that comes back soon.
    """

    name: str
    wanted: str
    do: Callable[[LeasedPhone], _Value]


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[_Value]):
    """How a job ended.

    Attributes:
        value: What its work returned; None after an error.
        error: What ended it; None when all went well.
        serials: The phones it was tried on, in order; the last one is where it ended.
    """

    value: _Value | None
    error: BaseException | None
    serials: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class JobEvent:
    """Something that happened to a job.

    Attributes:
        job: Its name.
        kind: `waiting` for a phone that another job of ours uses, `started` on a phone, `lost`
            the phone, `finished`, or `failed`.
        serial: The phone that it runs on or ran on last; empty before the first.
        error: What went wrong, if something did.
    """

    job: str
    kind: EventKind
    serial: str = ""
    error: BaseException | None = field(default=None, compare=False)


class Lender(Protocol):
    """What a crew needs of a farm; see Farm."""

    def look(self, wanted: Collection[str] = ()) -> list[FoundDevice]:
        """See Farm.look."""

    def acquire(
        self,
        wanted: str,
        *,
        wait_s: float = 0.0,
        seen: Sequence[FoundDevice] | None = None,
        shunned: Collection[str] = (),
        cancelled: threading.Event | None = None,
    ) -> AbstractContextManager[LeasedPhone]:
        """See Farm.acquire."""


class Crew(Generic[_Value]):
    """The threads that do the jobs.

    The farm is looked over once for all jobs, before any of them starts, so that nobody asks a
    phone what it is while another job measures on it. Only a job that lost its phone looks anew.
    """

    def __init__(
        self,
        farm: Lender,
        jobs: Sequence[Job[_Value]],
        on_event: Callable[[JobEvent], None] | None,
        wait_s: float,
    ) -> None:
        names = [job.name for job in jobs]
        if len(set(names)) < len(names):
            raise ValueError(f"two jobs have the same name: {sorted(names)}")
        self._farm = farm
        self._jobs = jobs
        self._on_event = on_event
        self._wait_s = wait_s
        self._cancelled = threading.Event()
        # no job begins before `work` can stop every one of them
        self._is_complete = threading.Event()
        self._telling = threading.Lock()
        self._tried: dict[str, list[str]] = {name: [] for name in names}
        self._in_use: dict[str, LeasedPhone] = {}
        self._moved = threading.Condition()  # guards the next two
        self._moves = 0  # grows whenever a phone was given back or a job has ended
        self._working = len(jobs)  # jobs that have not ended and do not wait for another job

    def work(self) -> dict[str, Outcome[_Value]]:
        """Do all jobs; see device_farm.farm.work."""
        seen = self._farm.look([job.wanted for job in self._jobs])
        running: dict[str, Future[_Value]] = {}
        try:
            for job in self._jobs:
                running[job.name] = start(partial(self._run, job, seen))
            self._is_complete.set()
            wait(running.values())
        except KeyboardInterrupt:
            self._stop(running.values())
            raise
        return {name: self._outcome(name, future) for name, future in running.items()}

    def _stop(self, running: Collection[Future[_Value]]) -> None:
        """Make all jobs end; a second Ctrl-C leaves them to their fate."""
        self._cancelled.set()
        self._is_complete.set()
        self._move()
        _, still = wait(running, timeout=_STOP_GRACE_S)
        if still:
            for leased in list(self._in_use.values()):
                leased.phone.close()
            wait(still)

    def _outcome(self, name: str, future: Future[_Value]) -> Outcome[_Value]:
        error = future.exception()
        return Outcome(
            value=None if error else future.result(),
            error=error,
            serials=tuple(self._tried[name]),
        )

    def _run(self, job: Job[_Value], seen: Sequence[FoundDevice]) -> _Value:
        """Do a job and tell how it ended."""
        self._is_complete.wait()
        try:
            if self._cancelled.is_set():
                raise CancelledError
            value = self._complete(job, seen)
        except BaseException as error:
            self._tell(job, "failed", error)
            raise
        else:
            self._tell(job, "finished")
            return value
        finally:
            self._move(ended=1)

    def _complete(self, job: Job[_Value], seen: Sequence[FoundDevice] | None) -> _Value:
        """Do a job, on a second or third phone if need be."""
        lost: DeviceUnreachable | None = None
        shunned: set[str] = set()
        for _ in range(_MAX_TRIES):
            with ExitStack() as stack:
                try:
                    leased = self._acquire(job, seen, shunned, stack)
                except DeviceError as error:
                    if lost is None:
                        raise
                    lost.add_note(f"no other phone took over: {error}")
                    break
                seen = None
                shunned.add(leased.found.identity)
                try:
                    return self._do(job, leased)
                except DeviceUnreachable as error:
                    lost = error
                    self._tell(job, "lost", error)
            self._move()
            if self._cancelled.is_set():
                break
        assert lost is not None
        raise lost

    def _acquire(
        self,
        job: Job[_Value],
        seen: Sequence[FoundDevice] | None,
        shunned: Collection[str],
        stack: ExitStack,
    ) -> LeasedPhone:
        """A phone for a job; one that another job of ours uses is waited for."""
        while True:
            moves = self._moves
            lending = self._farm.acquire(
                job.wanted,
                wait_s=self._wait_s,
                seen=seen,
                shunned=shunned,
                cancelled=self._cancelled,
            )
            try:
                return stack.enter_context(lending)
            except DeviceLeased as error:
                if os.getpid() not in error.holder_pids or not self._await_move(job, moves):
                    raise
            seen = None

    def _await_move(self, job: Job[_Value], moves: int) -> bool:
        """Wait until a phone was given back or a job has ended; False when none ever will."""
        with self._moved:
            self._working -= 1
            try:
                if self._working == 0 and self._moves == moves:
                    return False  # somebody else in this process holds the phone
                self._tell(job, "waiting")
                self._moved.wait_for(lambda: self._moves != moves)
                return not self._cancelled.is_set()
            finally:
                self._working += 1

    def _move(self, *, ended: int = 0) -> None:
        """Wake the jobs that wait for a phone."""
        with self._moved:
            self._moves += 1
            self._working -= ended
            self._moved.notify_all()

    def _do(self, job: Job[_Value], leased: LeasedPhone) -> _Value:
        self._tried[job.name].append(leased.found.serial)
        self._in_use[job.name] = leased
        try:
            self._tell(job, "started")
            return job.do(leased)
        finally:
            del self._in_use[job.name]

    def _tell(self, job: Job[_Value], kind: EventKind, error: BaseException | None = None) -> None:
        if self._on_event is None:
            return
        serials = self._tried[job.name]
        event = JobEvent(
            job=job.name, kind=kind, serial=serials[-1] if serials else "", error=error
        )
        with self._telling:
            self._on_event(event)
