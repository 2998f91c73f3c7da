"""Where fetched, extracted and decoded data sets are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the cache folder: `$POCKETNAS_CACHE`, or `~/.cache/pocketnas`."""
    return Path(os.environ.get("POCKETNAS_CACHE") or "~/.cache/pocketnas").expanduser()
