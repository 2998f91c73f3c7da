"""What every test can rely on."""

from __future__ import annotations

import signal

# A job in the background, or under nohup, inherits ignored signals and hands them on to every
# process it starts. Tests of Ctrl-C and of broken links need them to arrive.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
