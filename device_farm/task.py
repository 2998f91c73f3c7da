"""A call in a thread of its own, which nobody has to wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_Value = TypeVar("_Value")


def start(call: Callable[[], _Value]) -> Future[_Value]:
    """Run `call` in a thread; the future gives what it returns or raises.

    Unlike the threads of a pool, this one does not keep the process alive: a phone that hangs
    must not hold up the end of a program that has stopped waiting for it.
    """
    future: Future[_Value] = Future()

    def run() -> None:
        try:
            value = call()
        except BaseException as error:  # noqa: BLE001 - handed over, Future.result raises it
            future.set_exception(error)
        else:
            future.set_result(value)

    threading.Thread(target=run, daemon=True).start()
    return future
