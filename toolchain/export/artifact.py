"""An exported network: the file, and what one must know to use it and to trust it.

The facts stand in a card beside the file, ``net.json`` beside ``net.tflite``, so that they travel
with it; the card holds the file's hash, so that it cannot speak of another file.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from latency_tables.kernel import Kernel, parse_kernel
from toolchain.atomic import atomic_path
from toolchain.errors import ArtifactUnusable
from toolchain.export.parity import Parity, TextParity, parity_from_json
from toolchain.export.quantization import QuantizationReport, quantization_from_json

CARD_VERSION = 4
"""1: first. 2: quantization; the kernels of a quantized file are left out. 3: its metric;
networks that read words. 4: the file of their words."""

REMEDY = "export the network again"


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or output.

    Attributes:
        name: in the file's signature.
        shape: as in the file: NHWC, or NC.
        dtype: element type.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """What the caller does to an image before the network sees it: (pixel - mean) / std.

    Attributes:
        mean: of each channel, pixels taken in [0, 1].
        std: of each channel, likewise.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """An exported network.

    Attributes:
        path: the file.
        format: of the file: ``tflite``.
        sha256: of the file.
        size_bytes: of the file.
        inputs: what the network reads; an image is normalised already. A state is fed back: what
            the network gives as ``next_state`` is its ``state`` at the next word, at first zeros.
        outputs: what it computes.
        normalization: how the image is normalised; None where no image is read.
        graph: name of the network's graph.
        genotype: the point of a search space that the network is.
        parity: how far the float file is from the trained network.
        kernels: keys of the kernels that it runs, in execution order; empty when not known.
        versions: of the packages that took part, by name.
        quantization: how far the file is from the float file; None when it is the float file.
        vocabulary: name of the file beside it that has the words, one in each line, the word of
            number 0 first; None where no words are read.
    """

    path: Path
    format: str
    sha256: str
    size_bytes: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    normalization: Normalization | None
    graph: str
    genotype: str
    parity: Parity | TextParity
    kernels: tuple[str, ...]
    versions: Mapping[str, str]
    quantization: QuantizationReport | None = None
    vocabulary: str | None = None

    @property
    def card_path(self) -> Path:
        """Where the card is."""
        return self.path.with_suffix(".json")

    def summary(self) -> str:
        """The file, and how far it is from what it was made of, in a few lines."""
        if self.quantization is not None:
            return f"{self.path}: {self.size_bytes:,} bytes\n  {self.quantization.summary()}"
        litert = self.parity.litert
        text = (
            f"{self.path}: {self.size_bytes:,} bytes, {len(self.kernels)} kernels\n"
            f"  against torch on {self.parity.compared}: largest error "
            f"{litert.max_error:.2e} ({litert.max_relative_error:.1e} of the outputs' spread), "
            f"top-1 agreement {litert.top1_agreement:.1%}"
        )
        if isinstance(self.parity, TextParity):
            found = self.parity.perplexity
            text += f", perplexity {found.litert:,.4f} for {found.torch:,.4f}"
        if self.vocabulary is not None:
            text += f"\n  words by their numbers: {self.path.with_name(self.vocabulary)}"
        return text

    def copy_to(self, path: Path) -> Artifact:
        """Copy the file, its card and its words, where it has some.

        Raises:
            ArtifactUnusable: the copy cannot be written.
        """
        copy = replace(self, path=path)
        try:
            if self.vocabulary is not None:
                copy = replace(copy, vocabulary=f"{path.stem}.words.txt")
                with atomic_path(path.with_name(str(copy.vocabulary))) as temporary:
                    shutil.copyfile(self.path.with_name(self.vocabulary), temporary)
            with atomic_path(path) as temporary:
                shutil.copyfile(self.path, temporary)
            save_card(copy)
        except OSError as error:
            raise ArtifactUnusable(f"cannot write {path}: {error.strerror}") from error
        return copy

    def to_json(self) -> dict[str, Any]:
        """The content of the card; the file is named without its folder."""
        return {"card_version": CARD_VERSION, **asdict(self), "path": self.path.name}


def save_card(artifact: Artifact) -> None:
    """Write the card beside the file."""
    with atomic_path(artifact.card_path) as path:
        path.write_text(json.dumps(artifact.to_json(), indent=2) + "\n", encoding="utf-8")


def load_card(path: Path) -> Artifact:
    """Read a card and check that the file beside it is the one it speaks of.

    Args:
        path: the card, or the file that it stands beside.

    Raises:
        ArtifactUnusable: either is missing or damaged, the file is another one, or the card is of
            a newer version.
    """
    card = path.with_suffix(".json")
    try:
        data = json.loads(card.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactUnusable(
            f"cannot read the card {card}: {error.strerror}; {REMEDY}"
        ) from error
    except ValueError as error:
        raise ArtifactUnusable(f"the card {card} is damaged ({error}); {REMEDY}") from error
    artifact = _parse(card, data)
    try:
        content = artifact.path.read_bytes()
    except OSError as error:
        raise ArtifactUnusable(
            f"cannot read {artifact.path}, of which {card} is the card: {error.strerror}; {REMEDY}"
        ) from error
    if sha256_of(content) != artifact.sha256:
        raise ArtifactUnusable(
            f"{artifact.path} is not the file that {card} describes: its sha256 differs; {REMEDY}"
        )
    return artifact


def kernels_of(path: Path) -> tuple[Kernel, ...] | None:
    """The kernels of a TFLite file by its card; None when it has no card, or the card has none.

    Raises:
        ArtifactUnusable: the card is damaged, or of another file.
    """
    if not path.with_suffix(".json").exists():
        return None
    try:
        return tuple(parse_kernel(key) for key in load_card(path).kernels) or None
    except ValueError as error:
        raise ArtifactUnusable(f"the card of {path} is damaged ({error}); {REMEDY}") from error


def sha256_of(content: bytes) -> str:
    """The hash by which a file is known."""
    return hashlib.sha256(content).hexdigest()


def _parse(card: Path, data: Any) -> Artifact:
    try:
        if data["card_version"] > CARD_VERSION:
            raise ArtifactUnusable(
                f"the card {card} is of version {data['card_version']}, newer than the "
                f"{CARD_VERSION} known here; update pocketnas"
            )
        fields = {name: value for name, value in data.items() if name != "card_version"}
        return Artifact(
            **{
                **fields,
                "path": card.with_name(data["path"]),
                "inputs": tuple(map(_parse_tensor, data["inputs"])),
                "outputs": tuple(map(_parse_tensor, data["outputs"])),
                "normalization": _parse_normalization(data["normalization"]),
                "kernels": tuple(data["kernels"]),
                "parity": parity_from_json(data["parity"]),
                "quantization": _parse_quantization(data.get("quantization")),
            }
        )
    except (KeyError, TypeError) as error:
        raise ArtifactUnusable(
            f"the card {card} lacks or misspells a field ({error}); {REMEDY}"
        ) from error


def _parse_quantization(data: dict[str, Any] | None) -> QuantizationReport | None:
    return None if data is None else quantization_from_json(data)


def _parse_normalization(data: dict[str, Any] | None) -> Normalization | None:
    if data is None:
        return None
    return Normalization(mean=tuple(data["mean"]), std=tuple(data["std"]))


def _parse_tensor(data: dict[str, Any]) -> Tensor:
    return Tensor(name=data["name"], shape=tuple(data["shape"]), dtype=data["dtype"])
