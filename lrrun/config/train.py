"""The `train` section: how long, on what, and with which aids."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lrrun.config.base import Section
from lrrun.config.fields import DEVICE, Count, LengthField, TokensField
from lrrun.units import Length


class EarlyStopping(Section):
    """End the run when a metric has not improved for a number of evaluations."""

    metric: str = "val_loss"
    """The metric to watch."""
    patience: Count = 5
    """Evaluations without an improvement after which the run ends."""
    mode: Literal["min", "max"] = "min"
    """Whether a smaller or a larger value is better."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """An improvement must be larger than this."""


class Headroom(Section):
    """Measure now and then how far the LR is from the one at which an update stops helping."""

    every: LengthField = Length(50, "steps")
    """How often to measure; a measurement costs about ten forward passes on the update's rows."""


class Train(Section):
    """The training loop's settings."""

    epochs: Count | None = None
    """The horizon in passes over the training data; give one of epochs, steps and tokens."""
    steps: Count | None = None
    """The horizon in optimizer updates."""
    tokens: TokensField | None = None
    """The horizon in training tokens (300M), for datasets of text."""
    scale: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Shrink or stretch the run, and every length of its schedule, to this multiple."""
    device: Annotated[str, Field(pattern=DEVICE)] = "auto"
    """auto, cpu, cuda, cuda:1 or mps; auto takes cuda, then mps, then cpu."""
    evaluate: LengthField | None = None
    """How often to evaluate; by default at every epoch's end. Always at the end of the run."""
    val_rows: Count | None = None
    """Evaluate on the first so many validation rows only; by default on all."""
    accumulate: Count = 1
    """Batches whose gradients are averaged into one update; schedules count updates."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Scale gradients down to this norm where theirs is larger."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Smoothing of the training targets; validation losses are never smoothed."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of an exponential moving average of the weights; where given, it is evaluated."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Autocast type of the forward pass; fp16 scales the loss."""
    compile: bool | Literal["auto"] = False
    """Compile the training step (10 to 20 seconds, once); auto does so for runs of 100,000 updates
    and more where a compiler is found."""
    cuda_graph: bool | Literal["auto"] = "auto"
    """Launch all kernels of an update at once, on CUDA; auto does so for built-in models whose
    steps are small, true for any model whose forward pass is the same at every call."""
    grad_norm: bool = False
    """Log the gradients' norm at every step and epoch."""
    log_every: Count = 1
    """Steps between rows of steps.csv."""
    headroom: Headroom | None = None
    """Log LR / critical LR and update-to-weight ratios to headroom.csv; changes nothing else."""
    early_stopping: EarlyStopping | None = None
    """End the run early; by default it runs to its horizon."""
    divergence_factor: Annotated[float, Field(gt=1)] = 10.0
    """The run has diverged when its smoothed loss exceeds this multiple of its first loss."""
    spike_factor: Annotated[float, Field(gt=1)] | None = None
    """A single loss above this multiple of the smoothed loss counts as divergence too."""
    on_divergence: Literal["stop", "skip", "rewind"] = "stop"
    """End the run; leave out the update of a batch whose loss or gradients are not finite, or whose
    loss is a spike; or go back to the last checkpoint, with a lower LR from there on."""
    rewind_factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """What a rewind multiplies the LR by."""
    deterministic: bool = False
    """Use only algorithms that give the same bits every time; matters on CUDA, and costs speed."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """CPU threads; by default one for models whose steps are too small to share."""

    @model_validator(mode="after")
    def _one_horizon(self) -> Train:
        given = [key for key in ("epochs", "steps", "tokens") if getattr(self, key) is not None]
        if len(given) != 1:
            got = " and ".join(given) if given else "none of them"
            raise ValueError(f"expected one of epochs, steps and tokens, got {got}")
        return self
