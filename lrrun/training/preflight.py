"""One batch through everything: data, model, loss, gradients, an update and an evaluation."""

from __future__ import annotations

import math
from typing import Any

import torch

from lrrun.config.experiment import Experiment
from lrrun.errors import ConfigError, Problem
from lrrun.training.evaluation import evaluate
from lrrun.training.loop import Loop
from lrrun.training.preparation import prepare


def one_batch(experiment: Experiment) -> dict[str, Any]:
    """Make one update and evaluate one batch; nothing is written.

    Raises ConfigError where the model cannot take the data or the first loss is not finite.
    """
    prepared = prepare(experiment.with_seed(experiment.seeds[0]))
    trainee, data = prepared.trainee, prepared.data
    batch_size = experiment.dataset.batch_size
    loop = Loop(trainee, data, experiment.train, batch_size, prepared.clock, experiment.seeds[0])
    try:
        loss, norm = loop.first_update()
        metrics = evaluate(trainee, data.val, batch_size, limit=batch_size) or {}
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        text = f"one batch did not go through: {type(error).__name__}: {error}"
        raise ConfigError([experiment.problem(("model",), text)]) from error
    if not math.isfinite(loss):
        text = f"the loss of the first batch is {loss}; is the data finite?"
        raise ConfigError([Problem(("dataset",), text)])
    shown = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
    parameters = sum(each.numel() for each in trainee.model.parameters())
    threads = torch.get_num_threads()
    return {
        "device": f"{trainee.device}, {threads} thread{'s' if threads > 1 else ''}",
        "parameters": f"{parameters:,}",
        "first batch": f"loss {loss:.4g}, gradient norm {norm:.4g}",
        "evaluation": shown,
    }
