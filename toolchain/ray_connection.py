"""This process's connection to a Ray cluster: made, refused in words, and undone without a trace.

Connecting may end a process where it fails (seen in Ray 2.60: with SIGTERM after two minutes
without an answer, with a crash on a computer outside the cluster), so another one tries it first.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

from toolchain.errors import ClusterUnusable, ExtraMissing
from toolchain.worker_pool import environment

# Ray prints on stdout that a worker died, whatever it is told. The executor retries or says so.
QUIET = {"RAY_DEDUP_LOGS_SKIP_REGEX": "."}
try:
    with environment(QUIET):
        import ray
        from ray.exceptions import RayError
except ModuleNotFoundError:
    raise ExtraMissing("a Ray cluster", "ray") from None

LOCAL = "local"
AUTO = "auto"
REACH_S = 20.0
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


def require_address(text: str) -> None:
    """Check what can be checked without a network.

    Raises:
        ValueError: The text is neither host:port nor "auto" nor "local".
    """
    found = re.fullmatch(r"[^\s/:]+:(\d{1,5})", text)
    if text not in (LOCAL, AUTO) and (found is None or int(found[1]) > 65535):
        raise ValueError(
            f"{text!r} is no address of a Ray cluster: give host:port (of its head, mostly port "
            "6379), auto or local"
        )


@contextlib.contextmanager
def connected(address: str, workers: int | None) -> Iterator[None]:
    """Connect this process, and leave it as it was: Ray changes its environment and SIGTERM.

    Args:
        address: Of the cluster, see `require_address`; "local" starts one, for the block.
        workers: CPUs that a local cluster gets; None for those of this computer.

    Raises:
        ClusterUnusable: It cannot be reached, or this process is connected already.
    """
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
    """Find out in another process: Ray ends the one that cannot connect, at times late."""
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
        return last_line(said)
    return None


def last_line(text: str) -> str:
    """Where a traceback says what happened."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "it does not say why"
