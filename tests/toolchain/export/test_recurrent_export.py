"""Language models: the step and the sequence in three runtimes, as planned and in one piece."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from latency_tables.kernel import parse_kernel
from profilers.litert import LiteRtModel, OperatorEvent
from profilers.xnnpack import match_events
from toolchain.errors import ExportFailed
from toolchain.export.artifact import Artifact, load_card
from toolchain.export.parity import litert_interpreter
from toolchain.export.quantization import read_arithmetic
from toolchain.export.quantize_text import quantize_text, quantize_text_artifact
from toolchain.export.recurrent import export_recurrent
from toolchain.export.text_readers import (
    Call,
    litert_reader,
    read_text,
    text_perplexity,
    torch_reader,
)
from toolchain.spaces.gated_network import GatedNetwork
from toolchain.spaces.shrinkrnn import ShrinkRnnSpace
from toolchain.train.language import evaluate_language, perplexity
from toolchain.train.recurrent import RecurrentModule, initialize_recurrent

SPACE = ShrinkRnnSpace(hidden=16, vocabulary=120)
WORDS = np.random.default_rng(0).integers(0, 120, 201)
HELD_OUT = np.random.default_rng(1).integers(0, 120, 101)
RELEASED = "i0.s0.s01.t0123.i0123"
SMALL = "r0.t.s0"
COUNTS = [1, 6]


def module_of(genotype: str) -> RecurrentModule:
    """Weights as large as a training makes them, so that states differ from word to word."""
    module = RecurrentModule(SPACE.decode(genotype))
    initialize_recurrent(module, seed=0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(8)
        module.bias.copy_(torch.linspace(-1, 1, 120))
    return module


def operators(path: Path) -> list[OperatorEvent]:
    with LiteRtModel(path, profile=True) as model:
        return list(model.profile(runs=1, warmup=0).operators)


def require_one_piece(events: list[OperatorEvent]) -> None:
    """All but the look-up, which stands first."""
    assert [event.name for event in events if not event.is_delegated] == ["EMBEDDING_LOOKUP"]
    assert events[0].name == "EMBEDDING_LOOKUP"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Artifact]:
    """The released cell by the words that are read at a time."""
    folder = tmp_path_factory.mktemp("exported")
    module = module_of(RELEASED)
    return {
        count: export_recurrent(module, WORDS, folder, count=count, name=f"net_{count}")
        for count in COUNTS
    }


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("genotype", [RELEASED, SMALL])
def test_a_text_is_read_alike_by_three_runtimes_and_kernels_are_as_planned(
    genotype: str, count: int, exported: dict[int, Artifact], tmp_path: Path
) -> None:
    artifact = exported[count]
    if genotype != RELEASED:
        artifact = export_recurrent(module_of(genotype), WORDS, tmp_path, count=count)
    assert artifact.parity.words == 200 // count * count
    assert artifact.parity.litert.max_relative_error < 1e-5
    figures = artifact.parity.perplexity
    assert f"{figures.torch:.4g}" == f"{figures.onnx:.4g}" == f"{figures.litert:.4g}"
    events = operators(artifact.path)
    match_events([event.name for event in events], [*map(parse_kernel, artifact.kernels)])
    require_one_piece(events)


def test_the_card_says_what_goes_in_and_out_and_reads_back(exported: dict[int, Artifact]) -> None:
    artifact = exported[6]
    described = [(one.name, one.shape, one.dtype) for one in artifact.inputs + artifact.outputs]
    assert described == [
        ("token", (6,), "int32"),
        ("state", (1, 16), "float32"),
        ("logits", (6, 120), "float32"),
        ("next_state", (1, 16), "float32"),
    ]
    assert load_card(artifact.path) == artifact
    assert artifact.genotype == RELEASED
    assert "against torch on 198 words" in artifact.summary()


def test_names_and_shapes_in_the_card_are_those_in_the_files(
    exported: dict[int, Artifact],
) -> None:
    for artifact in exported.values():
        run = litert_interpreter(artifact.path.read_bytes()).get_signature_runner()
        found = {**run.get_input_details(), **run.get_output_details()}
        session = onnxruntime.InferenceSession(artifact.path.with_suffix(".onnx"))
        onnx = {one.name: one for one in (*session.get_inputs(), *session.get_outputs())}
        for tensor in artifact.inputs + artifact.outputs:
            assert tuple(found[tensor.name]["shape"]) == tensor.shape
            assert found[tensor.name]["dtype"] == np.dtype(tensor.dtype)
            assert tuple(onnx[tensor.name].shape) == tensor.shape


def test_weights_stand_once_in_a_file_however_often_they_are_used(
    exported: dict[int, Artifact],
) -> None:
    weights = 4 * SPACE.decode(RELEASED).parameters
    one, six = (exported[count].size_bytes for count in COUNTS)
    assert weights < one < 1.9 * weights
    # What is left is operators, tensors and biases of 16 numbers.
    assert six - one < 5 * 110 * 350


def test_the_perplexity_of_a_reader_is_that_of_the_training(exported: dict[int, Artifact]) -> None:
    module = module_of(RELEASED)
    expected = perplexity(evaluate_language(module, torch.from_numpy(WORDS)))
    assert text_perplexity(torch_reader(module), WORDS, hidden=16) == pytest.approx(expected)
    for count in (1, 6):
        reader = litert_reader(exported[count].path.read_bytes())
        words = WORDS[: 200 // count * count + 1]
        expected = perplexity(evaluate_language(module, torch.from_numpy(words)))
        found = text_perplexity(reader, words, hidden=16, count=count)
        assert found == pytest.approx(expected, rel=1e-5)


def test_the_state_is_fed_back(exported: dict[int, Artifact]) -> None:
    reader = litert_reader(exported[1].path.read_bytes())
    calls = list(read_text(reader, WORDS[:4], hidden=16))
    assert not calls[0].state.any()
    for call, following in pairwise(calls):
        np.testing.assert_array_equal(reader(call.words, call.state)[1], following.state)
    assert [int(call.following[0]) for call in calls] == WORDS[1:4].tolist()


def test_a_text_that_is_too_short_is_refused(exported: dict[int, Artifact]) -> None:
    reader = litert_reader(exported[6].path.read_bytes())
    with pytest.raises(ValueError, match="the text has 6 words, needed are more than 6"):
        next(read_text(reader, WORDS[:6], hidden=16, count=6))


def test_surprise_is_finite_for_scores_of_any_size() -> None:
    call = Call(WORDS[:1], np.zeros((1, 1)), np.array([[1e4, 0.0]], np.float32), np.array([1]))
    assert call.surprise == pytest.approx(1e4)


def test_a_model_that_says_nothing_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    module = module_of(SMALL)
    with torch.no_grad():
        module.embedding.zero_()
        module.bias.zero_()
    with pytest.raises(ExportFailed, match=r"spread 0.0.*train it further"):
        export_recurrent(module, WORDS, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_further_off_than_allowed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match=r"is off by .* within 200 words.*allowed: 1e-12"):
        export_recurrent(module_of(SMALL), WORDS, tmp_path, tolerance=1e-12)
    assert not list(tmp_path.iterdir())


def test_an_lstm_is_refused(tmp_path: Path) -> None:
    module = RecurrentModule(GatedNetwork(kind="lstm", hidden=4, vocabulary=120))
    with pytest.raises(ValueError, match="only a ShrinkRNN"):
        export_recurrent(module, WORDS, tmp_path)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("integer_io", [False, True], ids=["float ends", "integer ends"])
def test_int8_computes_in_integers_in_one_piece_and_predicts_nearly_as_well(
    count: int, integer_io: bool, exported: dict[int, Artifact], tmp_path: Path
) -> None:
    result = quantize_text_artifact(
        exported[count], tmp_path / "int8.tflite", WORDS, HELD_OUT, integer_io=integer_io
    )
    report = result.quantization
    assert report.float_ops == ()
    assert report.images == 100 // count * count
    assert report.accuracy == pytest.approx(report.float_accuracy, rel=0.02)
    assert report.sqnr_db > 20
    require_one_piece(operators(result.path))
    end = "int8" if integer_io else "float32"
    assert [one.dtype for one in result.inputs + result.outputs] == ["int32", end, end, end]
    assert load_card(result.path) == result
    assert f"perplexity {report.accuracy:.2f} for" in result.summary()


def test_dynamic_keeps_activations_in_float_and_the_table_once_in_int8(
    exported: dict[int, Artifact], tmp_path: Path
) -> None:
    result = quantize_text_artifact(
        exported[1], tmp_path / "dynamic.tflite", WORDS, HELD_OUT, recipe="dynamic"
    )
    report = result.quantization
    assert report.calibration_images == 0
    assert "FULLY_CONNECTED" not in report.float_ops
    assert "EMBEDDING_LOOKUP" not in report.float_ops
    assert report.accuracy == pytest.approx(report.float_accuracy, rel=0.01)
    require_one_piece(operators(result.path))
    assert result.size_bytes < exported[1].size_bytes - 3 * 120 * 16


def test_an_int8_state_goes_round_as_it_is(exported: dict[int, Artifact]) -> None:
    content = exported[1].path.read_bytes()
    integer = quantize_text(content, WORDS, hidden=16, integer_io=True)
    run = litert_interpreter(integer).get_signature_runner()
    given, got = run.get_input_details()["state"], run.get_output_details()["next_state"]
    assert given["quantization"] == got["quantization"]


def test_integer_and_float_ends_say_the_same(exported: dict[int, Artifact]) -> None:
    content = exported[6].path.read_bytes()
    ends = [
        quantize_text(content, WORDS, hidden=16, count=6, integer_io=one) for one in (False, True)
    ]
    for one, other in zip(
        *(read_text(litert_reader(end), HELD_OUT, hidden=16, count=6) for end in ends),
        strict=True,
    ):
        np.testing.assert_allclose(one.logits, other.logits, atol=0.05 * np.ptp(one.logits))


def test_ranges_come_from_the_text(exported: dict[int, Artifact]) -> None:
    content = exported[1].path.read_bytes()
    one, other = (quantize_text(content, WORDS[:size], hidden=16) for size in (3, 201))
    assert one != other
    assert quantize_text(content, WORDS, hidden=16) == other


def test_a_quantized_file_is_not_quantized_again(exported: dict[int, Artifact]) -> None:
    content = quantize_text(exported[1].path.read_bytes(), WORDS, hidden=16, recipe="dynamic")
    assert read_arithmetic(content).integer_ops
    with pytest.raises(ValueError, match="quantized already"):
        quantize_text(content, WORDS, hidden=16)
