"""Training of a language model: truncated back-propagation, SGD, then SGD with averaged weights.

Source: AutoShrink, arXiv 1911.09251, and the authors' released code. Their last segment of an
epoch has the learning rate of the length that was drawn, ours of the length that was left; their
loss of a text is divided by its rows, ours by its targets, one fewer in each column.

Shape suffixes: D words of a text, T tokens of a sequence, N sequences, V words of the vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolchain.errors import TrainingDiverged
from toolchain.tasks.text_segments import columns, regular_segments, segments
from toolchain.train.checkpoint import load_checkpoint, save_checkpoint
from toolchain.train.epoch import place
from toolchain.train.language_recipe import LanguageSettings
from toolchain.train.language_state import LanguageState
from toolchain.train.recipe import derived_seed
from toolchain.train.recurrent import RecurrentModule, Unrolled

EVALUATION_ROWS = 35


def perplexity(loss: float) -> float:
    """Return e to the power of a mean cross-entropy in nats; infinite beyond 700."""
    return math.exp(loss) if loss < 700 else math.inf


@dataclass(frozen=True, kw_only=True)
class LanguageStep:
    """What one gradient step saw, before it changed the weights.

    Attributes:
        rows_done: Rows of the text that were read in this epoch, this step's included.
        rows: Rows of an epoch.
        tokens: Words that the step read.
        loss: Mean cross-entropy in nats, with dropout.
        learning_rate: Rate of the step.
    """

    rows_done: int
    rows: int
    tokens: int
    loss: float
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class LanguageReport:
    """What one epoch brought.

    Attributes:
        epoch: Number of the epoch, from 1.
        epochs: Epochs of the whole training.
        train_loss: Mean cross-entropy of the training text in nats, as it was met, with dropout.
        validation_loss: Mean cross-entropy of the validation text after the epoch.
        learning_rate: Rate of a segment of mean length.
        is_averaged: Whether the validation was of averaged weights.
        is_best: Whether no epoch before had a validation loss as low.
        seconds: Wall time of the epoch, without the validation.
        tokens_per_second: Words read in that time.
    """

    epoch: int
    epochs: int
    train_loss: float
    validation_loss: float
    learning_rate: float
    is_averaged: bool
    is_best: bool
    seconds: float
    tokens_per_second: float

    @property
    def train_perplexity(self) -> float:
        """Perplexity of the training text."""
        return perplexity(self.train_loss)

    @property
    def validation_perplexity(self) -> float:
        """Perplexity of the validation text."""
        return perplexity(self.validation_loss)


@torch.no_grad()
def evaluate_language(module: RecurrentModule, text_D: Tensor, *, batch_size: int = 1) -> float:
    """Return the mean cross-entropy of a text in nats, on the device that `module` is on.

    Args:
        module: Language model.
        text_D: Words by their numbers; the first of each column is given, the others are scored.
        batch_size: Columns that are read side by side; with 1 no word is cut off.

    Raises:
        DataUnusable: The text is too short.
    """
    device = module.bias.device
    text_TN = columns(text_D, batch_size).to(device)
    state_NH = module.initial_state(batch_size)
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    for tokens_TN, targets_TN in regular_segments(text_TN, EVALUATION_ROWS):
        unrolled = module(tokens_TN, state_NH)
        state_NH = unrolled.state
        loss_sum += _cross_entropy(unrolled.logits, targets_TN, reduction="sum").double()
    return loss_sum.item() / ((len(text_TN) - 1) * batch_size)


def train_language(
    module: RecurrentModule,
    training_D: Tensor,
    validation_D: Tensor,
    settings: LanguageSettings,
    *,
    seed: int,
    device: str = "auto",
    checkpoint: Path | None = None,
    resume: bool = False,
    on_step: Callable[[int, LanguageStep], None] | None = None,
) -> Iterator[LanguageReport]:
    """Train `module` from the weights it has; one report for each epoch.

    After each report `module` has the weights of the last step, after the last report those with
    the best validation loss, averaged ones if they were best.

    A report comes after the checkpoint of its epoch is on disk, so that a training killed at any
    time can be resumed. On a CPU the result depends on the arguments and the number of threads
    alone, a resumed training's too.

    Args:
        module: Language model; moved to the device and trained in place.
        training_D: Text to learn from.
        validation_D: Text to measure each epoch on; it triggers the averaging and chooses the
            weights that are kept.
        settings: The recipe.
        seed: Chooses lengths of segments and dropout.
        device: "auto" for the GPU if there is one, or a device name of torch.
        checkpoint: File to keep the state in after each epoch; none is kept when None.
        resume: Go on from `checkpoint` if it exists; epochs that it has are not reported again.
        on_step: Called after each gradient step with the number of the epoch, from 1, and the
            step.

    Raises:
        ValueError: `resume` without a checkpoint file to resume from.
        CheckpointUnusable: The checkpoint cannot be read or belongs to another training.
        DataUnusable: A text is too short.
        TrainingDiverged: The loss is infinite or not a number.
    """
    if resume and checkpoint is None:
        raise ValueError("resume needs the checkpoint to resume from")
    text_TN = columns(training_D, settings.batch_size)
    columns(validation_D, settings.evaluation_batch_size)  # Too short? Better now than later.
    state = LanguageState(module, settings.epochs)
    place(state, device)
    text_TN = text_TN.to(module.bias.device)
    optimizer = torch.optim.SGD(
        module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    epochs_done = 0
    if checkpoint is not None and resume and checkpoint.exists():
        epochs_done = load_checkpoint(checkpoint, state, optimizer, settings=settings, seed=seed)
    for epoch in range(epochs_done + 1, settings.epochs + 1):
        is_averaged = state.should_average(epoch - 1, settings.patience_epochs)
        start_s = time.perf_counter()
        loss_sum, tokens = 0.0, 0
        for step in _train_epoch(module, optimizer, text_TN, settings, seed=seed, epoch=epoch):
            loss_sum += step.loss * step.tokens
            tokens += step.tokens
            if is_averaged:
                state.average.add()
            if on_step is not None:
                on_step(epoch, step)
        seconds = time.perf_counter() - start_s
        with state.applied_average():
            loss = evaluate_language(
                module, validation_D, batch_size=settings.evaluation_batch_size
            )
            is_best = state.see(epoch, loss)
        if checkpoint is not None:
            save_checkpoint(
                checkpoint, state, optimizer, epochs_done=epoch, settings=settings, seed=seed
            )
        yield LanguageReport(
            epoch=epoch,
            epochs=settings.epochs,
            train_loss=loss_sum / tokens,
            validation_loss=loss,
            learning_rate=settings.learning_rate_in(epoch),
            is_averaged=is_averaged,
            is_best=is_best,
            seconds=seconds,
            tokens_per_second=tokens / seconds,
        )
    module.load_state_dict(state.best.state_dict())


def _train_epoch(
    module: RecurrentModule,
    optimizer: torch.optim.Optimizer,
    text_TN: Tensor,
    settings: LanguageSettings,
    *,
    seed: int,
    epoch: int,
) -> Iterator[LanguageStep]:
    generator = torch.Generator().manual_seed(derived_seed(seed, epoch))
    rng = np.random.default_rng([seed, epoch])  # Lengths are alike whatever the dropout draws.
    rows, columns_N = text_TN.shape
    state_NH = module.initial_state(columns_N)
    rows_done = 0
    for tokens_TN, targets_TN in segments(text_TN, settings.segments, rng):
        learning_rate = settings.learning_rate_in(epoch) * len(tokens_TN) / settings.segments.mean
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        masks = settings.dropout.draw(
            batch=columns_N,
            hidden=module.network.hidden,
            vocabulary=module.network.vocabulary,
            generator=generator,
            device=text_TN.device,
        )
        unrolled = module(tokens_TN, state_NH.detach(), masks)
        state_NH = unrolled.state
        loss = _cross_entropy(unrolled.logits, targets_TN)
        loss_value = loss.item()
        if not math.isfinite(loss_value):
            raise TrainingDiverged(
                f"the loss became {loss_value} in epoch {epoch}, row {rows_done + 1}, at "
                f"learning rate {learning_rate:.3g}: train with a lower learning rate"
            )
        optimizer.zero_grad()
        torch.autograd.backward(loss + _regularization(unrolled, settings))
        nn.utils.clip_grad_norm_(module.parameters(), settings.clip_norm)
        optimizer.step()
        rows_done += len(tokens_TN)
        yield LanguageStep(
            rows_done=rows_done,
            rows=rows - 1,
            tokens=tokens_TN.numel(),
            loss=loss_value,
            learning_rate=learning_rate,
        )


def _regularization(unrolled: Unrolled, settings: LanguageSettings) -> Tensor:
    """Activation regularization, and temporal activation regularization."""
    change_TNH = unrolled.states[1:] - unrolled.states[:-1]
    return (
        settings.activation_decay * unrolled.outputs.square().mean()
        + settings.slowness * change_TNH.square().mean()
    )


def _cross_entropy(logits_TNV: Tensor, targets_TN: Tensor, reduction: str = "mean") -> Tensor:
    return F.cross_entropy(logits_TNV.flatten(0, 1), targets_TN.flatten(), reduction=reduction)
