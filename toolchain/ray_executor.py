"""Evaluate one function on many items in the worker processes of a Ray cluster.

Every computer of the cluster needs the versions of Python, Ray, pocketnas and torch that this one
has, and this computer must belong to the cluster: `ray start --address=HEAD:PORT --num-cpus=0`
joins without lending CPUs. Where computers are of different kinds, floating point may differ
in the last bit, and a result then depends on which of them trained it.

A cluster runs the code of whoever can reach it. Ray before 2.59 asked for no token, not even on
this computer; set RAY_AUTH_MODE=token for a cluster (docs.ray.io, "Ray token authentication").
"""

from __future__ import annotations

import contextlib
import logging
import platform
import signal
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from toolchain.errors import ClusterUnusable
from toolchain.ray_connection import connected, last_line, require_address
from toolchain.versions import versions
from toolchain.worker_pool import (
    ATTEMPTS,
    WORKER_ENVIRONMENT,
    Server,
    WorkerDied,
    WorkerPool,
)

# After ray_connection, which says in our words that there is no ray.
# isort: split
import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    WorkerCrashedError,
)

PATIENCE_S = 60.0
DECISIVE = ("python", "pocketnas", "torch", "numpy")
DEATHS = (RayActorError, WorkerCrashedError, OutOfMemoryError, NodeDiedError, ObjectLostError)

_log = logging.getLogger(__name__)


class RayExecutor(WorkerPool["_RayWorker"]):
    """Evaluates items in processes of a Ray cluster, one a CPU, until the `with` block ends.

    What holds for the workers of `ProcessExecutor` holds for these. What every item needs is sent
    to each computer once. The block leaves the cluster running, unless it has started it.
    """

    def __init__(
        self,
        address: str,
        initializer: Callable[[], None] | None = None,
        workers: int | None = None,
    ) -> None:
        """Connect to nothing yet: the `with` block does.

        Args:
            address: host:port of the cluster's head; "auto" for the cluster that this computer
                belongs to; "local" to start one here, for the time of the block.
            initializer: Called once in each worker before its first item; give it arguments
                with `functools.partial`.
            workers: Most processes at a time; None, and at most, for one a CPU that the cluster
                has when the block begins.

        Raises:
            ValueError: `workers` is less than 1, or `address` is none of these.
        """
        super().__init__(workers)
        require_address(address)
        self._address = address
        self._initializer = initializer
        self._failed_starts = 0
        self._connection = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            ClusterUnusable: The cluster is out of reach or has no CPUs, or this process is
                connected to one already.
        """
        with contextlib.ExitStack() as connection:
            connection.enter_context(connected(self._address, self._most_workers))
            resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
            cpus = int(resources.get("CPU", 0))
            if cpus < 1:
                raise ClusterUnusable(
                    f"the Ray cluster at {self._address} has no CPU for workers: add a computer "
                    "with: ray start --address=HEAD:PORT --num-cpus=N"
                )
            self._most_workers = min(self._most_workers or cpus, cpus)
            self._shared = ray.put(self._initializer)
            self._connection = connection.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._connection:
            super().__exit__(kind, error, trace)

    def _start(self) -> _RayWorker:
        return _RayWorker(self._shared)

    def _answered(self, busy: Sequence[_RayWorker]) -> Sequence[_RayWorker]:
        expected = {worker.pending: worker for worker in self._workers if worker.pending}
        done, _ = ray.wait(list(expected), timeout=PATIENCE_S)
        if not done and not busy:
            _log.warning("no CPU of the Ray cluster at %s is free; waiting", self._address)
        answered = [expected[reference] for reference in done]
        for worker in answered:
            if worker.is_starting:
                self._welcome(worker)
        return [worker for worker in answered if worker.index is not None]

    def _welcome(self, worker: _RayWorker) -> None:
        """Let a worker that has started take items, if it can be trusted with them.

        Raises:
            ClusterUnusable: It runs other versions, or is the third in a row that did not start.
        """
        try:
            host, theirs = worker.introduction()
        except RayError as error:
            self._stop([worker])
            self._failed_starts += 1
            if self._failed_starts < ATTEMPTS:
                return
            raise ClusterUnusable(
                f"workers do not start on the Ray cluster at {self._address}, at last for: "
                f"{last_line(str(error))}; its computers need pocketnas and our RAY_AUTH_MODE"
            ) from None
        self._failed_starts = 0
        ours = _decisive_versions()
        if theirs != ours:
            differing = ", ".join(
                f"{name} {theirs[name]} instead of {ours[name]}"
                for name in ours
                if theirs[name] != ours[name]
            )
            raise ClusterUnusable(
                f"{host} of the Ray cluster at {self._address} has {differing}: results would "
                "not be comparable; install the same versions on all computers"
            )


class _RayWorker:
    """One actor, as this process sees it.

    Attributes:
        pending: What it will answer, or how it introduces itself; None while idle.
        index: Index of the item in hand; None while idle or starting.
    """

    def __init__(self, initializer: ray.ObjectRef[Any]) -> None:
        self.index: int | None = None
        self._host = "an unknown computer"
        self._actor: Any = _ACTOR.remote(initializer)
        self.pending: Any = self._actor.introduce.remote()
        self.is_starting = True

    def introduction(self) -> tuple[str, dict[str, str]]:
        """Its computer and versions; it can take items now."""
        self._host, theirs = ray.get(self.pending)
        self.is_starting = False
        self.pending = None
        return self._host, theirs

    def ask(self, index: int, function: Callable[[Any], Any], item: Any) -> None:
        self.index = index
        self.pending = self._actor.answer.remote(function, item)

    def answer(self) -> bytes:
        try:
            answer: bytes = ray.get(self.pending)
        except DEATHS:
            raise WorkerDied(f"on {self._host}") from None
        self.index = None
        self.pending = None
        return answer

    def kill(self) -> None:
        ray.kill(self._actor)


class _IntroducedServer(Server):
    """A `Server` that says where it is and what it runs."""

    def __init__(self, initializer: Callable[[], None] | None) -> None:
        super().__init__(initializer)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def introduce(self) -> tuple[str, dict[str, str]]:
        return platform.node(), _decisive_versions()


_ACTOR: Any = ray.remote(
    num_cpus=1, max_restarts=0, max_task_retries=0, runtime_env={"env_vars": WORKER_ENVIRONMENT}
)(_IntroducedServer)


def _decisive_versions() -> dict[str, str]:
    found = versions()
    return {name: found[name] for name in DECISIVE}
