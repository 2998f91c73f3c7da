"""Hand items to workers, each one at a time, and try again those whose worker died.

What kind of process a worker is, and on which computer, is the business of the subclasses of
`WorkerPool`. The worker's side is the same for all: a `Server`.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

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


class WorkerDied(Exception):
    """A worker ended instead of answering; the message says how, as far as is known."""


class Worker(Protocol):
    """One worker process, as the pool sees it.

    Attributes:
        index: Index of the item in hand; None without one.
    """

    index: int | None

    @property
    def is_starting(self) -> bool:
        """Whether it cannot take an item yet."""
        ...

    def ask(self, index: int, function: Callable[[Any], Any], item: Any) -> None:
        """Give it an item; one that is dead by now is noticed when its answer is awaited."""
        ...

    def answer(self) -> bytes:
        """What its `Server` answered; the worker is idle again.

        Raises:
            WorkerDied: There is none.
        """
        ...

    def kill(self) -> None:
        """End the process, whatever it does; nothing happens if it is dead."""
        ...


AnyWorker = TypeVar("AnyWorker", bound=Worker)


class WorkerPool(ABC, Generic[AnyWorker]):
    """An executor with workers that start when there are items for them and end with the block."""

    def __init__(self, workers: int | None) -> None:
        """Start nothing yet.

        Args:
            workers: Most workers at a time; None where the subclass finds out later.

        Raises:
            ValueError: `workers` is less than 1.
        """
        if workers is not None and workers < 1:
            raise ValueError(f"{workers} workers cannot do anything: use 1 or more")
        self._most_workers = workers
        self._workers: list[AnyWorker] = []

    @abstractmethod
    def _start(self) -> AnyWorker:
        """Start one worker."""

    @abstractmethod
    def _answered(self, busy: Sequence[AnyWorker]) -> Sequence[AnyWorker]:
        """Wait until something happens, and return those busy workers that answered or died."""

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
                for worker in self._answered(self._busy()):
                    index = worker.index
                    assert index is not None
                    try:
                        answer = worker.answer()
                    except WorkerDied as death:
                        self._stop([worker])
                        attempts[index] += 1
                        if attempts[index] == ATTEMPTS:
                            raise _lost(death, tasks[index]) from None
                        waiting.appendleft(index)
                        continue
                    is_result, value = pickle.loads(answer)
                    if not is_result:
                        value.add_note(note(tasks[index]))
                        raise value
                    # No worker idles while the caller looks at the result.
                    self._hand_out(function, tasks, waiting)
                    yield index, value
        finally:
            # After an error, Ctrl-C or a caller that stopped listening.
            self._stop(self._busy())

    def _busy(self) -> list[AnyWorker]:
        return [worker for worker in self._workers if worker.index is not None]

    def _hand_out(
        self, function: Callable[[Any], Any], tasks: list[Any], waiting: deque[int]
    ) -> None:
        """Give every idle worker an item, and start workers for items that remain."""
        assert self._most_workers is not None
        for worker in self._workers:
            if waiting and worker.index is None and not worker.is_starting:
                index = waiting.popleft()
                worker.ask(index, function, tasks[index])
        starting = sum(worker.is_starting for worker in self._workers)
        for _ in range(min(len(waiting) - starting, self._most_workers - len(self._workers))):
            worker = self._start()
            self._workers.append(worker)
            if not worker.is_starting:
                index = waiting.popleft()
                worker.ask(index, function, tasks[index])

    def _stop(self, workers: Iterable[AnyWorker]) -> None:
        for worker in list(workers):
            worker.kill()
            self._workers.remove(worker)


class Server:
    """The worker's side: answers questions, and initializes its process before the first."""

    def __init__(self, initializer: Callable[[], None] | None) -> None:
        """Keep the initializer: should it fail, that is the answer to a question."""
        self._initializer = initializer

    def answer(self, function: Callable[[Any], Any], item: Any) -> bytes:
        """Pickled (True, result), or (False, the exception that came instead)."""
        try:
            if self._initializer is not None:
                self._initializer()
                self._initializer = None
            return pickle.dumps((True, function(item)))
        except Exception as error:  # noqa: BLE001 - goes to the caller, which raises it
            return pickle.dumps((False, _portable(error)))


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for what the block starts or imports."""
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


def note(item: object) -> str:
    """What is added to an exception, so that one knows which item it was."""
    return f"while evaluating {item!r}"


def _lost(death: WorkerDied, item: object) -> WorkerLost:
    return WorkerLost(
        f"the worker process died in {ATTEMPTS} attempts, at last {death}, {note(item)}: it was "
        "killed from outside, most often for want of memory; use fewer workers or smaller batches"
    )


def _portable(error: Exception) -> Exception:
    """The error with its traceback as a note; a plain one if it cannot be sent as it is."""
    error.add_note("in a worker process:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except (TypeError, AttributeError, pickle.PicklingError):
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        for text in error.__notes__:
            plain.add_note(text)
        return plain
    return error
