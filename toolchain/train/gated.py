"""The cells of LSTM and GRU, to compare with: one word at a time, with locked dropout.

Sources: Long Short-Term Memory, Hochreiter and Schmidhuber, 1997, with forget gates as in torch;
Learning Phrase Representations using RNN Encoder-Decoder, arXiv 1406.1078, in the variant of torch
and cuDNN, whose reset gate multiplies a product and not the state. Dropout of states is locked and
at every matrix that multiplies one (arXiv 1512.05287), as in ShrinkRNN's recipe: torch's own
modules of a whole sequence have no place for it.

Shape suffixes: N sequences, H values of a state, S values that a cell carries, G values of all
gates.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolchain.spaces.gated_network import GATES
from toolchain.train.locked_dropout import NO_MASKS, Masks, masked


class GatedCell(nn.Module):
    """An LSTM's or a GRU's step, with the weights of ``torch.nn.LSTM`` or ``torch.nn.GRU``.

    What it carries from word to word is the state, of an LSTM followed by its memory.

    Attributes:
        kind: "lstm" or "gru".
        carried: S, values carried.
        input_weight: G x H; gates in torch's order.
        hidden_weight: G x H.
        input_bias: G.
        hidden_bias: G.
    """

    def __init__(self, kind: str, hidden: int) -> None:
        super().__init__()
        self.kind = kind
        self.hidden = hidden
        self.carried = 2 * hidden if kind == "lstm" else hidden
        gates = GATES[kind] * hidden
        self.input_weight = nn.Parameter(torch.zeros(gates, hidden))
        self.hidden_weight = nn.Parameter(torch.zeros(gates, hidden))
        self.input_bias = nn.Parameter(torch.zeros(gates))
        self.hidden_bias = nn.Parameter(torch.zeros(gates))

    @property
    def initial_range(self) -> float:
        """First weights are uniform in plus and minus this, as torch has it."""
        return float(self.hidden**-0.5)

    def weights(self) -> dict[tuple[int, ...], Tensor]:
        """Every weight that is drawn, by its place."""
        return {
            (1,): self.input_weight,
            (2,): self.hidden_weight,
            (3,): self.input_bias,
            (4,): self.hidden_bias,
        }

    def output(self, carried_NS: Tensor) -> Tensor:
        """Return what the output reads of what is carried: the state, NH."""
        return carried_NS[:, : self.hidden]

    def forward(self, x_NH: Tensor, carried_NS: Tensor, masks: Masks = NO_MASKS) -> Tensor:
        """Return what is carried on.

        Args:
            x_NH: Embedding of the token.
            carried_NS: From the token before.
            masks: Dropout; its masks of input and hidden values are the cell's.
        """
        h_NH = self.output(carried_NS)
        of_input = F.linear(masked(x_NH, masks.input), self.input_weight, self.input_bias)
        of_state = F.linear(masked(h_NH, masks.hidden), self.hidden_weight, self.hidden_bias)
        if self.kind == "gru":
            return _gru(of_input, of_state, h_NH)
        return _lstm(of_input + of_state, carried_NS[:, self.hidden :])


def _lstm(gates_NG: Tensor, memory_NH: Tensor) -> Tensor:
    enter, keep, candidate, leave = gates_NG.chunk(4, dim=1)
    memory_NH = torch.sigmoid(keep) * memory_NH + torch.sigmoid(enter) * torch.tanh(candidate)
    return torch.cat([torch.sigmoid(leave) * torch.tanh(memory_NH), memory_NH], dim=1)


def _gru(of_input_NG: Tensor, of_state_NG: Tensor, h_NH: Tensor) -> Tensor:
    input_reset, input_keep, input_candidate = of_input_NG.chunk(3, dim=1)
    state_reset, state_keep, state_candidate = of_state_NG.chunk(3, dim=1)
    reset = torch.sigmoid(input_reset + state_reset)
    keep = torch.sigmoid(input_keep + state_keep)
    candidate = torch.tanh(input_candidate + reset * state_candidate)
    return candidate + keep * (h_NH - candidate)
