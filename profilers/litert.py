"""Time models on this host through LiteRT's C API, with true times per operator.

What the figures mean (LiteRT 2.3.0, x86-64, tried by experiment):

* Times come as whole microseconds. XNNPACK rounds *down*: in a chain of 400 operators of about
  0.8 us nearly all read 0, so that a sum over many short operators is too small by up to a
  microsecond each. For operators outside of XNNPACK, LiteRT's source subtracts two readings of
  a microsecond clock, which errs both ways.
* One XNNPACK operator may consist of several steps. A concatenation of 5 inputs is one event,
  ``Copy (NC, X32)``, that holds the time of all its 5 copies, each rounded down by itself.
* Delegated operators carry XNNPACK's names after its fusion, not those of the file. The node of
  the delegate itself has no event, so that nothing is counted twice.
* ``Invoke``, the whole graph, includes what the profiler costs: up to a microsecond per operator.

Runs follow each other without a pause, profiled or not, and events are read after the last one:
with a little Python between two runs, a model with 10 MB of weights took up to twice as long,
probably because its weights had left the caches.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from profilers.compiled_model import CompiledModel, EventKind, RecordedEvent, TensorSpec
from profilers.errors import EventsDiffer, ModelRejected
from profilers.litert_library import RuntimeIdentity, runtime_identity
from profilers.litert_self_test import check_runtime

__all__ = [
    "LiteRtModel",
    "OperatorEvent",
    "RunProfile",
    "RunTimes",
    "RuntimeIdentity",
    "runtime_identity",
]

_WHOLE_GRAPH = "Invoke"
# Their times contain those of the operators that they call.
_CONTROL_FLOW = frozenset({"CALL", "CALL_ONCE", "IF", "WHILE"})


@dataclass(frozen=True, kw_only=True)
class OperatorEvent:
    """One operator of a model, as the runtime ran it.

    Attributes:
        name: XNNPACK's name of the kernel, or the TFLite operator where it is not delegated.
        index: Number of the node: in its partition if delegated, else in the model's graph.
        is_delegated: Whether XNNPACK ran it.
        samples_ms: One time per run.
    """

    name: str
    index: int
    is_delegated: bool
    samples_ms: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RunProfile:
    """The operators of several runs.

    Attributes:
        operators: In order of execution.
        invoke_ms: Wall time of the whole graph, one per run, profiler included.
    """

    operators: tuple[OperatorEvent, ...]
    invoke_ms: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RunTimes:
    """Times of whole runs without a profiler.

    Attributes:
        threads: Threads that the model used.
        cpu_ms: CPU time of the calling thread, one per run.
        wall_ms: Elapsed time, one per run.
    """

    threads: int
    cpu_ms: tuple[float, ...]
    wall_ms: tuple[float, ...]

    @property
    def samples_ms(self) -> tuple[float, ...]:
        """The latency of each run.

        With one thread that is CPU time: LiteRT runs on the calling thread, and its CPU time,
        unlike wall time, does not count what other processes took. With more threads it is
        wall time, since the CPU time of the caller misses what the other threads do.
        """
        return self.cpu_ms if self.threads == 1 else self.wall_ms


class LiteRtModel:
    """A TFLite model loaded by LiteRT on this host's CPU; a context manager.

    All models of a process share one LiteRT environment; all else is freed by `close`. Inputs
    are zero until set. Not for use by several threads at once.

    Attributes:
        path: The file.
        threads: Threads that XNNPACK may use.
        inputs: Shapes and types, in the order of the file.
        outputs: Shapes and types, in the order of the file.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, threads: int = 1, profile: bool = False
    ) -> None:
        """Load and compile a model.

        Args:
            path: A TFLite file.
            threads: At least 1.
            profile: Whether `profile` will be called; it makes each run a little slower.

        Raises:
            ModelRejected: The file is missing or damaged, or LiteRT does not support it.
            RuntimeUnavailable: LiteRT is missing, of another version, or fails its self-test.
        """
        if threads < 1:
            raise ValueError(f"threads is {threads}; give at least 1")
        check_runtime()
        self.path = Path(path)
        self.threads = threads
        self._is_profiled = profile
        self._model = CompiledModel(self.path, threads=threads, profile=profile)
        self.inputs: tuple[TensorSpec, ...] = self._model.inputs
        self.outputs: tuple[TensorSpec, ...] = self._model.outputs

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the model; may be repeated."""
        self._model.close()

    def fill_inputs(self, seed: int) -> None:
        """Fill all inputs at random: normal floats, full-range 8- and 16-bit integers.

        Wider integers, which are indices as a rule, are 0 or 1, valid in any table of two rows.
        """
        generator = np.random.default_rng(seed)
        for index, spec in enumerate(self.inputs):
            self._compiled().write(index, _random(generator, spec))

    def set_input(self, array: npt.NDArray[np.generic], index: int = 0) -> None:
        """Set an input to an array of exactly its shape and type."""
        spec = self.inputs[index]
        if (array.shape, array.dtype) != (spec.shape, spec.dtype):
            raise ValueError(
                f"input {index} of {self.path} is {spec.dtype}{list(spec.shape)}; "
                f"the array is {array.dtype}{list(array.shape)}"
            )
        self._compiled().write(index, np.ascontiguousarray(array).reshape(spec.shape))

    def read_output(self, index: int = 0) -> npt.NDArray[np.generic]:
        """Copy an output of the last run."""
        return self._compiled().read(index)

    def run(self) -> None:
        """Run once.

        Raises:
            ModelRejected: LiteRT reports a failure.
        """
        self._compiled().run()

    def time_runs(self, runs: int, warmup: int) -> RunTimes:
        """Time whole runs after some that are not counted.

        Raises:
            ModelRejected: LiteRT reports a failure.
        """
        self._warm_up(runs, warmup)
        model = self._compiled()
        cpu_ms, wall_ms = [], []
        for _ in range(runs):
            wall_start, cpu_start = time.perf_counter_ns(), time.thread_time_ns()
            model.run()
            cpu_ms.append((time.thread_time_ns() - cpu_start) / 1e6)
            wall_ms.append((time.perf_counter_ns() - wall_start) / 1e6)
        return RunTimes(threads=self.threads, cpu_ms=tuple(cpu_ms), wall_ms=tuple(wall_ms))

    def profile(self, runs: int, warmup: int) -> RunProfile:
        """Time each operator after some runs that are not counted.

        Raises:
            EventsDiffer: Two runs did not report the same operators in the same order.
            ModelRejected: LiteRT reports a failure, or the model has control flow.
        """
        if not self._is_profiled:
            raise ValueError(f"{self.path} was opened without profile=True")
        self._warm_up(runs, warmup)
        return _run_profile(self._compiled().run_profiled(runs), runs, self.path)

    def _compiled(self) -> CompiledModel:
        if not self._model.is_open:
            raise ValueError(f"{self.path} is closed; open it again")
        return self._model

    def _warm_up(self, runs: int, warmup: int) -> None:
        if runs < 1 or warmup < 0:
            raise ValueError(f"runs is {runs}, warmup {warmup}; give at least 1 and 0")
        for _ in range(warmup):
            self._compiled().run()


def _run_profile(events: list[RecordedEvent], runs: int, path: Path) -> RunProfile:
    if found := _CONTROL_FLOW.intersection(event.name for event in events):
        raise ModelRejected(
            f"{path} has control flow ({', '.join(sorted(found))}), whose operators cannot be "
            "timed one by one; time whole runs, or export the model unrolled"
        )
    invoke_ms: list[float] = []
    operators: list[list[RecordedEvent]] = []
    for event in events:
        if event.name == _WHOLE_GRAPH:
            invoke_ms.append(event.elapsed_us / 1e3)
            operators.append([])
        elif event.kind != EventKind.GENERAL:
            operators[-1].append(event)
    # All but the time must be equal.
    if len(operators) != runs or len({tuple(e[:3] for e in run) for run in operators}) != 1:
        raise EventsDiffer(
            f"{runs} runs of {path} reported {[len(run) for run in operators]} operators, or "
            "the same number of different ones; profile it again, and report it if that repeats"
        )
    return RunProfile(
        operators=tuple(
            OperatorEvent(
                name=samples[0].name,
                index=samples[0].node_index,
                is_delegated=samples[0].kind == EventKind.DELEGATED_OPERATOR,
                samples_ms=tuple(event.elapsed_us / 1e3 for event in samples),
            )
            for samples in zip(*operators, strict=True)
        ),
        invoke_ms=tuple(invoke_ms),
    )


def _random(generator: np.random.Generator, spec: TensorSpec) -> npt.NDArray[np.generic]:
    if spec.dtype.kind == "f":
        return generator.standard_normal(spec.shape).astype(spec.dtype)
    if spec.dtype.kind == "b" or spec.dtype.itemsize > 2:
        return generator.integers(0, 2, spec.shape).astype(spec.dtype)
    size_bytes = math.prod(spec.shape) * spec.dtype.itemsize
    return np.frombuffer(generator.bytes(size_bytes), spec.dtype).reshape(spec.shape)
