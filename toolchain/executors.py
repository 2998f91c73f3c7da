"""Evaluate one function on many items: in this process, or in worker processes.

A worker process has one torch thread, its own memory, and state that an initializer loads once
(a data set, say), because what every item needs must not travel with every item. The function
and the initializer must be importable by name, as for any spawned process. Worker processes on
other computers are in `toolchain.ray_executor`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Protocol, Self

from toolchain.worker_pool import (
    WORKER_ENVIRONMENT,
    Item,
    Result,
    Server,
    WorkerDied,
    WorkerPool,
    environment,
    note,
)


class Executor(Protocol):
    """Something that evaluates a function on items, inside a `with` block."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[int, Result]]:
        """Yield (index of the item, result) as results come in, in no particular order.

        An exception that `function` raises is raised here, with a note that names the item.
        """
        ...


def make_executor(
    initializer: Callable[[], None], *, workers: int | None, ray: str | None = None
) -> Executor:
    """Worker processes on this computer, or on the computers of a Ray cluster.

    Args:
        initializer: Called once in each worker before its first item.
        workers: Most processes at a time; None for one a core of this computer or the cluster.
        ray: Address of the cluster, see `RayExecutor`; None for this computer without Ray.

    Raises:
        ValueError: `workers` is less than 1, or `ray` is no address.
        ExtraMissing: The cluster needs the package ray, which is not installed.
    """
    if ray is None:
        return ProcessExecutor((os.cpu_count() or 1) if workers is None else workers, initializer)
    from toolchain.ray_executor import RayExecutor

    return RayExecutor(ray, initializer, workers)


class SerialExecutor:
    """Evaluates one item after the other in this process, in their order."""

    def __init__(self, initializer: Callable[[], None] | None = None) -> None:
        """Call `initializer` here and now, as a worker process would before its first item."""
        if initializer is not None:
            initializer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[int, Result]]:
        """Yield (index, result) in the order of the items; see `Executor.map`."""
        for index, item in enumerate(items):
            try:
                result = function(item)
            except Exception as error:
                error.add_note(note(item))
                raise
            yield index, result


class ProcessExecutor(WorkerPool["_ProcessWorker"]):
    """Evaluates items in worker processes, which live until the `with` block ends.

    An item whose worker dies (killed for memory, say) is tried again in a new worker. Workers
    leave Ctrl-C to this process, which then stops them; they also end when this process dies.
    """

    def __init__(self, workers: int, initializer: Callable[[], None] | None = None) -> None:
        """Start nothing yet: a worker starts when there is an item for it.

        Args:
            workers: Most processes at a time.
            initializer: Called once in each worker before its first item; give it arguments
                with `functools.partial`.

        Raises:
            ValueError: `workers` is less than 1.
        """
        super().__init__(workers)
        self._initializer = initializer

    def _start(self) -> _ProcessWorker:
        return _ProcessWorker(self._initializer)

    def _answered(self, busy: Sequence[_ProcessWorker]) -> Sequence[_ProcessWorker]:
        ready = wait([worker.connection for worker in busy])
        return [worker for worker in busy if worker.connection in ready]


class _ProcessWorker:
    """One worker process, as its parent sees it.

    Attributes:
        connection: Carries questions down and answers up; at its end when the process is dead.
        index: Index of the item in hand; None while idle.
    """

    is_starting = False

    def __init__(self, initializer: Callable[[], None] | None) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.index: int | None = None
        self._process = context.Process(target=_serve, args=(theirs, initializer), daemon=True)
        with environment(WORKER_ENVIRONMENT):
            self._process.start()
        theirs.close()

    def ask(self, index: int, function: Callable[[Any], Any], item: Any) -> None:
        self.index = index
        with contextlib.suppress(ConnectionError):
            self.connection.send((function, item))

    def answer(self) -> bytes:
        try:
            answer: bytes = self.connection.recv_bytes()
        except (EOFError, OSError):
            self._process.kill()
            self._process.join()
            raise WorkerDied(f"with exit code {self._process.exitcode}") from None
        self.index = None
        return answer

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()


def _serve(connection: Connection[Any, Any], initializer: Callable[[], None] | None) -> None:
    """Run in the worker: answer questions until the parent closes the connection or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    server = Server(initializer)
    while True:
        try:
            function, item = connection.recv()
        except EOFError:
            return
        connection.send_bytes(server.answer(function, item))


def _die_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
