from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profilers.errors import (
    JournalBroken,
    JournalExists,
    JournalInUse,
    JournalMismatch,
    JournalNotWritten,
)
from profilers.journal import Journal

IDENTITY = {"target": "host/litert-2.3.0", "space": "swiftnet", "settings": "runs=30"}

WRITER = """
import sys
from profilers.journal import Journal
with Journal.open(sys.argv[1], {"target": "host"}, resume=True) as journal:
    for session in range(journal.count(), 1_000_000):
        journal.record("net", session, {"samples_ms": [session * 0.5] * 50})
        print(session, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "profile.journal"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_rows_come_back_in_the_order_of_recording(path: Path) -> None:
    payload = {"samples_ms": [1.5, 2.25], "celsius": None, "load": {"1min": 0.5}, "name": "é"}
    with Journal.open(path, IDENTITY, resume=False) as journal:
        journal.record("b", 0, payload)
        journal.record("a", 1, {})
        journal.record("a", 0, {})
    with Journal.open(path, IDENTITY, resume=True) as journal:
        rows = list(journal.rows())
        assert [(row.subject, row.session) for row in rows] == [("b", 0), ("a", 1), ("a", 0)]
        assert rows[0].payload == payload
        assert journal.count() == 3
        assert journal.has("a", 1)
        assert not journal.has("b", 1)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=st.dictionaries(st.text(max_size=8), json_values, max_size=4))
def test_every_json_payload_survives(tmp_path: Path, payload: dict[str, object]) -> None:
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.journal"
    with Journal.open(path, {}, resume=False) as journal:
        journal.record("net", 0, payload)  # type: ignore[arg-type]
        (row,) = journal.rows()
    assert row.payload == payload


def test_a_journal_is_not_overwritten_without_resume(path: Path) -> None:
    Journal.open(path, IDENTITY, resume=False).close()
    with pytest.raises(JournalExists, match="--resume"):
        Journal.open(path, IDENTITY, resume=False)


def test_resuming_nothing_starts_a_journal(path: Path) -> None:
    with Journal.open(path, IDENTITY, resume=True) as journal:
        assert journal.count() == 0


def test_another_identity_is_refused_naming_the_fields_that_differ(path: Path) -> None:
    Journal.open(path, IDENTITY, resume=False).close()
    other = {"target": "host/litert-2.2.0", "space": "swiftnet", "cpus": "f0"}
    with pytest.raises(JournalMismatch) as caught:
        Journal.open(path, other, resume=True)
    message = str(caught.value)
    assert "target was 'host/litert-2.3.0', now 'host/litert-2.2.0'" in message
    assert "cpus was None, now 'f0'" in message
    assert "settings was 'runs=30', now None" in message
    assert "swiftnet" not in message


def test_the_same_measurement_is_not_recorded_twice(path: Path) -> None:
    with Journal.open(path, IDENTITY, resume=False) as journal:
        journal.record("net", 0, {"ms": 1})
        with pytest.raises(ValueError, match="session 0 of 'net'"):
            journal.record("net", 0, {"ms": 2})
        assert [row.payload for row in journal.rows()] == [{"ms": 1}]


def test_not_a_number_is_not_recorded(path: Path) -> None:
    with Journal.open(path, IDENTITY, resume=False) as journal:
        with pytest.raises(ValueError, match="JSON compliant"):
            journal.record("net", 0, {"ms": float("nan")})
        assert journal.count() == 0


def test_only_one_process_may_open_it_and_the_error_names_the_other(path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(JournalInUse, match=f"process {process.pid} "):
            Journal.open(path, {"target": "host"}, resume=True)
        process.kill()


def test_a_refused_open_leaves_the_lock_to_its_holder_and_close_releases_it(path: Path) -> None:
    first = Journal.open(path, IDENTITY, resume=False)
    for _ in range(2):
        with pytest.raises(JournalInUse, match=f"process {os.getpid()} "):
            Journal.open(path, IDENTITY, resume=True)
    first.close()
    first.close()
    Journal.open(path, IDENTITY, resume=True).close()


def test_kill_loses_no_row_that_was_recorded(path: Path) -> None:
    acknowledged = -1
    for lines in (7, 23, 1):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout is not None
            for _ in range(lines):
                acknowledged = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().split()
            acknowledged = int(rest[-1]) if rest else acknowledged
        with Journal.open(path, {"target": "host"}, resume=True) as journal:
            rows = list(journal.rows())
        assert [row.session for row in rows] == list(range(len(rows)))
        assert all(row.payload["samples_ms"] == [row.session * 0.5] * 50 for row in rows)
        # The one in flight may be there or not.
        assert acknowledged + 1 <= len(rows) <= acknowledged + 2


@pytest.mark.parametrize(
    "content",
    [b"not a database, but long enough to hold a header" * 50, b"\0" * 4096],
    ids=["text", "zeros"],
)
def test_a_file_that_is_no_database_is_refused_and_kept(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(JournalBroken, match="another path"):
        Journal.open(path, IDENTITY, resume=True)
    assert path.read_bytes() == content


def test_a_database_of_another_program_is_refused_and_kept(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE photo (name TEXT)")
    connection.close()
    with pytest.raises(JournalBroken, match="another program"):
        Journal.open(path, IDENTITY, resume=True)


def test_a_newer_format_is_refused(path: Path) -> None:
    Journal.open(path, IDENTITY, resume=False).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(JournalBroken, match="update pocketnas"):
        Journal.open(path, IDENTITY, resume=True)


def test_damaged_pages_are_refused(path: Path) -> None:
    with Journal.open(path, IDENTITY, resume=False) as journal:
        for session in range(200):
            journal.record("net", session, {"samples_ms": [1.0] * 50})
    content = bytearray(path.read_bytes())
    content[4096 * 2 :] = b"\xff" * (len(content) - 4096 * 2)
    path.write_bytes(content)
    with pytest.raises(JournalBroken, match="damaged"):
        Journal.open(path, IDENTITY, resume=True)


def test_damaged_payloads_are_refused(path: Path) -> None:
    with Journal.open(path, IDENTITY, resume=False) as journal:
        journal.record("net", 0, {"samples_ms": [1.0]})
    path.write_bytes(path.read_bytes().replace(b'{"samples_ms"', b'{"samples_m\xff"'))
    with (
        Journal.open(path, IDENTITY, resume=True) as journal,
        pytest.raises(JournalBroken, match="damaged"),
    ):
        list(journal.rows())


def test_a_full_database_loses_nothing_and_says_what_to_do(path: Path) -> None:
    with Journal.open(path, IDENTITY, resume=False) as journal:
        journal._connection.execute("PRAGMA max_page_count = 12")
        written = record_until_full(journal)
        journal.record("small", 0, {})
    with Journal.open(path, IDENTITY, resume=True) as journal:
        assert [row.session for row in journal.rows()] == [*range(written), 0]


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    path = small_disk / "profile.journal"
    with Journal.open(path, IDENTITY, resume=False) as journal:
        written = record_until_full(journal)
    with Journal.open(path, IDENTITY, resume=True) as journal:
        assert [row.session for row in journal.rows()] == list(range(written))


def record_until_full(journal: Journal) -> int:
    sessions = iter(range(10_000))
    with pytest.raises(JournalNotWritten, match=r"full.*--resume"):
        deque(
            (journal.record("net", session, {"text": "x" * 2000}) for session in sessions),
            maxlen=0,
        )
    written = next(sessions) - 1
    assert written > 0
    return written


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalNotWritten, match="No such file or directory"):
        Journal.open(tmp_path / "missing" / "profile.journal", IDENTITY, resume=False)


def test_a_creation_that_was_interrupted_is_started_again(path: Path) -> None:
    path.touch()
    with Journal.open(path, IDENTITY, resume=False) as journal:
        journal.record("net", 0, {})
        assert journal.count() == 1
