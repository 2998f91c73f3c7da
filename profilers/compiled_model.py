"""A model compiled by LiteRT, its tensors as numpy arrays, its profiler events as they come."""

from __future__ import annotations

import ctypes
import enum
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ctypes import c_int, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from profilers.errors import ModelRejected
from profilers.litert_library import (
    CPU,
    READ,
    WRITE,
    CallFailed,
    ProfilerEvent,
    TensorType,
    captured_stderr,
    library,
)
from profilers.model_file import verify_model_file

_LOGGER = logging.getLogger(__name__)

# kLiteRtElementType (litert_model_types.h) of what numpy can hold.
_DTYPES: dict[int, npt.DTypeLike] = {
    1: np.float32,
    2: np.int32,
    3: np.uint8,
    4: np.int64,
    6: np.bool_,
    7: np.int16,
    9: np.int8,
    10: np.float16,
    11: np.float64,
}
# The first signature of a file; a file without signatures gets one from LiteRT.
_SIGNATURE = 0


class EventKind(enum.IntEnum):
    """The types of ``tflite::Profiler::EventType`` whose elapsed time is a time.

    Others, as the telemetry of type 32, hold arbitrary numbers.
    """

    GENERAL = 1
    BUILTIN_OPERATOR = 2
    DELEGATED_OPERATOR = 8


_TIMED_KINDS = frozenset(EventKind)


