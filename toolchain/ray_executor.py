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
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from toolchain.errors import ClusterUnusable, ExtraMissing
from toolchain.versions import versions
from toolchain.worker_pool import (
    ATTEMPTS,
    WORKER_ENVIRONMENT,
    Server,
    WorkerDied,
    WorkerPool,
    environment,
)

# Ray prints on stdout that a worker died, whatever it is told. The executor retries or says so.
QUIET = {"RAY_DEDUP_LOGS_SKIP_REGEX": "."}
try:
    with environment(QUIET):
        import ray
        from ray.exceptions import (
            NodeDiedError,
            ObjectLostError,
            OutOfMemoryError,
            RayActorError,
            RayError,
            WorkerCrashedError,
        )
except ModuleNotFoundError:
    raise ExtraMissing("a Ray cluster", "ray") from None

LOCAL = "local"
AUTO = "auto"
REACH_S = 20.0
PATIENCE_S = 60.0
TRY_TO_CONNECT = """
import sys, ray
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
"""
NO_MEMBER = (
    "this computer does not belong to it: `ray start --address=HEAD:PORT --num-cpus=0` joins"
)
NO_TOKEN = (
    "its token is missing here or another: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or the "
    "file ~/.ray/auth_token"
)
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
        if address not in (LOCAL, AUTO) and not re.fullmatch(r"[^\s/:]+:\d{1,5}", address):
            raise ValueError(
                f"{address!r} is no address of a Ray cluster: give host:port (of its head, mostly "
                "port 6379), auto or local"
            )
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
            connection.enter_context(_connected(self._address, self._most_workers))
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
                f"{_last_line(str(error))}; its computers need pocketnas and our RAY_AUTH_MODE"
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


@contextlib.contextmanager
def _connected(address: str, workers: int | None) -> Iterator[None]:
    """Connect this process, and leave it as it was: Ray changes its environment and SIGTERM."""
    if ray.is_initialized():
        raise ClusterUnusable("this process is connected to Ray already: call ray.shutdown()")
    if address != LOCAL:
        _require_reachable(address)
    before = dict(os.environ)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        _connect(address, workers)
        yield
    finally:
        ray.shutdown()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm or signal.SIG_DFL)
        for name in os.environ.keys() - before:
            del os.environ[name]
        os.environ.update(before)


def _connect(address: str, workers: int | None) -> None:
    try:
        ray.init(
            address=address,
            num_cpus=(workers or os.cpu_count()) if address == LOCAL else None,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, RayError) as error:
        raise ClusterUnusable(
            f"cannot connect to the Ray cluster at {address}: "
            f"{' '.join(str(error.__cause__ or error).split())}"
        ) from error


def _require_reachable(address: str) -> None:
    """Find out in another process: Ray ends the one that cannot connect, after two minutes even."""
    why = _unreachable_because(address)
    if why is not None:
        raise ClusterUnusable(
            f"cannot reach a Ray cluster at {address}: {why}; `ray status --address {address}` "
            "must work on this computer"
        )


def _unreachable_because(address: str) -> str | None:
    if address != AUTO:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=REACH_S).close()
        except OSError as error:
            return str(error)
    try:
        subprocess.run(
            [sys.executable, "-P", "-c", TRY_TO_CONNECT, address],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=REACH_S, check=True,
        )  # fmt: skip
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as failure:
        said = (failure.stderr or b"").decode(errors="replace")
        if "Authentication" in said:
            return NO_TOKEN
        if "raylet_ipc_client" in said:
            return NO_MEMBER
        if isinstance(failure, subprocess.TimeoutExpired):
            return f"no Ray answers in {REACH_S:.0f} s"
        return _last_line(said)
    return None


def _decisive_versions() -> dict[str, str]:
    found = versions()
    return {name: found[name] for name in DECISIVE}


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "it does not say why"
