from __future__ import annotations

from itertools import islice

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from toolchain.kernels import plan
from toolchain.probe_networks import RANDOM_NETWORKS, probe_networks
from toolchain.spaces.mobilenet import MobileNetSpace
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.shrinkrnn import ShrinkRnnSpace
from toolchain.spaces.space import space_kernels

SPACE = ShrinkCnnSpace(nodes=5, input_shape=(3, 12, 12), base_width=4, activation="swish")


def test_probes_together_run_every_kernel_of_the_space() -> None:
    probes = list(probe_networks(SPACE, seed=0))
    assert {kernel for probe in probes for kernel in probe.kernels} == space_kernels(SPACE)
    for probe in probes:
        assert probe.kernels == plan(SPACE.decode(probe.genotype)).kernels


def test_a_space_of_words_has_probes_that_the_runtime_runs() -> None:
    space = ShrinkRnnSpace(hidden=8, vocabulary=30)
    probes = list(probe_networks(space, seed=0))
    assert {kernel for probe in probes for kernel in probe.kernels} == space_kernels(space)
    for probe in probes[:3]:
        interpreter = Interpreter(model_content=probe.build(), num_threads=1)
        interpreter.allocate_tensors()
        for read in interpreter.get_input_details():
            interpreter.set_tensor(read["index"], np.ones(read["shape"], read["dtype"]))
        interpreter.invoke()
        shapes = {tuple(one["shape"]) for one in interpreter.get_output_details()}
        assert shapes == {(1, 30), (1, 8)}


def test_witnesses_come_first_unless_drawn_too_and_no_network_twice() -> None:
    genotypes = [probe.genotype for probe in probe_networks(SPACE, seed=0)]
    assert len(genotypes) == len(set(genotypes))
    witnesses = list(dict.fromkeys(SPACE.witnesses()))
    rng = np.random.default_rng(0)
    drawn = {SPACE.sample(rng) for _ in range(RANDOM_NETWORKS)}
    first = [one for one in witnesses if one not in drawn]
    assert 0 < len(first) < len(witnesses)
    assert genotypes[: len(first)] == first
    assert set(genotypes[len(first) :]) == drawn


def test_the_last_networks_of_a_small_space_are_of_every_sort() -> None:
    last = [network.genotype for network in probe_networks(MobileNetSpace(), seed=1)][-40:]
    assert {genotype.split("-")[0] for genotype in last} == {"v2", "v3s"}


def test_the_seed_decides_networks_and_weights() -> None:
    runs = [list(probe_networks(SPACE, seed)) for seed in (0, 0, 1)]
    genotypes = [[probe.genotype for probe in probes] for probes in runs]
    assert genotypes[0] == genotypes[1] != genotypes[2]
    files = [probes[0].build() for probes in runs]
    assert files[0] == files[1] != files[2]


def test_a_probe_is_a_file_that_the_runtime_runs() -> None:
    for probe in islice(probe_networks(SPACE, seed=0), 5):
        interpreter = Interpreter(model_content=probe.build(), num_threads=1)
        interpreter.allocate_tensors()
        image = interpreter.get_input_details()[0]
        assert tuple(image["shape"]) == (1, 12, 12, 3)
        generator = np.random.default_rng(0)
        values = generator.normal(size=image["shape"]).astype(np.float32)
        interpreter.set_tensor(image["index"], values)
        interpreter.invoke()
        logits = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        assert logits.shape == (1, 10)
        assert np.isfinite(logits).all()
        assert logits.std() > 0
