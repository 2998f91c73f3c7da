"""The recurrent networks that everybody knows, to compare with: LSTM and GRU of one layer.

Sources: Long Short-Term Memory, Hochreiter and Schmidhuber, 1997, with forget gates as in torch;
Learning Phrase Representations using RNN Encoder-Decoder, arXiv 1406.1078, in the variant of torch
and cuDNN, whose reset gate multiplies a product and not the state. Counts are torch's, with two
biases for each gate; the graph has one where the two are added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolchain.graph import Graph, GraphBuilder
from toolchain.layers import Add, AnyLayer, Concat, Embedding, Linear, Multiply, Subtract, Vector

GATES: Mapping[str, int] = {"lstm": 4, "gru": 3}
"""Products of each kind with the input and with the state, H values each."""


@dataclass(frozen=True, kw_only=True)
class GatedNetwork:
    """A language model: embedding, one LSTM or GRU, output tied to the embedding.

    Attributes:
        kind: "lstm" or "gru".
        hidden: values of the state and of an embedding, H.
        vocabulary: words.
    """

    kind: str
    hidden: int
    vocabulary: int

    def __post_init__(self) -> None:
        if self.kind not in GATES:
            raise ValueError(f"kind is one of {', '.join(GATES)}, got {self.kind!r}")
        if self.hidden < 1 or self.vocabulary < 1:
            raise ValueError(
                "hidden and vocabulary must be more than 0, "
                f"got {self.hidden} and {self.vocabulary}"
            )

    @property
    def parameters(self) -> int:
        """Weights: the embedding, counted once, the output's biases, and the gates'."""
        gates = GATES[self.kind] * (2 * self.hidden**2 + 2 * self.hidden)
        return self.vocabulary * (self.hidden + 1) + gates

    @property
    def macs_per_token(self) -> int:
        """Multiply-accumulates of all matrix products for one token, the output's included."""
        return self.vocabulary * self.hidden + GATES[self.kind] * 2 * self.hidden**2


def gated_of_size(kind: str, parameters: int, vocabulary: int) -> GatedNetwork:
    """The LSTM or GRU whose number of parameters is nearest to one.

    Raises:
        ValueError: even the smallest has more than twice as many.
    """

    def network(hidden: int) -> GatedNetwork:
        return GatedNetwork(kind=kind, hidden=hidden, vocabulary=vocabulary)

    hidden = 1
    while network(hidden + 1).parameters <= parameters:  # ends: parameters grow with H
        hidden += 1
    found = min(
        (network(hidden), network(hidden + 1)), key=lambda one: abs(one.parameters - parameters)
    )
    if found.parameters > 2 * parameters:
        raise ValueError(
            f"no {kind} of {vocabulary} words has about {parameters:,} parameters: the smallest "
            f"has {found.parameters:,}; take a smaller vocabulary"
        )
    return found


def gated_step_graph(network: GatedNetwork) -> Graph:
    """One word: ``token``, ``state`` and an LSTM's ``memory`` to ``logits`` and what is carried.

    What the runtime is to be timed on; a product for each gate, as in ``shrinkrnn_step.py``.
    """
    builder = GraphBuilder(f"{network.kind} step")
    word = builder.add("token", Embedding(words=network.vocabulary, features=network.hidden))
    state = builder.add("state", Vector(features=network.hidden))
    if network.kind == "lstm":
        memory = builder.add("memory", Vector(features=network.hidden))
        carried = _lstm(builder, network.hidden, word, state, memory)
    else:
        carried = _gru(builder, network.hidden, word, state)
    output = Linear(features=network.vocabulary, flatten=False, weights="token")
    return builder.graph(builder.add("logits", output, carried[0]), *carried)


def _lstm(
    builder: GraphBuilder, hidden: int, word: str, state: str, memory: str
) -> tuple[str, ...]:
    both = builder.add("both", Concat(), word, state)
    enter, keep, leave = (
        builder.add(name, _product(hidden, "sigmoid"), both) for name in ("enter", "keep", "leave")
    )
    candidate = builder.add("candidate", _product(hidden, "tanh"), both)
    kept = builder.add("kept", Multiply(), keep, memory)
    entered = builder.add("entered", Multiply(), enter, candidate)
    next_memory = builder.add("next_memory", Add(), kept, entered)
    # The graph has no layer that is an activation and nothing else: one addition more.
    bounded = builder.add("bounded", Add(activation="tanh"), kept, entered)
    return builder.add("next_state", Multiply(), leave, bounded), next_memory


def _gru(builder: GraphBuilder, hidden: int, word: str, state: str) -> tuple[str, ...]:
    both = builder.add("both", Concat(), word, state)
    reset = builder.add("reset", _product(hidden, "sigmoid"), both)
    keep = builder.add("keep", _product(hidden, "sigmoid"), both)
    of_word = builder.add("of_word", _product(hidden, "linear"), word)
    of_state = builder.add("of_state", _product(hidden, "linear"), state)
    gated = builder.add("gated", Multiply(), reset, of_state)
    candidate = builder.add("candidate", Add(activation="tanh"), of_word, gated)
    apart = builder.add("apart", Subtract(), state, candidate)
    move = builder.add("move", Multiply(), keep, apart)
    return (builder.add("next_state", Add(), candidate, move),)


def _product(hidden: int, activation: str) -> AnyLayer:
    return Linear(features=hidden, activation=activation, flatten=False)
