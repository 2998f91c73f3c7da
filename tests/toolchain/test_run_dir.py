from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from toolchain.errors import RunUnusable
from toolchain.run_dir import CONFIG, LOCK, TABLE, RunDirectory

CONFIGURATION: dict[str, Any] = {
    "task": "fashion-mnist",
    "space": {"name": "shrinkcnn", "settings": {"nodes": 8, "pools": (1, 2, 2)}},
    "budget": None,
    "seed": 0,
    "versions": {"torch": "2.9.0"},
}
REPOSITORY = Path(__file__).parents[2]
JOURNAL = "candidates.jsonl"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "runs" / "one", CONFIGURATION, resume=False)


def resume(run: RunDirectory, **changes: Any) -> RunDirectory:
    return RunDirectory.create(run.path, {**CONFIGURATION, **changes}, resume=True)


def test_a_new_run_holds_its_configuration(run: RunDirectory) -> None:
    assert run.config == json.loads(json.dumps(CONFIGURATION))
    assert RunDirectory.open(run.path).config == run.config
    assert [file.name for file in run.path.iterdir()] == [CONFIG]


def test_an_empty_folder_becomes_a_run(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path, CONFIGURATION, resume=False)
    assert RunDirectory.open(tmp_path).config["seed"] == 0


def test_a_run_is_gone_on_with_only_on_request(run: RunDirectory) -> None:
    with pytest.raises(RunUnusable, match="already holds a run; add --resume"):
        RunDirectory.create(run.path, CONFIGURATION, resume=False)
    assert resume(run).config == run.config


def test_resume_with_other_settings_lists_every_difference(run: RunDirectory) -> None:
    space = {"name": "shrinkcnn", "settings": {"nodes": 6, "pools": (1, 2, 2)}}
    with pytest.raises(RunUnusable) as caught:
        resume(run, space=space, seed=1, budget={"limit_ms": 2.5})
    message = str(caught.value)
    assert "space.settings.nodes was 8, now 6" in message
    assert "seed was 0, now 1" in message
    assert "budget.limit_ms was None, now 2.5" in message
    assert "pools" not in message
    assert "task" not in message
    assert "choose another folder" in message


def test_resume_under_other_versions_is_no_difference(run: RunDirectory) -> None:
    assert resume(run, versions={"torch": "3.0"}).config["versions"] == {"torch": "2.9.0"}


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("my only copy")
    for is_resumed in (False, True):
        with pytest.raises(RunUnusable, match="exists and is no run; choose another folder"):
            RunDirectory.create(tmp_path, CONFIGURATION, resume=is_resumed)
    with pytest.raises(RunUnusable, match="exists and is no run"):
        RunDirectory.create(tmp_path / "thesis.tex", CONFIGURATION, resume=False)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunUnusable, match="cannot make the run folder"):
        RunDirectory.create(tmp_path / "file" / "run", CONFIGURATION, resume=False)


def test_only_a_run_is_opened(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RunUnusable, match=r"is no run: it has no config.json"):
            RunDirectory.open(path)


