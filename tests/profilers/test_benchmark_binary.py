from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import resource
import shutil
import socket
import ssl
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from file_server import FileServer

from profilers.benchmark_binary import BenchmarkBinary, find_benchmark_binary
from profilers.download import DownloadLimits
from profilers.elf import require_abi
from profilers.errors import BinaryUnavailable, BinaryUnusable

HOST_PROGRAM = Path("/bin/true").resolve()
VERSION = importlib.metadata.version("ai-edge-litert")
REMEDY = "--benchmark-binary FILE"
AARCH64 = 183


def for_machine(machine: int) -> bytes:
    """A real executable of this machine that claims to be another's."""
    content = bytearray(HOST_PROGRAM.read_bytes())
    struct.pack_into("<H", content, 18, machine)
    return bytes(content)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POCKETNAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("POCKETNAS_BENCHMARK_URL", raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path / "cache"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        server.served.body = for_machine(AARCH64)
        yield server


def fetch(server: FileServer, **limits: float) -> BenchmarkBinary:
    return find_benchmark_binary(
        "arm64-v8a",
        base_url=server.url,
        limits=DownloadLimits(**limits),  # type: ignore[arg-type]
    )


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# A file of the user's


@pytest.mark.skipif(for_machine(62) != HOST_PROGRAM.read_bytes(), reason="not x86-64")
def test_a_file_of_this_machine_fits_a_phone_of_its_kind_only() -> None:
    binary = find_benchmark_binary("x86_64", path=HOST_PROGRAM)
    assert binary.sha256 == hashlib.sha256(HOST_PROGRAM.read_bytes()).hexdigest()
    assert (binary.version, binary.source) == ("unknown", "file")
    with pytest.raises(BinaryUnusable, match=r"x86-64 \(64-bit.*arm64-v8a.*AArch64 \(64-bit"):
        find_benchmark_binary("arm64-v8a", path=HOST_PROGRAM)
    with pytest.raises(BinaryUnusable, match=r"armeabi-v7a, which is ARM \(32-bit"):
        find_benchmark_binary("armeabi-v7a", path=HOST_PROGRAM)


@pytest.mark.parametrize(
    ("offset", "value", "said"),
    [(4, 1, "32-bit"), (5, 2, "big-endian"), (18, 40, "ARM"), (18, 99, "machine 99")],
)
def test_each_field_of_the_header_counts(
    tmp_path: Path, offset: int, value: int, said: str
) -> None:
    content = bytearray(for_machine(AARCH64))
    path = tmp_path / "program"
    path.write_bytes(content)
    require_abi(path, "arm64-v8a")
    content[offset] = value
    path.write_bytes(content)
    with pytest.raises(BinaryUnusable, match=said):
        require_abi(path, "arm64-v8a")


@pytest.mark.parametrize("content", [b"", b"\x7fELF\x02\x01", b"<html>", b"PK\x03\x04" * 9])
def test_what_is_no_executable_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "program"
    path.write_bytes(content)
    with pytest.raises(BinaryUnusable, match="is no executable for Android"):
        find_benchmark_binary("arm64-v8a", path=path)


@pytest.mark.parametrize("lacking", [1, 5000])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, lacking: int) -> None:
    path = tmp_path / "program"
    path.write_bytes(for_machine(AARCH64)[:-lacking])
    with pytest.raises(BinaryUnusable, match="is cut short"):
        find_benchmark_binary("arm64-v8a", path=path)


def test_a_script_of_the_users_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "wrapper"
    path.write_text("#!/system/bin/sh\nexec ./ld.so ./benchmark_model\n")
    assert find_benchmark_binary("arm64-v8a", path=path).path == path


def test_a_missing_file_and_a_strange_phone_are_named(tmp_path: Path) -> None:
    with pytest.raises(BinaryUnavailable, match=r"cannot read .*absent.*No such file"):
        find_benchmark_binary("arm64-v8a", path=tmp_path / "absent")
    with pytest.raises(BinaryUnavailable, match="Is a directory"):
        find_benchmark_binary("arm64-v8a", path=tmp_path)
    with pytest.raises(BinaryUnusable, match=r"'mips.*x1b' is not known"):
        find_benchmark_binary("mips\x1b", path=HOST_PROGRAM)


# The network and the cache


