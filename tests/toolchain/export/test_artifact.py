from __future__ import annotations

import json
from pathlib import Path

import pytest

from latency_tables.kernel import make_kernel
from toolchain.errors import ArtifactUnusable
from toolchain.export.artifact import (
    Artifact,
    Normalization,
    Tensor,
    kernels_of,
    load_card,
    save_card,
    sha256_of,
)
from toolchain.export.parity import Difference, Parity

CONTENT = b"\x1c\x00\x00\x00TFL3 and more"
KERNEL = make_kernel("mean", ((1, 4, 4, 8),), (1, 8), {"axes": "1x2"})


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    path = tmp_path / "net.tflite"
    path.write_bytes(CONTENT)
    same = Difference(max_error=1e-7, max_relative_error=1e-8, top1_agreement=1.0)
    artifact = Artifact(
        path=path,
        format="tflite",
        sha256=sha256_of(CONTENT),
        size_bytes=len(CONTENT),
        inputs=(Tensor(name="image", shape=(1, 4, 4, 8), dtype="float32"),),
        outputs=(Tensor(name="logits", shape=(1, 8), dtype="float32"),),
        normalization=Normalization(mean=(0.5,) * 8, std=(0.25,) * 8),
        graph="a graph",
        genotype="s0.c01",
        parity=Parity(images=2, onnx=same, litert=same),
        kernels=(KERNEL.key,),
        versions={"torch": "2.13.0"},
    )
    save_card(artifact)
    return artifact


def edit_card(artifact: Artifact, **fields: object) -> None:
    data = json.loads(artifact.card_path.read_text())
    artifact.card_path.write_text(json.dumps(data | fields))


def test_a_card_reads_back_from_its_own_path_and_from_the_file_s(artifact):
    assert load_card(artifact.card_path) == artifact
    assert load_card(artifact.path) == artifact


def test_card_and_file_may_be_moved_together(artifact, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for path in (artifact.path, artifact.card_path):
        path.rename(folder / path.name)
    assert load_card(folder / "net.json").path == folder / "net.tflite"


def test_a_copy_has_its_own_card(artifact, tmp_path):
    copy = artifact.copy_to(tmp_path / "copies" / "other.tflite")
    assert load_card(copy.path) == copy
    assert copy.path.read_bytes() == CONTENT


def test_kernels_are_those_of_the_card(artifact, tmp_path):
    assert kernels_of(artifact.path) == (KERNEL,)
    assert kernels_of(tmp_path / "without a card.tflite") is None


def test_another_file_under_the_name_is_refused(artifact):
    artifact.path.write_bytes(CONTENT + b"!")
    with pytest.raises(ArtifactUnusable, match=r"net\.tflite is not the file"):
        load_card(artifact.path)


def test_a_missing_card_is_refused(artifact):
    artifact.card_path.unlink()
    with pytest.raises(ArtifactUnusable, match="cannot read the card"):
        load_card(artifact.path)


def test_a_missing_file_is_refused(artifact):
    artifact.path.unlink()
    with pytest.raises(ArtifactUnusable, match=r"cannot read .*net\.tflite.*export"):
        load_card(artifact.card_path)


@pytest.mark.parametrize("text", ["{", "\ufffd", "[]", '"card"', "{}"])
def test_a_damaged_card_is_refused(text, artifact):
    artifact.card_path.write_text(text)
    with pytest.raises(ArtifactUnusable, match=r"card .*(damaged|lacks or misspells)"):
        load_card(artifact.path)


def test_a_card_of_a_newer_version_is_refused(artifact):
    edit_card(artifact, card_version=99)
    with pytest.raises(ArtifactUnusable, match=r"version 99.*update pocketnas"):
        load_card(artifact.path)


def test_an_unknown_field_is_refused(artifact):
    edit_card(artifact, colour="blue")
    with pytest.raises(ArtifactUnusable, match="colour"):
        load_card(artifact.path)


def test_a_kernel_that_does_not_parse_is_refused(artifact):
    edit_card(artifact, kernels=["mean of something"])
    with pytest.raises(ArtifactUnusable, match=r"damaged .*mean of something"):
        kernels_of(artifact.path)