HOLD = """
    import sys
    from pathlib import Path
    from toolchain.run_dir import RunDirectory
    with RunDirectory.open(Path(sys.argv[1])).locked():
        print("held", flush=True)
        sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_ends_or_is_killed(run: RunDirectory) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), str(run.path)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        for _ in range(2):
            with (
                pytest.raises(RunUnusable, match=f"in use by process {holder.pid};"),
                run.locked(),
            ):
                pytest.fail("two processes in one run")
        holder.kill()
    with run.locked():
        assert (run.path / LOCK).read_text() == str(os.getpid())
    with run.locked():
        pass


def test_the_lock_alone_does_not_make_a_folder_a_run(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()
    RunDirectory.create(tmp_path, CONFIGURATION, resume=False)


def test_what_was_impossible_is_forgotten_but_nothing_that_was_found(run: RunDirectory) -> None:
    def fail() -> None:
        with run.locked(), run.forgotten_on_failure():
            raise ValueError("impossible")

    run.write_text(TABLE, "a table")
    run.append(JOURNAL, {"genotype": "s0"})
    with pytest.raises(ValueError, match="impossible"):
        fail()
    assert run.has(CONFIG)
    (run.path / JOURNAL).unlink()
    with pytest.raises(ValueError, match="impossible"):
        fail()
    other = RunDirectory.create(run.path, {**CONFIGURATION, "seed": 9}, resume=False)
    assert other.config["seed"] == 9
    assert not other.has(TABLE)


def test_an_interrupted_run_is_not_forgotten(run: RunDirectory) -> None:
    with pytest.raises(KeyboardInterrupt), run.forgotten_on_failure():
        raise KeyboardInterrupt
    assert run.has(CONFIG)


def test_json_is_written_whole_and_read_back(run: RunDirectory) -> None:
    run.write_json("search.json", {"best": "s0", "score": 0.1 + 0.2})
    assert run.read_json("search.json") == {"best": "s0", "score": 0.1 + 0.2}
    assert run.has("search.json")
    assert not run.has("test.json")


@pytest.mark.parametrize("content", [None, "", "{", "\udc80"])
def test_json_that_is_absent_or_damaged_is_an_error(
    run: RunDirectory, content: str | None
) -> None:
    if content is not None:
        (run.path / "search.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(RunUnusable, match=r"cannot read .*search.json"):
        run.read_json("search.json")


@contextmanager
def no_room() -> Iterator[None]:
    """Files of this process can hold 8 bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(run: RunDirectory) -> None:
    run.write_json("search.json", {"best": "s0"})
    failure = pytest.raises(RunUnusable, match=r"cannot write .*search.json.*too large")
    with no_room(), failure:
        run.write_json("search.json", {"best": "s0.s0"})
    assert run.read_json("search.json") == {"best": "s0"}
    assert {file.name for file in run.path.iterdir()} == {CONFIG, "search.json"}


def test_a_run_that_could_not_be_made_can_be_made_later(tmp_path: Path) -> None:
    with no_room(), pytest.raises(RunUnusable, match="too large"):
        RunDirectory.create(tmp_path, CONFIGURATION, resume=False)
    RunDirectory.create(tmp_path, CONFIGURATION, resume=False)


def test_a_full_disk_while_appending_is_an_error(run: RunDirectory) -> None:
    (run.path / JOURNAL).symlink_to("/dev/full")  # where every disk is full
    with pytest.raises(RunUnusable, match=r"cannot write .*candidates.jsonl.*No space left"):
        run.append(JOURNAL, {"genotype": "s0"})


def test_lines_are_read_back_in_order(run: RunDirectory) -> None:
    assert run.records(JOURNAL) == []
    records = [{"genotype": "s0", "metric": 0.1 + 0.2}, {"text": "line\nbreak \u2028 é"}, {}]
    for record in records:
        run.append(JOURNAL, record)
    assert run.records(JOURNAL) == records


def test_a_line_torn_anywhere_is_left_out_and_the_next_one_stands_on_its_own(
    run: RunDirectory,
) -> None:
    first, torn, after = {"n": 1}, {"genotype": "s0.c01", "metric": 0.25}, {"n": 3}
    whole = len(json.dumps(torn))
    for kept in range(whole + 1):
        (run.path / JOURNAL).unlink(missing_ok=True)
        run.append(JOURNAL, first)
        start = (run.path / JOURNAL).stat().st_size
        run.append(JOURNAL, torn)
        os.truncate(run.path / JOURNAL, start + kept)
        expected = [first, torn] if kept == whole else [first]
        assert run.records(JOURNAL) == expected
        run.append(JOURNAL, after)
        assert run.records(JOURNAL) == [*expected, after]


def test_lines_that_are_no_records_are_left_out(run: RunDirectory) -> None:
    (run.path / JOURNAL).write_bytes(b'{"n": 1}\n3\nnull\n[1]\n\n\x00\x00\n{"n": 2}\n')
    assert run.records(JOURNAL) == [{"n": 1}, {"n": 2}]