def test_a_fetched_file_is_recorded_and_kept(server: FileServer, cache: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    binary = find_benchmark_binary(
        "arm64-v8a", base_url=server.url + "/", progress=lambda *at: seen.append(at)
    )
    body = server.served.body
    assert server.served.requests == [(f"/{VERSION}/android_arm64/benchmark_model", None)]
    assert binary.path.read_bytes() == body
    assert binary.path.stat().st_mode & 0o777 == 0o755
    assert seen == sorted(seen)
    assert seen[-1] == (len(body), len(body))
    assert json.loads(binary.path.with_name("benchmark_model.json").read_text()) == {
        "schema": 1,
        "url": f"{server.url}/{VERSION}/android_arm64/benchmark_model",
        "version": VERSION,
        "size_bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    assert fetch(server) == binary
    assert len(server.served.requests) == 1
    assert files_in(cache) == ["benchmark_model", "benchmark_model.json"]


def test_the_address_may_come_from_the_environment(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETNAS_BENCHMARK_URL", server.url)
    assert find_benchmark_binary("arm64-v8a").source.startswith(server.url)


@pytest.mark.parametrize("damage", ["changed", "cut", "record gone", "record broken"])
def test_what_changed_in_the_cache_is_fetched_anew(server: FileServer, damage: str) -> None:
    binary = fetch(server)
    record = binary.path.with_name("benchmark_model.json")
    match damage:
        case "changed":
            binary.path.write_bytes(server.served.body + b"x")
        case "cut":
            binary.path.write_bytes(server.served.body[:100])
        case "record gone":
            record.unlink()
        case _:
            record.write_bytes(b'[\xff"')
    assert fetch(server) == binary
    assert len(server.served.requests) == 2
    assert binary.path.read_bytes() == server.served.body


def test_two_mirrors_do_not_share_a_place(server: FileServer) -> None:
    with FileServer() as other:
        other.served.body = for_machine(AARCH64) + b"other"
        assert fetch(server).sha256 != fetch(other).sha256
        assert fetch(server).path.read_bytes() == server.served.body


def test_several_processes_may_fetch_at_once(server: FileServer, cache: Path) -> None:
    server.served.pause_s = 0.002
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: fetch(server), range(4)))
    assert len(found) == 1
    assert files_in(cache) == ["benchmark_model", "benchmark_model.json"]


def test_a_redirect_is_followed(server: FileServer) -> None:
    server.served.moved_to = server.url + "/elsewhere"
    assert fetch(server).path.read_bytes() == server.served.body
    assert server.served.requests[-1] == ("/elsewhere", None)


def test_a_file_for_another_cpu_is_refused(server: FileServer) -> None:
    server.served.body = for_machine(62)
    with pytest.raises(BinaryUnusable, match=r"x86-64.*arm64-v8a"):
        fetch(server)


# What goes wrong on the way


def test_what_breaks_off_is_taken_up_where_it_ended(server: FileServer) -> None:
    body = server.served.body
    server.served.cuts = [1000, 5000]
    assert fetch(server).path.read_bytes() == body
    assert [wanted for _, wanted in server.served.requests] == [
        None,
        "bytes=1000-",
        "bytes=6000-",
    ]


def test_without_a_version_of_the_file_it_starts_over(server: FileServer) -> None:
    server.served.etag = None
    server.served.cuts = [1000]
    assert fetch(server).path.read_bytes() == server.served.body
    assert [wanted for _, wanted in server.served.requests] == [None, None]


def test_two_versions_of_the_file_are_not_mixed(server: FileServer) -> None:
    old, new = for_machine(AARCH64) + b"old" * 999, for_machine(AARCH64)
    server.served.bodies = [old, new]
    server.served.cuts = [len(old) - 1]

    def replace_file(received: int, total: int | None) -> None:
        server.served.etag = '"2"'

    binary = find_benchmark_binary("arm64-v8a", base_url=server.url, progress=replace_file)
    assert binary.path.read_bytes() == new


def test_a_link_that_always_breaks_is_given_up(server: FileServer, cache: Path) -> None:
    server.served.cuts = [100] * 4
    total = len(server.served.body)
    with pytest.raises(BinaryUnavailable, match=rf"broke off after 400 of {total} .*{REMEDY}"):
        fetch(server)
    assert len(server.served.requests) == 4
    assert files_in(cache) == []


def test_a_server_that_is_down_for_a_moment_is_asked_again(server: FileServer) -> None:
    server.served.statuses = [503, 200]
    assert fetch(server).path.read_bytes() == server.served.body


@pytest.mark.parametrize(
    ("status", "said"), [(404, "404 Not Found"), (403, "403 Forbidden"), (407, "407 Proxy Auth")]
)
def test_a_refusal_is_told(server: FileServer, cache: Path, status: int, said: str) -> None:
    server.served.status = status
    with pytest.raises(BinaryUnavailable, match=rf"{VERSION}/android_arm64.*{said}.*{REMEDY}"):
        fetch(server)
    assert len(server.served.requests) == 1
    assert files_in(cache) == []


def test_a_page_in_place_of_the_file_is_refused(server: FileServer, cache: Path) -> None:
    server.served.body = b"<!DOCTYPE html><title>Log in</title>"
    with pytest.raises(BinaryUnavailable, match=rf"<!DOCTYPE html>.*login.*{REMEDY}"):
        fetch(server)
    assert files_in(cache) == []


def test_a_link_that_is_too_slow_is_given_up(server: FileServer, cache: Path) -> None:
    server.served.pause_s = 0.1
    with pytest.raises(BinaryUnavailable, match=r"bytes arrived in 0.5 s, which is too slow"):
        fetch(server, total_s=0.5)
    assert files_in(cache) == []


def test_a_link_that_stalls_is_given_up(server: FileServer) -> None:
    server.served.pause_s = 3
    with pytest.raises(BinaryUnavailable, match="timed out"):
        fetch(server, stall_s=0.1)


@pytest.mark.parametrize("is_length_told", [True, False])
def test_a_file_that_is_too_large_is_not_taken(
    server: FileServer, cache: Path, is_length_told: bool
) -> None:
    server.served.is_length_told = is_length_told
    with pytest.raises(BinaryUnavailable, match=r"over (the limit of )?1000"):
        fetch(server, max_bytes=1000)
    assert files_in(cache) == []


def test_a_server_without_lengths_will_do(server: FileServer) -> None:
    server.served.is_length_told = False
    assert fetch(server).path.read_bytes() == server.served.body


def test_a_cut_that_the_network_does_not_show_is_seen(server: FileServer) -> None:
    server.served.is_length_told = False
    server.served.cuts = [20_000]
    with pytest.raises(BinaryUnusable, match="is cut short"):
        fetch(server)
    assert fetch(server).path.read_bytes() == server.served.body


def test_the_checksum_of_the_bucket_is_checked(server: FileServer) -> None:
    right = base64.b64encode(hashlib.md5(server.served.body).digest()).decode()
    server.served.headers = {"x-goog-hash": f"crc32c=AAAAAA==,md5={right}"}
    assert fetch(server).path.read_bytes() == server.served.body
    shutil.rmtree(fetch(server).path.parent)
    wrong = base64.b64encode(bytes(16)).decode()
    server.served.headers = {"x-goog-hash": f"crc32c=AAAAAA==,md5={wrong}"}
    with pytest.raises(BinaryUnavailable, match="differs from the server's checksum"):
        fetch(server)


def test_offline_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(BinaryUnavailable, match=rf"Connection refused.*{REMEDY}"):
        find_benchmark_binary("arm64-v8a", base_url=f"http://127.0.0.1:{port}")
    with pytest.raises(BinaryUnavailable, match=r"nowhere\.invalid.*: .+") as caught:
        find_benchmark_binary("arm64-v8a", base_url="http://nowhere.invalid")
    assert "\n" not in str(caught.value)


def test_what_speaks_no_http_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def babble() -> None:
            with listener.accept()[0] as connection:
                connection.sendall(b"SSH-2.0-OpenSSH\x1b[2J\r\n")

        pool.submit(babble)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(BinaryUnavailable) as caught:
            find_benchmark_binary("arm64-v8a", base_url=url)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("url", ["file:///etc", "ftp://host/x", "litert", "http://"])
def test_only_the_web_is_fetched_from(url: str) -> None:
    with pytest.raises(BinaryUnavailable, match="no web address"):
        find_benchmark_binary("arm64-v8a", base_url=url)


def test_what_nobody_publishes_must_be_given() -> None:
    with pytest.raises(BinaryUnavailable, match=rf"published for armeabi-v7a; give.*{REMEDY}"):
        find_benchmark_binary("armeabi-v7a", base_url="http://127.0.0.1:9")


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """The kernel refuses to write more, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told(server: FileServer, cache: Path) -> None:
    with (
        files_of_at_most(8192),
        pytest.raises(BinaryUnavailable, match=rf"cannot keep .*File too large.*CACHE.*{REMEDY}"),
    ):
        fetch(server)
    assert files_in(cache) == []


def test_a_cache_that_is_a_file_is_told(server: FileServer, cache: Path) -> None:
    cache.write_text("")
    with pytest.raises(BinaryUnavailable, match=r"cannot keep .*Not a directory.*POCKETNAS_CACHE"):
        fetch(server)


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A certificate for this machine that this process trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def test_an_encrypted_address_stays_encrypted(server: FileServer, tls: ssl.SSLContext) -> None:
    with FileServer(tls) as secure:
        secure.served.moved_to = f"{server.url}/plain"
        with pytest.raises(BinaryUnavailable, match="which is not encrypted"):
            fetch(secure)
        secure.served.moved_to = None
        secure.served.body = server.served.body
        assert fetch(secure).path.read_bytes() == server.served.body


def test_an_untrusted_server_is_told(
    server: FileServer, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with (
        FileServer(tls) as secure,
        pytest.raises(BinaryUnavailable, match=r"(?i)certificate.verify"),
    ):
        fetch(secure)
