"""`make phone`: one stand-in phone to try every command on, until Ctrl-C."""

from __future__ import annotations

import logging
import signal
import sys

import rig_benchmark
from rig_image import RigUnavailable, build_image
from rig_phone import StandInPhone

_GREETING = """\
A stand-in phone answers at {serial}. Its benchmark_model is
  {binary}
Try, in another terminal:
  pocketnas devices --device {serial}
  pocketnas profile --device {serial} --benchmark-binary {binary} \\
    --task fashion-mnist -o phone.table
  pocketnas zoo export shrinkcnn-a -o net.tflite
  pocketnas benchmark net.tflite --device {serial} --benchmark-binary {binary}
Heat, battery, settings and failures are files in {state};
tests/phone/rig_state.py and tests/phone/benchmark_model/main.c say which.
Ctrl-C stops the phone."""


def main() -> None:
    """Run a phone in the foreground.

    Raises:
        RigUnavailable: This machine or user cannot.
    """
    build_image()
    binary = rig_benchmark.build()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A shell starts background jobs with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with StandInPhone() as phone:
        greeting = _GREETING.format(serial=phone.serial, binary=binary, state=phone.state)
        try:
            logging.info("%s", greeting)
            signal.pause()
        except KeyboardInterrupt:
            logging.info("\nThe phone is off.")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        main()
    except RigUnavailable as reason:
        sys.exit(f"no stand-in phone here: {reason}")
    except KeyboardInterrupt:
        sys.exit(130)
