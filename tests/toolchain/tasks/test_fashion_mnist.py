from __future__ import annotations

import functools
import gzip
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolchain.errors import DataUnusable
from toolchain.tasks import fashion_mnist as module
from toolchain.tasks.cache import cache_dir
from toolchain.tasks.classification import ClassificationData
from toolchain.tasks.fashion_mnist import SHA256_OF_CONTENT, load_fashion_mnist


@pytest.fixture
def files(fashion_mnist: ClassificationData) -> Path:
    """Folder of this machine's verified files."""
    folders = (cache_dir() / "fashion-mnist", module.INSTALLED_FOLDER)
    return next(folder for folder in folders if folder.is_dir())


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with an empty cache, no package, no apt-get and no web; returns the cache."""
    monkeypatch.setenv("POCKETNAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(module, "INSTALLED_FOLDER", tmp_path / "none")
    monkeypatch.setattr(module, "WEB_SITE", "http://127.0.0.1:9/")
    return tmp_path / "cache"


class SilentHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def web_site(files: Path, bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    handler = functools.partial(SilentHandler, directory=str(files))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(module, "WEB_SITE", f"http://127.0.0.1:{server.server_port}/")
        yield
        server.shutdown()
        thread.join()


def test_the_real_data_has_its_published_shape_and_statistics(
    fashion_mnist: ClassificationData,
) -> None:
    assert fashion_mnist.input_shape == (1, 28, 28)
    assert fashion_mnist.train.labels.bincount().tolist() == [6000] * 10
    assert fashion_mnist.test.labels.bincount().tolist() == [1000] * 10
    assert fashion_mnist.train.mean == pytest.approx((0.2860,), abs=1e-4)
    assert fashion_mnist.train.std == pytest.approx((0.3530,), abs=1e-4)


def test_the_first_image_is_an_ankle_boot_of_known_pixels(
    fashion_mnist: ClassificationData,
) -> None:
    assert fashion_mnist.classes[int(fashion_mnist.train.labels[0])] == "Ankle boot"
    assert fashion_mnist.train.images[0, 0, 4, 12:16].tolist() == [3, 0, 36, 136]


def test_images_are_resized_on_request(files: Path, fashion_mnist: ClassificationData) -> None:
    data = load_fashion_mnist(files, image_size=14)
    assert data.input_shape == (1, 14, 14)
    whole, half = fashion_mnist.train.images[0].float(), data.train.images[0].float()
    assert half.mean().item() == pytest.approx(whole.mean().item(), rel=0.05)


def test_a_given_folder_with_an_altered_file_is_refused(files: Path, tmp_path: Path) -> None:
    for name in SHA256_OF_CONTENT:
        shutil.copy(files / name, tmp_path)
    altered = tmp_path / "t10k-labels-idx1-ubyte.gz"
    content = bytearray(gzip.decompress(altered.read_bytes()))
    content[100] ^= 1
    altered.write_bytes(gzip.compress(content))
    with pytest.raises(DataUnusable, match=r"t10k-labels.* is not the published file: sha256"):
        load_fashion_mnist(tmp_path)


def test_a_given_folder_is_the_only_place_that_is_looked_at(tmp_path: Path) -> None:
    with pytest.raises(DataUnusable, match=r"train-images-idx3-ubyte.gz is missing"):
        load_fashion_mnist(tmp_path)
    with pytest.raises(DataUnusable, match="nowhere is not a folder"):
        load_fashion_mnist(tmp_path / "nowhere")


def test_when_nothing_works_the_error_lists_what_was_tried_and_the_remedy(
    bare_machine: Path,
) -> None:
    with pytest.raises(DataUnusable) as caught:
        load_fashion_mnist()
    message = str(caught.value)
    for expected in (
        f"cache: {bare_machine / 'fashion-mnist'} is not a folder",
        "installed Debian package:",
        "this system has no apt-get",
        "web site: http://127.0.0.1:9/train-images-idx3-ubyte.gz",
        "Install the Debian package dataset-fashion-mnist",
    ):
        assert expected in message


@pytest.mark.usefixtures("web_site")
def test_files_are_fetched_from_the_web_into_the_cache_and_a_broken_cache_is_mended(
    bare_machine: Path,
) -> None:
    broken = bare_machine / "fashion-mnist" / "train-labels-idx1-ubyte.gz"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"half a file")
    assert len(load_fashion_mnist().train) == 60_000
    assert sorted(file.name for file in broken.parent.iterdir()) == sorted(SHA256_OF_CONTENT)
    assert gzip.decompress(broken.read_bytes())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs a Debian system")
def test_the_debian_package_is_fetched_without_being_installed(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    monkeypatch.setattr(module, "INSTALLED_FOLDER", Path("/usr/share/datasets/fashion-mnist"))
    try:
        folder = module._fetch_debian_package()
    except DataUnusable as problem:
        pytest.skip(f"no package mirror: {problem}")
    assert len(load_fashion_mnist(folder).train) == 60_000
    assert folder == bare_machine / "fashion-mnist"
