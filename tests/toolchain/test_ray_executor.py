from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray_cluster import HERE, pids_with, ray_cluster
from small_run import make_task, start

from toolchain import pipeline, ray_connection
from toolchain.errors import ClusterUnusable
from toolchain.ray_executor import RayExecutor


def journal_of_search(path: Path, ray: str | None, on_candidate: Callable[[Any], None]) -> bytes:
    """The journal of a search with one worker, without processor times."""
    run, config, appraiser = start(path, "random")
    pipeline.search(
        run, config, appraiser, make_task(), workers=1, ray=ray, on_candidate=on_candidate
    )
    journal = (run.path / "candidates.jsonl").read_bytes()
    assert journal.count(b'"cpu_s"') == journal.count(b"\n") == 9
    return re.sub(rb'"cpu_s": ?[0-9.]+', b"", journal)


def kill_workers() -> int:
    """Kill the cluster's workers; how many."""
    killed = 0
    for pid in pids_with("POCKETNAS_CLUSTER"):
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::_IntroducedServer"):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


@pytest.mark.ray
def test_a_search_on_a_cluster_keeps_the_journal_of_a_local_one_even_if_a_worker_is_killed(
    cluster: str, tmp_path: Path
) -> None:
    told: list[Any] = []
    killed = 0

    def kill_after_three(candidate: Any) -> None:
        nonlocal killed
        told.append(candidate)
        if len(told) == 3:
            killed = kill_workers()

    remotely = journal_of_search(tmp_path / "ray", cluster, kill_after_three)
    assert killed == 1
    assert remotely == journal_of_search(tmp_path / "local", None, told.append)


DRIVER = """
import sys
from functools import partial
import executor_jobs
from toolchain.errors import ToolchainError
from toolchain.executors import make_executor

try:
    with make_executor(partial(executor_jobs.load, 1), workers=1, ray=sys.argv[1]) as executor:
        print(list(executor.map(executor_jobs.die_once, [(sys.argv[2], 2)])))
except ToolchainError as error:
    print(type(error).__name__, error)
"""


def drive(address: str, tmp_path: Path, before: str = "") -> str:
    """What a program of its own prints, which is nothing on stderr."""
    path = [tmp_path / "more", HERE, HERE.parents[1]]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", before + DRIVER, address, str(tmp_path)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "POCKETNAS_PARENT": str(tmp_path),
        },
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


@pytest.mark.ray
def test_a_local_ray_is_silent_and_ends_with_the_block(tmp_path: Path) -> None:
    assert drive("local", tmp_path) == "[(0, 4)]\n"
    assert (tmp_path / "died").exists()
    assert not pids_with(str(tmp_path))


@pytest.mark.ray
def test_a_cluster_with_another_version_is_refused(cluster: str, tmp_path: Path) -> None:
    folder = tmp_path / "more" / "pocketnas-99.9.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: pocketnas\nVersion: 99.9\n")
    answer = drive(cluster, tmp_path)
    assert answer.startswith(f"ClusterUnusable {os.uname().nodename} of the Ray cluster at ")
    assert " instead of 99.9: results would not be comparable" in answer


@pytest.mark.ray
def test_workers_that_cannot_import_what_they_need_are_told_of(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def load(): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    load: Callable[[], None] = __import__("only_here").load
    with (
        RayExecutor(cluster, load) as executor,
        pytest.raises(ClusterUnusable, match=r"do not start .* No module named 'only_here'"),
    ):
        list(executor.map(abs, [1]))


@pytest.mark.ray
def test_a_process_is_connected_once(cluster: str) -> None:
    with RayExecutor(cluster), pytest.raises(ClusterUnusable, match="connected to Ray already"):
        RayExecutor(cluster).__enter__()


@pytest.mark.ray
def test_a_cluster_without_cpus_is_refused_and_left_as_it_was() -> None:
    on_sigterm = signal.getsignal(signal.SIGTERM)
    with (
        ray_cluster(cpus=0) as address,
        pytest.raises(ClusterUnusable, match="has no CPU for workers: add a computer"),
    ):
        RayExecutor(address).__enter__()
    assert signal.getsignal(signal.SIGTERM) == on_sigterm


def test_an_address_that_nobody_answers_is_told_of_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_connection, "REACH_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ClusterUnusable, match=f"at {address}: no Ray answers in 2 s"):
            RayExecutor(address).__enter__()
    with pytest.raises(ClusterUnusable, match=f"{address}: .*refused; `ray status --address"):
        RayExecutor(address).__enter__()


@pytest.mark.ray
def test_another_token_than_the_clusters_is_told_of(
    cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_connection, "REACH_S", 6.0)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    with pytest.raises(ClusterUnusable, match="its token is missing here or another"):
        RayExecutor(cluster).__enter__()


@pytest.mark.parametrize("address", ["", "head", "ray://head:10001", "head:port", "head:65536"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is no address of a Ray cluster: give host:port"):
        RayExecutor(address)


def test_without_ray_the_extra_is_named(tmp_path: Path) -> None:
    answer = drive("local", tmp_path, before="import sys; sys.modules['ray'] = None\n")
    assert answer == (
        "ExtraMissing a Ray cluster needs packages that are not installed: "
        "pip install 'pocketnas[ray]'\n"
    )
