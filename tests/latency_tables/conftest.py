"""Tables as a profile leaves them, and a disk that is nearly full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from latency_tables.calibrate import Calibration
from latency_tables.kernel import make_kernel
from latency_tables.table import KernelLatency, LatencyTable
from latency_tables.target import Target

MakeTable = Callable[..., LatencyTable]


@pytest.fixture
def target() -> Target:
    return Target(
        device="Pixel 8",
        fingerprint="google/shiba/shiba:14/UD1A/1:user/release-keys",
        soc="Tensor G3",
        abi="arm64-v8a",
        runtime="litert",
        runtime_version="2.3.0",
        runtime_sha256="ab12" * 16,
    )


@pytest.fixture
def make_table(target: Target) -> MakeTable:
    def make(rows: int = 12, *, calibrated: bool = True) -> LatencyTable:
        kernels = [
            make_kernel(
                "conv2d",
                ((1, 8, 8, 4 * width),),
                (1, 8, 8, 8),
                {"kernel": "1x1", "stride": "1x1", "padding": "same"},
                "relu",
            )
            for width in range(1, rows + 1)
        ]
        fit = Calibration(
            overhead_ms=0.011,
            scale=0.97,
            per_kernel_ms=0.0004,
            p95_ratio=1.0625,
            median_error=0.008,
            worst_error=0.04,
            networks=40,
        )
        return LatencyTable(
            target=target,
            rows={
                kernel: KernelLatency(
                    median_ms=0.1 / 3 * number,
                    iqr_ms=0.001,
                    p95_ms=0.1 / 3 * number + 0.002,
                    samples=90,
                    contexts=9,
                )
                for number, kernel in enumerate(kernels, start=1)
            },
            settings={"sessions": 3, "space": "shrinkcnn", "load": 0.4},
            calibration=fit if calibrated else None,
        )

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"this machine mounts no small file system: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
