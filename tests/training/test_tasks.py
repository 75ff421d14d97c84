"""Losses and metrics, held against scikit-learn and closed forms."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
)

from lrrun.errors import ConfigError
from lrrun.training.tasks import task_for

BATCHES = (8, 8, 8, 3)  # a ragged last batch


def evaluated(task, outputs, y, batches=BATCHES):
    parts = zip(outputs.split(batches), y.split(batches), strict=True)
    return task.metrics(sum(task.evaluate_batch(out, target) for out, target in parts))


@pytest.fixture
def logits():
    return 3 * torch.randn(27, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def classes():
    return torch.randint(5, (27,), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
def test_classification_metrics_are_sklearns(logits, classes, label_smoothing):
    """Over a ragged last batch, and never smoothed."""
    found = evaluated(task_for("classification", label_smoothing), logits, classes)
    chances = logits.double().softmax(-1).numpy()
    assert found == pytest.approx(
        {
            "val_loss": log_loss(classes, chances, labels=range(5)),
            "val_acc": accuracy_score(classes, chances.argmax(-1)),
        },
        rel=1e-6,
    )


@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
def test_the_training_loss_is_the_smoothed_cross_entropy(logits, classes, label_smoothing):
    targets = (1 - label_smoothing) * np.eye(5)[classes.numpy()] + label_smoothing / 5
    expected = -(targets * logits.double().log_softmax(-1).numpy()).sum(1).mean()
    loss = task_for("classification", label_smoothing).loss(logits, classes)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_language_metrics_are_per_token(logits, classes):
    task = task_for("language")
    logits_BTV, y_BT = logits.reshape(9, 3, 5), classes.reshape(9, 3)
    found = evaluated(task, logits_BTV, y_BT, (4, 4, 1))
    flat = evaluated(task_for("classification"), logits, classes)
    assert found["val_loss"] == pytest.approx(flat["val_loss"], rel=1e-9)
    assert found["val_acc"] == flat["val_acc"]
    assert found["val_bits"] == pytest.approx(flat["val_loss"] / math.log(2), rel=1e-9)
    torch.testing.assert_close(
        task.loss(logits_BTV, y_BT), task_for("classification").loss(logits, classes)
    )


def test_a_uniform_guess_of_a_byte_is_8_bits():
    found = evaluated(
        task_for("language"), torch.zeros(2, 4, 256), torch.zeros(2, 4, dtype=torch.long), (2,)
    )
    assert found["val_bits"] == pytest.approx(8.0, rel=1e-6)


@pytest.mark.parametrize("targets", [1, 3])
def test_regression_metrics_are_sklearns(targets):
    generator = torch.Generator().manual_seed(2)
    y = torch.randn(27, targets, generator=generator) * torch.tensor([1.0, 5.0, 0.1])[:targets] + 30
    outputs = y + torch.randn(27, targets, generator=generator)
    found = evaluated(task_for("regression"), outputs, y)
    assert found == pytest.approx(
        {
            "val_loss": mean_squared_error(y, outputs),
            "val_mae": mean_absolute_error(y, outputs),
            "val_r2": r2_score(y, outputs),
        },
        rel=1e-5,
    )
    assert task_for("regression").loss(outputs, y).item() == pytest.approx(found["val_loss"], 1e-5)


def test_targets_of_one_column_may_be_flat():
    y, outputs = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([[1.0], [3.0], [4.0]])
    task = task_for("regression")
    assert task.loss(outputs, y).item() == pytest.approx(1 / 3)
    found = evaluated(task, outputs, y, (3,))
    assert found["val_r2"] == pytest.approx(1 - 1 / (42 / 9))
    with pytest.raises(RuntimeError):
        task.loss(outputs, torch.zeros(6))


@pytest.mark.parametrize(("miss", "r2"), [(0.0, 1.0), (0.5, 0.0)])
def test_r2_of_a_constant_target_is_sklearns(miss, r2):
    y = torch.full((27, 1), 0.5)
    found = evaluated(task_for("regression"), y + miss, y)
    assert found["val_r2"] == r2 == r2_score(y, y + miss)


def test_rounding_is_no_spread_of_the_targets():
    """Σy² - (Σy)²/n of a constant is seldom exactly 0 in float64, and R² would be -10^16."""
    y = torch.linspace(0.1, 20, 50, dtype=torch.float64).expand(27, 50)
    assert evaluated(task_for("regression"), y + 0.5, y)["val_r2"] == 0.0


@pytest.mark.parametrize("name", ["classification", "language", "regression"])
def test_half_precision_outputs_are_averaged_in_full(name):
    outputs = torch.randn(4, 6, generator=torch.Generator().manual_seed(3)).bfloat16()
    y = torch.zeros(4, 6) if name == "regression" else torch.zeros(4, dtype=torch.long)
    task = task_for(name)
    assert task.loss(outputs, y).dtype == torch.float32
    torch.testing.assert_close(task.loss(outputs, y), task.loss(outputs.float(), y))
    assert torch.equal(task.evaluate_batch(outputs, y), task.evaluate_batch(outputs.float(), y))


@pytest.mark.parametrize("name", ["classification", "language", "regression"])
def test_metrics_have_the_names_that_the_task_gives(name):
    task = task_for(name)
    y = torch.zeros(4, 6) if name == "regression" else torch.zeros(4, dtype=torch.long)
    assert tuple(task.metrics(task.evaluate_batch(torch.randn(4, 6), y))) == task.metric_names


def test_a_loss_that_is_not_a_number_stays_one():
    task = task_for("classification")
    found = evaluated(task, torch.full((2, 3), math.nan), torch.zeros(2, dtype=torch.long), (2,))
    assert math.isnan(found["val_loss"])


def test_label_smoothing_needs_classes():
    with pytest.raises(ConfigError, match=r"train.label_smoothing"):
        task_for("regression", 0.1)
