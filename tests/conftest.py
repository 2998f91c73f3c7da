"""What every test can rely on."""

from __future__ import annotations

import signal

# A job started in the background inherits an ignored SIGINT; tests of Ctrl-C, and the processes
# that they start, need Python's own handling of it.
signal.signal(signal.SIGINT, signal.default_int_handler)
