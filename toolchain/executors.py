"""Evaluate one function on many items: in this process, or in worker processes.

A worker process has one torch thread, its own memory, and state that an initializer loads once
(a data set, say), because what every item needs must not travel with every item. The function
and the initializer must be importable by name, as for any spawned process.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from toolchain.errors import WorkerLost

Item = TypeVar("Item")
Result = TypeVar("Result")

ATTEMPTS = 3
# Read by OpenMP and by glibc when a process starts. Threads that spin while they wait starve the
# other workers; memory that is kept rather than returned saves the page faults of every step.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "GOMP_SPINCOUNT": "0",
    "OMP_WAIT_POLICY": "PASSIVE",
    "MALLOC_MMAP_THRESHOLD_": str(2**31),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
}


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
                error.add_note(_note(item))
                raise
            yield index, result


class ProcessExecutor:
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
        if workers < 1:
            raise ValueError(f"{workers} workers cannot do anything: use 1 or more")
        self._most_workers = workers
        self._initializer = initializer
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop(self._workers)

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[int, Result]]:
        """Yield (index, result) in the order of completion; see `Executor.map`.

        Raises:
            WorkerLost: The worker of one item died in each of three attempts.
        """
        tasks = list(items)
        attempts = [0] * len(tasks)
        waiting = deque(range(len(tasks)))
        try:
            while waiting or self._busy():
                self._hand_out(function, tasks, waiting)
                for worker in self._ready():
                    index = worker.index
                    assert index is not None
                    try:
                        is_result, value = worker.answer()
                    except (EOFError, OSError):
                        attempts[index] += 1
                        self._give_up_or_retry(worker, tasks[index], attempts[index])
                        waiting.appendleft(index)
                        continue
                    if not is_result:
                        value.add_note(_note(tasks[index]))
                        raise value
                    # No worker idles while the caller looks at the result.
                    self._hand_out(function, tasks, waiting)
                    yield index, value
        finally:
            # After an error, Ctrl-C or a caller that stopped listening.
            self._stop(self._busy())

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.index is not None]

    def _ready(self) -> list[_Worker]:
        """Wait until workers have answered or died, and return those."""
        busy = self._busy()
        ready = wait([worker.connection for worker in busy])
        return [worker for worker in busy if worker.connection in ready]

    def _hand_out(
        self, function: Callable[[Any], Any], tasks: list[Any], waiting: deque[int]
    ) -> None:
        while waiting:
            idle = [worker for worker in self._workers if worker.index is None]
            if idle:
                worker = idle[0]
            elif len(self._workers) < self._most_workers:
                worker = _Worker(self._initializer)
                self._workers.append(worker)
            else:
                return
            index = waiting.popleft()
            worker.ask(index, function, tasks[index])

    def _give_up_or_retry(self, worker: _Worker, item: Any, attempts: int) -> None:
        self._stop([worker])
        if attempts == ATTEMPTS:
            raise WorkerLost(
                f"the worker process died in {ATTEMPTS} attempts, at last with exit code "
                f"{worker.exit_code}, {_note(item)}: it was killed from outside, most often for "
                "want of memory; use fewer workers or smaller batches"
            )

    def _stop(self, workers: list[_Worker]) -> None:
        stopped = list(workers)
        for worker in stopped:
            worker.kill()
            self._workers.remove(worker)


class _Worker:
    """One worker process, as its parent sees it.

    Attributes:
        connection: Carries questions down and answers up; at its end when the process is dead.
        index: Index of the item in hand; None while idle.
    """

    def __init__(self, initializer: Callable[[], None] | None) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.index: int | None = None
        self._process = context.Process(target=_serve, args=(theirs, initializer), daemon=True)
        with _environment(WORKER_ENVIRONMENT):
            self._process.start()
        theirs.close()

    @property
    def exit_code(self) -> int | None:
        """Exit code of the dead process; negative is the number of the signal."""
        return self._process.exitcode

    def ask(self, index: int, function: Callable[[Any], Any], item: Any) -> None:
        self.index = index
        # A worker that died meanwhile is noticed when its answer is awaited.
        with contextlib.suppress(ConnectionError):
            self.connection.send((function, item))

    def answer(self) -> tuple[bool, Any]:
        answer: tuple[bool, Any] = self.connection.recv()
        self.index = None
        return answer

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that the block starts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _note(item: object) -> str:
    return f"while evaluating {item!r}"


def _serve(connection: Connection[Any, Any], initializer: Callable[[], None] | None) -> None:
    """Run in the worker: answer questions until the parent closes the connection or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    is_initialized = initializer is None
    while True:
        try:
            function, item = connection.recv()
        except EOFError:
            return
        try:
            if initializer is not None and not is_initialized:
                initializer()
                is_initialized = True
            connection.send((True, function(item)))
        except Exception as error:  # noqa: BLE001 - goes to the parent, which raises it
            connection.send((False, _portable(error)))


def _die_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """The error with its traceback as a note; a plain one if it cannot be sent as it is."""
    error.add_note("in a worker process:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except (TypeError, AttributeError, pickle.PicklingError):
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        for note in error.__notes__:
            plain.add_note(note)
        return plain
    return error
