"""Tests in `inside` run in the guest, not here; see test_usb_guest.py."""

from __future__ import annotations

import sys
from pathlib import Path

# the rigs' own modules, in any import mode
sys.path.insert(0, str(Path(__file__).parents[1] / "phone"))
sys.path.insert(0, str(Path(__file__).parent))

collect_ignore = ["inside"]
