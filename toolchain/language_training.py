"""Judge recurrent cells by short trainings of the language models that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from toolchain.evaluation import Judgement
from toolchain.spaces.shrinkrnn import ShrinkRnnSpace
from toolchain.train.language import perplexity
from toolchain.train.language_proxy import LanguageProxySettings, evaluate_language_proxy
from toolchain.train.recurrent import RecurrentModule, initialize_recurrent


@dataclass(frozen=True, kw_only=True, eq=False)
class LanguageTraining:
    """Work: see ``evaluation.py``. The metric is the negative perplexity: more is better.

    Attributes:
        space: of the cells, with as many words as the texts have.
        training: words to learn from, by their numbers.
        validation: words to measure on; never the test text.
        settings: how long and how to train.
        seed: shared by all candidates; see ``language_proxy.py``.
        inherited: weights to start from, of a network that has all the edges: a trained complete
            cell with the same activations. What it lacks is drawn; everything is when None.
    """

    space: ShrinkRnnSpace
    training: Tensor
    validation: Tensor
    settings: LanguageProxySettings
    seed: int
    inherited: Mapping[str, Tensor] | None = None

    def judge(self, genotype: str) -> Judgement:
        """See Work.

        A model is never worse than knowing nothing, which is a perplexity of as many as there
        are words: that is also what one gets whose training diverged at once.
        """
        module = RecurrentModule(self.space.decode(genotype))
        initialize_recurrent(module, seed=self.seed)
        if self.inherited is not None:
            inherit(module, self.inherited)
        result = evaluate_language_proxy(
            module, self.training, self.validation, self.settings, seed=self.seed
        )
        found = min(perplexity(result.loss), float(self.space.vocabulary))
        cost: dict[str, float | int | str] = {
            "cpu_s": round(result.cpu_s, 3),
            "epochs": result.epochs,
            "stopped_because": result.stopped_because,
            "perplexity": found,
        }
        return Judgement(metric=-found, cost=cost)


@torch.no_grad()
def inherit(module: RecurrentModule, weights: Mapping[str, Tensor]) -> None:
    """Give `module` the weights of another network where it has the same edges.

    Args:
        module: changed in place.
        weights: by name, as the other's ``state_dict`` has them.

    Raises:
        ValueError: the other has another size or vocabulary.
    """
    for name, weight in module.state_dict().items():
        if name not in weights:
            continue
        if weights[name].shape != weight.shape:
            raise ValueError(
                f"{name} has the shape {tuple(weight.shape)}, what is to be inherited "
                f"{tuple(weights[name].shape)}: inherit from a network of the same outline"
            )
        weight.copy_(weights[name])
