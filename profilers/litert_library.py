"""The C library of LiteRT: where it is, what it exports, and one environment per process.

The wheel ``ai-edge-litert`` ships ``libLiteRt.so``, whose C API can do what the Python API cannot:
report the time of each operator. The API is not promised to be stable, so that the accepted
versions are bounded and `profilers.litert` tests the library before it trusts it.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import (
    POINTER,
    c_char_p,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from typing import Any, NamedTuple

from profilers.errors import RuntimeUnavailable

DISTRIBUTION = "ai-edge-litert"
REQUIREMENT = f"{DISTRIBUTION}>=2.2,<2.4"
_VERSIONS = ((2, 2), (2, 3))
_REMEDY = f"install it with: pip install '{REQUIREMENT}'"

CPU = 1
READ, WRITE = 0, 1
_MAX_RANK = 8

# Environment options and their values (litert_environment_options.h). Only the CPU accelerator
# is registered: probing for GPUs would load 19 MB of WebGPU and write warnings.
_AUTO_REGISTER_ACCELERATORS = 24
_MIN_LOGGER_SEVERITY = 25
_SEVERITY_ERROR = 3
_ANY_INTEGER = 2

# Two threads that redirect at once would restore each other's file.
_STDERR_LOCK = threading.Lock()

_STATUS_NAMES = {
    1: "invalid argument",
    2: "out of memory",
    3: "runtime failure",
    5: "unsupported",
    6: "not found",
    500: "file input or output",
    501: "invalid flatbuffer",
    504: "compilation",
}


class _Any(ctypes.Structure):
    _fields_ = (("kind", c_int), ("integer", c_int64))


class _EnvironmentOption(ctypes.Structure):
    _fields_ = (("tag", c_int), ("value", _Any))


class TensorType(ctypes.Structure):
    """``LiteRtRankedTensorType``: the element type and the shape of a tensor.

    Attributes:
        rank_bits: The rank in the low 7 bits; the bit above says whether strides are set.
    """

    _fields_ = (
        ("element", c_int),
        ("rank_bits", c_uint32),
        ("dimensions", c_int32 * _MAX_RANK),
        ("strides", c_uint32 * _MAX_RANK),
    )

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions, in the layout of the file."""
        return tuple(self.dimensions[: self.rank_bits & 0x7F])


class _MemoryUsage(ctypes.Structure):
    _fields_ = (("resident_kb", c_size_t), ("allocated_bytes", c_size_t), ("used_bytes", c_size_t))


class ProfilerEvent(ctypes.Structure):
    """``ProfiledEventData``: one interval that the profiler recorded."""

    _fields_ = (
        ("tag", c_char_p),
        ("kind", c_int),
        ("start_us", c_uint64),
        ("elapsed_us", c_uint64),
        ("memory_before", _MemoryUsage),
        ("memory_after", _MemoryUsage),
        ("node_index", c_uint64),
        ("subgraph_index", c_uint64),
        ("source", c_int),
    )


_HANDLE = POINTER(c_void_p)
_SIZE = POINTER(c_size_t)
# Each function that returns a status, with its arguments.
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "LiteRtCreateEnvironment": (c_int, POINTER(_EnvironmentOption), _HANDLE),
    "LiteRtCreateModelFromFile": (c_void_p, c_char_p, _HANDLE),
    "LiteRtGetModelSignature": (c_void_p, c_size_t, _HANDLE),
    "LiteRtGetNumSignatureInputs": (c_void_p, _SIZE),
    "LiteRtGetNumSignatureOutputs": (c_void_p, _SIZE),
    "LiteRtGetSignatureInputTensorByIndex": (c_void_p, c_size_t, _HANDLE),
    "LiteRtGetSignatureOutputTensorByIndex": (c_void_p, c_size_t, _HANDLE),
    "LiteRtGetRankedTensorType": (c_void_p, POINTER(TensorType)),
    "LiteRtCreateOptions": (_HANDLE,),
    "LiteRtSetOptionsHardwareAccelerators": (c_void_p, c_int),
    "LiteRtCreateOpaqueOptions": (c_char_p, c_void_p, c_void_p, _HANDLE),
    "LiteRtAddOpaqueOptions": (c_void_p, c_void_p),
    "LiteRtCreateCompiledModel": (c_void_p, c_void_p, c_void_p, _HANDLE),
    "LiteRtGetCompiledModelInputBufferRequirements": (c_void_p, c_size_t, c_size_t, _HANDLE),
    "LiteRtGetCompiledModelOutputBufferRequirements": (c_void_p, c_size_t, c_size_t, _HANDLE),
    "LiteRtCreateManagedTensorBufferFromRequirements": (
        c_void_p,
        POINTER(TensorType),
        c_void_p,
        _HANDLE,
    ),
    "LiteRtGetTensorBufferPackedSize": (c_void_p, _SIZE),
    "LiteRtLockTensorBuffer": (c_void_p, _HANDLE, c_int),
    "LiteRtUnlockTensorBuffer": (c_void_p,),
    "LiteRtRunCompiledModel": (c_void_p, c_size_t, c_size_t, _HANDLE, c_size_t, _HANDLE),
    "LiteRtCompiledModelGetProfiler": (c_void_p, _HANDLE),
    "LiteRtStartProfiler": (c_void_p,),
    "LiteRtStopProfiler": (c_void_p,),
    "LiteRtResetProfiler": (c_void_p,),
    "LiteRtGetNumProfilerEvents": (c_void_p, POINTER(c_int)),
    "LiteRtGetProfilerEvents": (c_void_p, c_int, POINTER(ProfilerEvent)),
}
_DESTRUCTORS = (
    "LiteRtDestroyModel",
    "LiteRtDestroyOptions",
    "LiteRtDestroyCompiledModel",
    "LiteRtDestroyTensorBuffer",
)


