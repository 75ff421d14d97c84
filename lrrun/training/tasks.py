"""What is learned: the training loss of a task, and its metrics, exact over all samples.

Shapes: B samples, K classes or targets, T tokens, V vocabulary. Losses are torch.nn.functional's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lrrun.config.base import METRICS, DataFacts
from lrrun.config.base import Task as TaskName
from lrrun.errors import ConfigError, Problem


class Task(ABC):
    """A training loss, and metrics that are added up over batches.

    `evaluate_batch` gives sums; add them over batches of any sizes, then hand them to `metrics`.
    Nothing is fetched from the device before `metrics`, except on MPS, which has no float64.
    """

    metric_names: ClassVar[tuple[str, ...]]

    @abstractmethod
    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The mean training loss of a batch, a scalar that can be differentiated."""

    @abstractmethod
    def evaluate_batch(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Sums over a batch, a float64 vector; label smoothing plays no part in them."""

    @abstractmethod
    def metrics(self, sums: Tensor) -> dict[str, float]:
        """The metrics of all samples whose sums are in `sums`, by the names in `metric_names`."""


class Classification(Task):
    """Cross-entropy of softmax(logits_BK) with the classes y_B, in nats; accuracy in 0..1.

    With label smoothing ε the target of the training loss is (1-ε)·onehot + ε/K (Szegedy et al.,
    Rethinking the Inception Architecture, 2015, §7, https://arxiv.org/abs/1512.00567).
    """

    metric_names: ClassVar[tuple[str, ...]] = METRICS["classification"]

    def __init__(self, label_smoothing: float = 0.0):
        self.label_smoothing = label_smoothing

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The smoothed cross-entropy, averaged over samples (and tokens)."""
        logits, classes = _rows(outputs, y)
        return F.cross_entropy(logits, classes, label_smoothing=self.label_smoothing)

    def evaluate_batch(self, outputs: Tensor, y: Tensor) -> Tensor:
        """(cross-entropy, correct, count), summed."""
        logits, classes = _rows(outputs, y)
        losses = _float64(F.cross_entropy(logits, classes, reduction="none"))
        correct = _float64(logits.argmax(-1) == classes)
        return torch.stack([losses.sum(), correct.sum(), torch.ones_like(losses).sum()])

    def metrics(self, sums: Tensor) -> dict[str, float]:
        """Mean cross-entropy, and the share of samples whose largest logit is the right one."""
        loss, correct, count = sums.tolist()
        return {"val_loss": loss / count, "val_acc": correct / count}


class Language(Classification):
    """Next-token prediction: cross-entropy of logits_BTV with y_BT, in nats a token.

    A token is a byte, so val_bits = val_loss / ln 2 is in bits a byte.
    """

    metric_names = METRICS["language"]

    def metrics(self, sums: Tensor) -> dict[str, float]:
        """As for classification, over tokens; and the loss in bits."""
        found = super().metrics(sums)
        return {**found, "val_bits": found["val_loss"] / math.log(2)}


class Regression(Task):
    """Mean squared error of outputs_BK against y_BK, averaged over samples and targets."""

    metric_names = METRICS["regression"]

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The mean squared error."""
        return F.mse_loss(_full_precision(outputs), _like(y, outputs))

    def evaluate_batch(self, outputs: Tensor, y: Tensor) -> Tensor:
        """For each target k a column of (squared error, absolute error, y, y², count), summed."""
        outputs_BK = _float64(outputs).reshape(len(outputs), -1)
        y_BK = _float64(_like(y, outputs)).reshape(len(outputs), -1)
        error_BK = outputs_BK - y_BK
        columns = (error_BK.square(), error_BK.abs(), y_BK, y_BK.square(), torch.ones_like(y_BK))
        return torch.stack([each_BK.sum(0) for each_BK in columns])

    def metrics(self, sums: Tensor) -> dict[str, float]:
        """Mean squared and absolute errors, and R² = 1 - Σ(ŷ-y)²/Σ(y-ȳ)², averaged over targets.

        A target that does not vary counts 1 where it is met exactly, else 0.
        """
        squared, absolute, total, total_squares, count = sums.cpu()
        spread = total_squares - total.square() / count
        # A difference below the rounding of its terms is a constant target, not a spread.
        constant = spread <= 1e-12 * total_squares
        r2 = torch.where(constant, (squared == 0).double(), 1 - squared / spread)
        return {
            "val_loss": float((squared / count).mean()),
            "val_mae": float((absolute / count).mean()),
            "val_r2": float(r2.mean()),
        }


def task_for(name: TaskName, label_smoothing: float = 0.0) -> Task:
    """The task of a dataset; raises ConfigError for label smoothing without classes.

    >>> task = task_for("classification")
    >>> sums = task.evaluate_batch(torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1]))
    >>> {name: round(value, 3) for name, value in task.metrics(sums).items()}
    {'val_loss': 0.693, 'val_acc': 0.5}
    """
    if name == "classification":
        return Classification(label_smoothing)
    if name == "language":
        return Language(label_smoothing)
    if label_smoothing:
        text = f"label smoothing needs classes, and this dataset's task is {name}; leave it out"
        raise ConfigError([Problem(("train", "label_smoothing"), text)])
    return Regression()


def _rows(outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and classes with one row a sample, or a token."""
    return _full_precision(outputs).flatten(0, -2), y.flatten()


def _like(y: Tensor, outputs: Tensor) -> Tensor:
    """Targets in the outputs' shape: (B,) and (B, 1) mean the same, nothing else is broadcast."""
    return y.reshape(outputs.shape)


def _full_precision(outputs: Tensor) -> Tensor:
    """Half-precision outputs (of autocast) as float32; others as they are."""
    return outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs


def _float64(values: Tensor) -> Tensor:
    """The values as float64, on the CPU where the device has none."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def chance_loss(facts: DataFacts) -> float | None:
    """The loss of a uniform guess, ln K of K classes or tokens, in nats; None for regression."""
    return None if facts.task == "regression" else math.log(facts.outputs)
