"""A ShrinkRNN language model as a graph: one step, or a sequence of words unrolled.

The step reads a word and the state, and gives a score for every word and the next state; whoever
runs it feeds the state back. The sequence reads several words and gives the scores after each;
it has the weights of one step, and reads those of the output once for all words.

How the equations of ``shrinkrnn.py`` become layers; times are of the released cell with 10,000
words (LiteRT 2.3, x86-64):

* A product whose halves are split is two products, with the columns of either half. It takes as
  long (tried by hand: 0.195 ms for 0.192 at 100 values, 6.3 for 7.0 at 745), needs no operator of
  two outputs, and relu can be part of the second, where XNNPACK takes no relu of its own in int8.
* Words come in by their numbers. The look-up is outside of XNNPACK but takes 1 microsecond and,
  standing first, leaves the rest in one piece; so the file needs no table beside it, and holds it
  once, for the output reads the same.
* A mean is a sum and a product with one over the number of terms.
"""

from __future__ import annotations

from collections.abc import Sequence

from latency_tables.kernel import Kernel
from toolchain.graph import Graph, GraphBuilder
from toolchain.kernels import plan
from toolchain.layers import (
    Add,
    AnyLayer,
    Concat,
    Embedding,
    Linear,
    Multiply,
    Pick,
    Scale,
    Stack,
    Subtract,
    Vector,
)
from toolchain.spaces.recurrent_network import ACTIVATIONS, RecurrentNetwork

TOKEN = "token"
"""Name of the input of words: numbers in the order of the vocabulary."""

STATE = "state"
"""Name of the input of the state; zeros before the first word."""

LOGITS = "logits"
NEXT_STATE = "next_state"
"""Names of the outputs."""


def step_graph(network: RecurrentNetwork) -> Graph:
    """One word: ``token`` and ``state`` to ``logits`` and ``next_state``."""
    builder = GraphBuilder("shrinkrnn step")
    word = builder.add(TOKEN, Embedding(words=network.vocabulary, features=network.hidden))
    state = builder.add(STATE, Vector(features=network.hidden))
    following = _Unroller(builder, network).step(word, state, NEXT_STATE)
    logits = builder.add(LOGITS, _output(network), following)
    return builder.graph(logits, following)


def sequence_graph(network: RecurrentNetwork, tokens: int) -> Graph:
    """Several words: ``token`` and ``state`` to ``logits`` after each and ``next_state``.

    Args:
        network: the language model.
        tokens: words that are read at a time, two or more.

    Raises:
        ValueError: there are fewer.
    """
    if tokens < 2:
        raise ValueError(f"a sequence has two words or more, got {tokens}; take the step for one")
    builder = GraphBuilder(f"shrinkrnn sequence of {tokens}")
    words = builder.add(
        TOKEN,
        Embedding(words=network.vocabulary, features=network.hidden, count=tokens),
    )
    state = builder.add(STATE, Vector(features=network.hidden))
    unroller = _Unroller(builder, network)
    states = []
    for index in range(tokens):
        word = builder.add(f"word_{index}", Pick(index=index), words)
        name = NEXT_STATE if index == tokens - 1 else f"state_{index}"
        state = unroller.step(word, state, name)
        states.append(state)
    stacked = builder.add("states", Stack(), *states)
    logits = builder.add(LOGITS, _output(network), stacked)
    return builder.graph(logits, state)


def step_kernels(network: RecurrentNetwork) -> tuple[Kernel, ...]:
    """What the runtime runs for one word, in order of execution."""
    return plan(step_graph(network)).kernels


def edge_layers(name: str) -> tuple[str, str]:
    """Names of the layers of one product: of its gate, the left half, and of its candidate.

    Args:
        name: "input" for W, "0_1" for the edge from node 0 to node 1.
    """
    return f"gate_{name}", f"candidate_{name}"


def _output(network: RecurrentNetwork) -> Linear:
    return Linear(features=network.vocabulary, flatten=False, weights=TOKEN)


class _Unroller:
    """Adds the cell to a graph, once for each word; all use the weights of the first."""

    def __init__(self, builder: GraphBuilder, network: RecurrentNetwork) -> None:
        self._builder = builder
        self._hidden = network.hidden
        self._cell = network.cell
        self._prefix = ""
        self._steps = 0

    def step(self, word: str, state: str, name: str) -> str:
        """The state after a word, which gets the name."""
        both = self._add("both", Concat(), word, state)
        states = {0: self._highway("input", both, state, "tanh", self._prefix + "node_0")}
        leaves = self._cell.leaves
        for node, letter, sources in self._cell.live:
            is_last = leaves == (node,)
            target = name if is_last else f"{self._prefix}node_{node}"
            activation = ACTIVATIONS[letter].replace("identity", "linear")
            messages = []
            for source in sources:
                edge = f"{source}_{node}"
                message = target if len(sources) == 1 else f"{self._prefix}message_{edge}"
                messages.append(
                    self._highway(edge, states[source], states[source], activation, message)
                )
            states[node] = self._mean(messages, target)
        following = self._mean([states[leaf] for leaf in leaves], name)
        self._steps += 1
        self._prefix = f"step_{self._steps}_"
        return following

    def _highway(self, edge: str, read: str, state: str, activation: str, name: str) -> str:
        """A state moved towards a candidate as far as the gate is open."""
        gate_name, candidate_name = edge_layers(edge)
        gate = self._product(gate_name, read, "sigmoid")
        candidate = self._product(candidate_name, read, activation)
        apart = self._add(f"apart_{edge}", Subtract(), candidate, state)
        move = self._add(f"move_{edge}", Multiply(), gate, apart)
        return self._builder.add(name, Add(), state, move)

    def _product(self, name: str, read: str, activation: str) -> str:
        layer = Linear(
            features=self._hidden,
            bias=False,
            activation=activation,
            flatten=False,
            weights=name if self._steps else "",
        )
        return self._add(name, layer, read)

    def _mean(self, names: Sequence[str], name: str) -> str:
        if len(names) == 1:
            return names[0]
        total = names[0]
        for index, term in enumerate(names[1:], start=1):
            total = self._builder.add(f"{name}_sum_{index}", Add(), total, term)
        return self._builder.add(name, Scale(divisor=len(names)), total)

    def _add(self, name: str, layer: AnyLayer, *inputs: str) -> str:
        return self._builder.add(self._prefix + name, layer, *inputs)