class CallFailed(Exception):
    """A function of the library returned a status other than success.

    Stays inside the package: translated where the path of the model is known.
    """

    def __init__(self, function: str, status: int) -> None:
        super().__init__(f"{function}: {_STATUS_NAMES.get(status, 'error')} (status {status})")


class RuntimeIdentity(NamedTuple):
    """Which runtime measured: two runtimes are the same only when all three agree."""

    name: str
    version: str
    sha256: str


class Library:
    """The loaded library with one environment, shared by all models of this process."""

    def __init__(self, path: Path) -> None:
        try:
            self._functions = ctypes.CDLL(str(path))
        except OSError as error:
            raise RuntimeUnavailable(f"{path} does not load ({error}); {_REMEDY}") from error
        for name in (*_FUNCTIONS, *_DESTRUCTORS):
            if not hasattr(self._functions, name):
                raise RuntimeUnavailable(f"{path} exports no {name}; {_REMEDY}")
            function = getattr(self._functions, name)
            function.argtypes = _FUNCTIONS.get(name, (c_void_p,))
            function.restype = c_int if name in _FUNCTIONS else None
        options = (_EnvironmentOption * 2)(
            _EnvironmentOption(_AUTO_REGISTER_ACCELERATORS, _Any(_ANY_INTEGER, CPU)),
            _EnvironmentOption(_MIN_LOGGER_SEVERITY, _Any(_ANY_INTEGER, _SEVERITY_ERROR)),
        )
        try:
            self.environment = self.create("LiteRtCreateEnvironment", len(options), options)
        except CallFailed as error:
            raise RuntimeUnavailable(f"{path} creates no environment ({error})") from error

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function that returns a status.

        Raises:
            CallFailed: The status is not success.
        """
        status = getattr(self._functions, function)(*arguments)
        if status != 0:
            raise CallFailed(function, status)

    def create(self, function: str, *arguments: Any) -> c_void_p:
        """Call a function whose last argument receives a handle, and return the handle."""
        handle = c_void_p()
        self.call(function, *arguments, ctypes.byref(handle))
        return handle

    def count(self, function: str, handle: c_void_p) -> int:
        """Call a function whose last argument receives a size, and return the size."""
        size = c_size_t()
        self.call(function, handle, ctypes.byref(size))
        return size.value

    def destroy(self, function: str, handle: c_void_p) -> None:
        """Free a handle."""
        getattr(self._functions, function)(handle)


@functools.cache
def library() -> Library:
    """Load LiteRT once per process.

    Raises:
        RuntimeUnavailable: LiteRT is missing, of another version, or does not load.
    """
    _installed_version()
    return Library(_library_path())


@functools.cache
def runtime_identity() -> RuntimeIdentity:
    """Name, version and hash of the library that measures, hashed once per process.

    Raises:
        RuntimeUnavailable: LiteRT is missing or of another version.
    """
    version = _installed_version()
    digest = hashlib.sha256(_library_path().read_bytes()).hexdigest()
    return RuntimeIdentity("litert", version, digest)


@contextmanager
def captured_stderr() -> Iterator[list[str]]:
    """Collect what C code writes to standard error; the list holds the text afterwards.

    LiteRT writes the reason of a failure there and returns only a number. Meanwhile nothing
    that another thread writes to standard error is seen: keep the block short.
    """
    text: list[str] = []
    with _STDERR_LOCK:
        saved = os.dup(2)
        try:
            with tempfile.TemporaryFile() as file:
                os.dup2(file.fileno(), 2)
                try:
                    yield text
                finally:
                    os.dup2(saved, 2)
                    file.seek(0)
                    text.append(file.read().decode(errors="replace"))
        finally:
            os.close(saved)


def _installed_version() -> str:
    try:
        version = importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError as error:
        raise RuntimeUnavailable(f"{DISTRIBUTION} is not installed; {_REMEDY}") from error
    number = re.match(r"(\d+)\.(\d+)", version)
    if number is None or (int(number[1]), int(number[2])) not in _VERSIONS:
        raise RuntimeUnavailable(
            f"{DISTRIBUTION} {version} is installed, whose C API is not known here; {_REMEDY}"
        )
    return version


def _library_path() -> Path:
    spec = importlib.util.find_spec("ai_edge_litert")
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        path = Path(folder) / "libLiteRt.so"
        if path.is_file():
            return path
    raise RuntimeUnavailable(
        f"{DISTRIBUTION} has no libLiteRt.so in {', '.join(folders) or 'any folder'}: "
        "its wheel is damaged or made for a system other than Linux; reinstall it"
    )
