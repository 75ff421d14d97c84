"""Names and keys that other tools have and we do not → how the same is written here."""

from __future__ import annotations

from collections.abc import Mapping

LACKING = {
    "keras.LinearDecay": "keras has no LinearDecay; keras.PolynomialDecay with power 1 is a line",
    "keras.WarmUp": "keras has no WarmUp; keras.CosineDecay takes warmup_target and warmup_steps",
    "torch.WarmupLR": "torch has no WarmupLR; torch.LinearLR in a SequentialLR, or warmup: 5% here",
}
"""Names that tutorials paste and that their library lacks → what it has instead."""

DROPPED = {"verbose": "torch has dropped it, and it changed no LR; leave it out"}
"""Keys of pasted snippets that their library no longer takes → what to do."""

_KNOWN = ("torch", "keras", "optax", "timm", "mmengine", "transformers", "pytorch_scheduler")
_STARTED = "warmup: {for: 500 steps, start: 0}"  # from 0 at step 0, where ours begins above it
_TRANSLATED = {
    "DeepSpeed's": {
        "WarmupLR": f"{{name: constant, {_STARTED}}}, with shape: log in it for its default",
        "WarmupDecayLR": f"{{name: linear, {_STARTED}}}, with shape: log in it for its default",
        "WarmupCosineLR": f"{{name: cosine, final: 0.01%, {_STARTED}}}, nearly",
        "LRRangeTest": "`lrrun find CONFIG`",
    },
    "fairseq's": {
        "inverse_sqrt": "{name: inverse-sqrt, warmup: {for: 4000 steps, start: 1e-7}}",
        "polynomial_decay": f"{{name: polynomial, power: 1, {_STARTED}}}",
        "triangular": "{name: cyclic, up: 2500 steps, low: 10%}",
    },
    "NeMo's": {
        "CosineAnnealing": "{name: cosine, warmup: 500 steps, final: 10%}",
        "NoamAnnealing": "{name: transformer, warmup: 500 steps, d_model: 512}",
        "SquareRootAnnealing": "{name: polynomial, power: 0.5}",
    },
    "OLMo's and LLM Foundry's": {
        "cosine_with_warmup": "{name: cosine, warmup: 500 steps, final: 10%} for an alpha_f of 0.1",
        "linear_decay_with_warmup": "{name: linear, warmup: 500 steps}",
        "linear_with_warmup": "{name: linear, warmup: 500 steps}",
        "inv_sqrt_with_warmup": "{name: inverse-sqrt, warmup: 500 steps}",
    },
    "Lightning Bolts'": {
        "LinearWarmupCosineAnnealingLR": "{name: cosine, warmup: {for: 10 epochs, start: 1%}}",
    },
    "detectron2's": {
        "WarmupMultiStepLR": "{name: multistep, at: [60%, 80%], warmup: {for: 500 steps, "
        "start: 0.1%}}, its milestones counted from the warmup's end",
    },
    "the package cosine_annealing_warmup's": {
        "CosineAnnealingWarmupRestarts": "{name: cosine-restarts, cycle: 200 steps, "
        "cycle_warmup: 50 steps, peak_decay: 0.5}",
    },
    "the package warmup_scheduler's": {
        "GradualWarmupScheduler": "warmup: 5 epochs in what comes after it",
    },
    "a common": {
        "noam": "{name: transformer, warmup: 500 steps, d_model: 512}",
        "trapezoidal": "{name: wsd, warmup: 5%, cooldown: 20%, shape: linear}",
        "trapezoid": "{name: wsd, warmup: 5%, cooldown: 20%, shape: linear}",
        "sgdr": "{name: cosine-restarts, cycles: 3}",
        "rsqrt": "{name: inverse-sqrt, warmup: 500 steps}",
        "poly": "{name: polynomial, power: 0.9}",
        "exp": "{name: exponential, final: 1%}",
        "cosine_decay": "{name: cosine}",
        "cosine_warmup": "{name: cosine, warmup: 5%}",
        "warmup_cosine": "{name: cosine, warmup: 5%}",
        "linear_warmup": "{name: constant, warmup: 5%}",
        "warmup_linear": "{name: linear, warmup: 5%}",
        "linear_decay": "{name: linear}",
        "none": "{name: constant}",
    },
}
"""Whose name → how we write it, with lengths that stand for one's own."""

_NAMING = ("type", "_target_", "class_path", "_component_", "policy", "lr_scheduler_type", "sched")
"""Keys under which other tools write a scheduler's name."""


def meant(name: str) -> str | None:
    """What to say of a schedule's name that we do not have, where another tool has it.

    >>> meant("sgdr")
    "'sgdr' is a common name; here it is written {name: cosine-restarts, cycles: 3}"
    """
    if name in LACKING:
        return LACKING[name]
    library, _, bare = name.rpartition(".")
    if library in _KNOWN:
        return None
    folded = _fold(bare)
    for whose, names in _TRANSLATED.items():
        for theirs, ours in names.items():
            if _fold(theirs) == folded:
                return f"{name!r} is {whose} name; here it is written {ours}"
    return None


def named_otherwise(written: Mapping[str, object]) -> str | None:
    """What to say of a section without `name` that names its schedule by another tool's key."""
    key = next((each for each in _NAMING if isinstance(written.get(each), str)), None)
    if key is None:
        return None
    theirs = str(written[key])
    if (known := meant(theirs)) is not None:
        return known
    if "by_epoch" in written and "." not in theirs:
        theirs = f"mmengine.{theirs}"
    inside = [each for each in ("params", "init_args", "kwargs") if each in written]
    beside = f", and what is in {inside[0]} beside it" if inside else ""
    return f"a scheduler is named by name: write name: {theirs} for {key}{beside}"


def _fold(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
