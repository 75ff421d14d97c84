"""What an optimizer section may hold: known names, their own arguments, what excludes what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lrrun.config.optimizers.groups import GroupSpec, is_taken
from lrrun.config.optimizers.table import OPTIMIZERS, Optimizer, canonical
from lrrun.errors import KeyPath
from lrrun.registry import is_import_path, unknown, unknown_argument

if TYPE_CHECKING:
    from lrrun.config.optimizers.spec import OptimizerSpec

Finding = tuple[KeyPath, str, object]
"""Where, what is wrong, and what stands there."""

_CLOSURE = (
    "lbfgs evaluates the model several times in a step (a closure), which the loop does not do; "
    "use adam or sgd"
)

_NOT_ADAM = (
    "its LRs are those of Adam and its kin, which have betas, and {name} has none; with sgd, in "
    "Table 3 of Tensor Programs V, the LR of input weights and biases grows with fan-out, that of "
    "output weights falls with fan-in and that of hidden weights stays; use adamw, or write groups "
    "with an lr_factor each"
)


def read_arguments(
    written: Mapping[str, Any], own: Sequence[str]
) -> tuple[dict[str, Any], list[Finding]]:
    """The section with its name and arguments as torch takes them, and what is wrong with them.

    `own` names the keys that are lrrun's, whose types are checked elsewhere.
    """
    values = dict(written)
    name = written.get("name")
    if not isinstance(name, str):
        return values, []
    values["name"] = name = canonical(name)
    if name not in OPTIMIZERS:
        text = _CLOSURE if name == "lbfgs" else unknown("optimizer", name, OPTIMIZERS)
        return values, [] if is_import_path(name) else [(("name",), text, name)]
    optimizer = OPTIMIZERS[name]
    findings = _read(values, optimizer, own, ())
    if isinstance(values.get("groups"), (list, tuple)):
        groups = [dict(each) if isinstance(each, Mapping) else each for each in values["groups"]]
        for index, group in enumerate(groups):
            if isinstance(group, dict):
                keys = tuple(GroupSpec.model_fields)
                findings += _read(group, optimizer, keys, ("groups", index))
        values["groups"] = groups
    return values, findings


def _read(
    values: dict[str, Any], optimizer: Optimizer, own: Sequence[str], path: KeyPath
) -> list[Finding]:
    """Read the optimizer's arguments among `values` in place; returns what is wrong."""
    findings: list[Finding] = []
    for key in [each for each in values if each not in own]:
        written = values[key]
        if key in optimizer.defaults:
            try:
                values[key] = optimizer.kind(key).read(written)
            except ValueError as error:
                findings.append(((*path, key), str(error), written))
        elif key == "lr":
            text = "a group's LR is written as lr_factor, a fraction of optimizer.lr"
            findings.append(((*path, key), text, written))
        else:
            text = unknown_argument(key, [*own, *optimizer.defaults])
            findings.append(((*path, key), text, written))
    return findings


def rule_findings(spec: OptimizerSpec) -> list[Finding]:
    """What excludes what, in a section whose every value is of the right kind."""
    findings: list[Finding] = []
    if not spec.is_custom:
        defaults = OPTIMIZERS[spec.name].defaults
        if not spec.decay_norms_and_biases and "weight_decay" not in defaults:
            text = f"{spec.name} has no weight decay to leave out"
            findings.append((("decay_norms_and_biases",), text, False))
        common = {**defaults, **spec.arguments}
        findings += _clashes(spec.name, common, ())
        for index, group in enumerate(spec.groups):
            if group.arguments:
                findings += _clashes(spec.name, {**common, **group.arguments}, ("groups", index))
    if spec.mup is not None and spec.beta2 is None:
        findings.append((("mup",), _NOT_ADAM.format(name=spec.name), spec.name))
    return findings + _name_clashes(spec.groups)


def _clashes(name: str, arguments: Mapping[str, Any], path: KeyPath) -> list[Finding]:
    findings: list[Finding] = []
    if name == "sgd" and arguments["nesterov"]:
        if arguments["momentum"] == 0:
            text = "nesterov needs a momentum above 0; add momentum: 0.9, or leave nesterov out"
            findings.append(((*path, "nesterov"), text, True))
        if arguments["dampening"] != 0:
            text = f"nesterov needs a dampening of 0, got {arguments['dampening']:g}"
            findings.append(((*path, "dampening"), text, arguments["dampening"]))
    if arguments.get("fused") and arguments.get("foreach"):
        text = "fused and foreach exclude each other; leave one out"
        findings.append(((*path, "fused"), text, True))
    return findings


def _name_clashes(groups: Sequence[GroupSpec]) -> list[Finding]:
    findings: list[Finding] = []
    taken: dict[str, int] = {}
    for index, group in enumerate(groups):
        label = group.label(index + 1)
        if is_taken(label):
            text = f"{label!r} is what lrrun calls a group of its own; choose another name"
        elif label in taken:
            text = f"groups {taken[label] + 1} and {index + 1} are both called {label!r}; name one"
        else:
            taken[label] = index
            continue
        findings.append((("groups", index, "name"), text, label))
    return findings