class RecordedEvent(NamedTuple):
    """One interval of one run."""

    kind: EventKind
    name: str
    node_index: int
    elapsed_us: int


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """Shape and element type of an input or output, in the layout of the file (NHWC)."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


class CompiledModel:
    """The handles of one loaded model; `close` frees every one of them.

    Attributes:
        inputs: Shapes and types, in the order of the file.
        outputs: Shapes and types, in the order of the file.
        is_open: Whether the handles are alive; a caller must not use a closed model.
    """

    def __init__(self, path: Path, *, threads: int, profile: bool) -> None:
        verify_model_file(path)
        self._path = path
        self._library = library()
        self.is_open = False
        with ExitStack() as handles:
            with captured_stderr() as log:
                try:
                    self._compile(handles, threads, profile)
                    failure = None
                except CallFailed as error:
                    failure = error
            text = " ".join("".join(log).split())
            if failure is not None:
                raise ModelRejected(
                    f"LiteRT rejects the model {path} ({failure}): {text or 'no reason given'}; "
                    "export it again with operators and shapes that LiteRT supports"
                ) from failure
            _LOGGER.debug("LiteRT on %s: %s", path, text)
            self._handles = handles.pop_all()
            self.is_open = True

    def _compile(self, handles: ExitStack, threads: int, profile: bool) -> None:
        lib = self._library
        model = lib.create("LiteRtCreateModelFromFile", lib.environment, bytes(self._path))
        handles.callback(lib.destroy, "LiteRtDestroyModel", model)
        options = lib.create("LiteRtCreateOptions")
        handles.callback(lib.destroy, "LiteRtDestroyOptions", options)
        lib.call("LiteRtSetOptionsHardwareAccelerators", options, CPU)
        self._add_options(options, "xnnpack", f"num_threads = {threads}\n")
        flag = "true" if profile else "false"
        self._add_options(options, "runtime_options_string", f"enable_profiling = {flag}\n")
        compiled = lib.create("LiteRtCreateCompiledModel", lib.environment, model, options)
        handles.callback(lib.destroy, "LiteRtDestroyCompiledModel", compiled)
        self._compiled = compiled
        signature = lib.create("LiteRtGetModelSignature", model, _SIGNATURE)
        self.inputs, self._input_buffers = self._buffers(handles, signature, "Input")
        self.outputs, self._output_buffers = self._buffers(handles, signature, "Output")
        if profile:
            self._profiler = lib.create("LiteRtCompiledModelGetProfiler", compiled)
        # Tensors are allocated and operators delegated in the first run: only here does LiteRT
        # find operators and shapes that it does not support.
        for index, spec in enumerate(self.inputs):
            self.write(index, np.zeros(spec.shape, spec.dtype))
        self._invoke()

    def _add_options(self, options: c_void_p, identifier: str, toml: str) -> None:
        # LiteRT frees the text with the deleter, so it must come from C's own heap.
        heap = ctypes.CDLL(None)
        heap.strdup.restype = c_void_p
        payload = heap.strdup(toml.encode())
        deleter = ctypes.cast(heap.free, c_void_p)
        entry = self._library.create(
            "LiteRtCreateOpaqueOptions", identifier.encode(), payload, deleter
        )
        self._library.call("LiteRtAddOpaqueOptions", options, entry)

    def _buffers(
        self, handles: ExitStack, signature: c_void_p, side: str
    ) -> tuple[tuple[TensorSpec, ...], ctypes.Array[c_void_p]]:
        lib = self._library
        count = lib.count(f"LiteRtGetNumSignature{side}s", signature)
        specs = []
        buffers = (c_void_p * count)()
        for index in range(count):
            tensor = lib.create(f"LiteRtGetSignature{side}TensorByIndex", signature, index)
            kind = TensorType()
            lib.call("LiteRtGetRankedTensorType", tensor, ctypes.byref(kind))
            specs.append(self._spec(kind, f"{side.lower()} {index}"))
            requirements = lib.create(
                f"LiteRtGetCompiledModel{side}BufferRequirements",
                self._compiled,
                _SIGNATURE,
                index,
            )
            buffer = lib.create(
                "LiteRtCreateManagedTensorBufferFromRequirements",
                lib.environment,
                ctypes.byref(kind),
                requirements,
            )
            handles.callback(lib.destroy, "LiteRtDestroyTensorBuffer", buffer)
            buffers[index] = buffer.value
        return tuple(specs), buffers

    def _spec(self, kind: TensorType, tensor: str) -> TensorSpec:
        if kind.element not in _DTYPES:
            raise ModelRejected(
                f"{tensor} of {self._path} has element type {kind.element}, which no numpy array "
                "holds; export the model with numbers as inputs and outputs"
            )
        return TensorSpec(shape=kind.shape, dtype=np.dtype(_DTYPES[kind.element]))

    def close(self) -> None:
        """Free the buffers, the compiled model, its options and the model; may be repeated."""
        self.is_open = False
        self._handles.close()

    def write(self, index: int, array: npt.NDArray[np.generic]) -> None:
        """Copy a contiguous array of the input's shape and type into the input."""
        assert (array.shape, array.dtype) == (self.inputs[index].shape, self.inputs[index].dtype)
        with self._locked(self._input_buffers[index], WRITE) as address:
            ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def read(self, index: int) -> npt.NDArray[np.generic]:
        """Copy an output."""
        array = np.empty(self.outputs[index].shape, self.outputs[index].dtype)
        with self._locked(self._output_buffers[index], READ) as address:
            ctypes.memmove(array.ctypes.data, address, array.nbytes)
        return array

    @contextmanager
    def _locked(self, buffer: int | None, mode: int) -> Iterator[c_void_p]:
        address = c_void_p()
        self._library.call("LiteRtLockTensorBuffer", buffer, ctypes.byref(address), mode)
        try:
            yield address
        finally:
            self._library.call("LiteRtUnlockTensorBuffer", buffer)

    def run(self) -> None:
        """Run once, on the calling thread where the model was opened with one thread.

        Raises:
            ModelRejected: LiteRT reports a failure; its reason is on standard error.
        """
        try:
            self._invoke()
        except CallFailed as error:
            raise ModelRejected(
                f"LiteRT cannot run {self._path} on these inputs ({error}); its reason is on "
                "standard error"
            ) from error

    def _invoke(self) -> None:
        inputs, outputs = self._input_buffers, self._output_buffers
        self._library.call(
            "LiteRtRunCompiledModel",
            self._compiled, _SIGNATURE, len(inputs), inputs, len(outputs), outputs,
        )  # fmt: skip

    def run_profiled(self, runs: int) -> list[RecordedEvent]:
        """Run several times without a pause and return all events in the order of their begin.

        Raises:
            ModelRejected: LiteRT reports a failure.
        """
        lib, profiler = self._library, self._profiler
        lib.call("LiteRtResetProfiler", profiler)
        lib.call("LiteRtStartProfiler", profiler)
        try:
            for _ in range(runs):
                self.run()
        finally:
            lib.call("LiteRtStopProfiler", profiler)
        count = c_int()
        lib.call("LiteRtGetNumProfilerEvents", profiler, ctypes.byref(count))
        events = (ProfilerEvent * count.value)()
        lib.call("LiteRtGetProfilerEvents", profiler, count, events)
        # The names belong to the profiler until its next reset, so they are copied here.
        return [
            RecordedEvent(
                EventKind(event.kind), event.tag.decode(), event.node_index, event.elapsed_us
            )
            for event in events
            if event.kind in _TIMED_KINDS
        ]
