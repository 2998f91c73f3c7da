"""One pass over the images: batches, augmentation, gradient steps, evaluation.

The caller chooses the number of threads: worker processes that share a machine should each call
`torch.set_num_threads(1)`, because intra-op threads that wait for one another spin.

Shapes: N images of a batch (D of the whole set), C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolchain.errors import TrainingDiverged
from toolchain.tasks.classification import ImageSet
from toolchain.tasks.images import ChannelStatistics
from toolchain.train.photo_augmentation import augment_photos
from toolchain.train.recipe import TrainSettings, derived_seed

EVALUATION_BATCH = 256
CROP_SHARE = 8


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one gradient step saw, before it changed the weights.

    Attributes:
        index: Number of the step in its epoch, from 0.
        steps: Steps of a whole epoch.
        images: Images in the batch.
        loss: Mean training loss of the batch.
        accuracy: Share of the batch that was classified rightly, in [0, 1].
        learning_rate: Rate of the step.
    """

    index: int
    steps: int
    images: int
    loss: float
    accuracy: float
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Quality on a set of images.

    Attributes:
        accuracy: Share classified rightly, in [0, 1].
        loss: Mean cross-entropy in nats, without label smoothing.
    """

    accuracy: float
    loss: float


def place(module: nn.Module, device: str) -> None:
    """Move `module` to a device, its convolutions in the memory format that they like.

    Args:
        module: Moved in place.
        device: "auto" for the GPU if there is one, else the CPU; or a device name of torch.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    # The annotations of torch 2.13 do not know memory_format.
    module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def train_epoch(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    training: ImageSet,
    settings: TrainSettings,
    *,
    seed: int,
    epoch: int,
) -> Iterator[Step]:
    """Train for one epoch on the device that `module` is on; one item for each gradient step.

    Order and augmentation of the images depend on `seed` and `epoch` alone, whatever the module;
    what the module itself draws (dropout) depends on them too. An epoch may be left early.

    Args:
        module: Classifier; put into training mode.
        optimizer: Made by `build_optimizer`.
        training: Images to learn from.
        settings: The recipe.
        seed: Chooses order, augmentation and dropout.
        epoch: Number of this epoch, from 0.

    Raises:
        TrainingDiverged: The loss is infinite or not a number; the weights of the step
            before are kept.
    """
    device = next(module.parameters()).device
    generator = torch.Generator().manual_seed(derived_seed(seed, epoch))
    batches = _batches(torch.randperm(len(training), generator=generator), settings.batch_size)
    steps = len(batches)
    module.train()
    for index, batch_N in enumerate(batches):
        progress = (epoch * steps + index) / (settings.epochs * steps)
        learning_rate = settings.learning_rate_at(progress)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        images_NCHW = training.images[batch_N]
        if settings.augment == "crop-flip":
            images_NCHW = crop_and_flip(images_NCHW, generator)
        elif settings.augment == "photo":
            images_NCHW = augment_photos(images_NCHW, generator)
        x_NCHW = normalize(images_NCHW, training, device)
        labels_N = training.labels[batch_N].to(device)
        with _module_randomness(device, derived_seed(seed, epoch, index)):
            logits_NK = module(x_NCHW)
        loss = F.cross_entropy(logits_NK, labels_N, label_smoothing=settings.label_smoothing)
        loss_value = loss.item()
        if not math.isfinite(loss_value):
            raise TrainingDiverged(
                f"the loss became {loss_value} in epoch {epoch + 1}, step {index + 1}, at "
                f"learning rate {learning_rate:.3g}: train with a lower learning rate"
            )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        yield Step(
            index=index,
            steps=steps,
            images=len(batch_N),
            loss=loss_value,
            accuracy=(logits_NK.argmax(dim=1) == labels_N).float().mean().item(),
            learning_rate=learning_rate,
        )


@torch.no_grad()
def evaluate(module: nn.Module, images: ImageSet) -> Evaluation:
    """Measure `module` on `images`, on the device that it is on; its mode is left as it was."""
    device = next(module.parameters()).device
    was_training = module.training
    module.eval()
    right, loss_sum = 0, 0.0
    for batch_N in torch.split(torch.arange(len(images)), EVALUATION_BATCH):
        logits_NK = module(normalize(images.images[batch_N], images, device))
        labels_N = images.labels[batch_N].to(device)
        right += int((logits_NK.argmax(dim=1) == labels_N).sum())
        loss_sum += F.cross_entropy(logits_NK, labels_N, reduction="sum").item()
    module.train(was_training)
    return Evaluation(accuracy=right / len(images), loss=loss_sum / len(images))


def normalize(images_NCHW: Tensor, statistics: ChannelStatistics, device: torch.device) -> Tensor:
    """Turn bytes to floats of mean 0 and deviation 1, in the memory format convolutions like."""
    mean_C11 = torch.tensor(statistics.mean, device=device)[:, None, None] * 255
    std_C11 = torch.tensor(statistics.std, device=device)[:, None, None] * 255
    x_NCHW = images_NCHW.to(device).to(torch.float32, memory_format=torch.channels_last)
    return (x_NCHW - mean_C11) / std_C11


def crop_and_flip(images_NCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to an eighth of its size, 0 moving in, and mirror half of them."""
    count, _, rows, columns = images_NCHW.shape
    pad_rows, pad_columns = rows // CROP_SHARE, columns // CROP_SHARE
    padded = F.pad(images_NCHW, (pad_columns, pad_columns, pad_rows, pad_rows))
    top_N1 = torch.randint(2 * pad_rows + 1, (count, 1), generator=generator)
    left_N1 = torch.randint(2 * pad_columns + 1, (count, 1), generator=generator)
    is_flipped_N1 = torch.rand((count, 1), generator=generator) < 0.5
    row_NH = top_N1 + torch.arange(rows)
    column_NW = left_N1 + torch.arange(columns)
    column_NW = torch.where(is_flipped_N1, column_NW.flip(1), column_NW)
    image_N11 = torch.arange(count)[:, None, None]
    moved_NHWC = padded[image_N11, :, row_NH[:, :, None], column_NW[:, None, :]]
    return moved_NHWC.permute(0, 3, 1, 2)


def _batches(order_D: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    batches = torch.split(order_D, batch_size)
    # Batch normalisation has no variance over a single image.
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches


@contextlib.contextmanager
def _module_randomness(device: torch.device, seed: int) -> Iterator[None]:
    """Seed what modules draw from, and give the process its own random state back."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
