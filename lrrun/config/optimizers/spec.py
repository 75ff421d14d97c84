"""The `optimizer` section: a name, the LR, torch's own arguments and param groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import (
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from lrrun.config.base import Section
from lrrun.config.optimizers.groups import GroupSpec
from lrrun.config.optimizers.mup import Mup
from lrrun.config.optimizers.rules import Finding, read_arguments, rule_findings
from lrrun.config.optimizers.table import OPTIMIZERS


class OptimizerSpec(Section):
    """An optimizer of torch.optim under its short name, or somebody's own under an import path.

    Every other key is one of the optimizer's own arguments, under torch's name for it. What changes
    a param group's base LR (a group's lr_factor, layer_decay, mup) is multiplied; percents in its
    schedule are of that base LR, bare LRs in it are the same for all groups.

    >>> OptimizerSpec(name="AdamW", lr=3e-4, betas=[0.9, 0.95]).arguments
    {'betas': (0.9, 0.95)}
    """

    model_config = ConfigDict(extra="allow")

    name: str
    """sgd, adam, adamw, … as torch.optim names its classes, or `package.module:thing`."""
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """The base LR; left out only where the schedule brings its own."""
    groups: Annotated[tuple[GroupSpec, ...], Field(strict=False)] = ()
    """Param groups by pattern; parameters that no pattern matches form the group `default`."""
    decay_norms_and_biases: bool = True
    """False: norms, biases and other vectors get a weight decay of 0, in groups of their own."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    """Each layer's LR as a fraction of the LR of the layer above it; the last one keeps the LR."""
    mup: Mup | None = None
    """LRs that follow the widths of the layers, for optimizers like Adam (muP)."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The optimizer's own arguments as given, without `lr`, as torch takes them."""
        return self.model_extra or {}

    @property
    def is_custom(self) -> bool:
        """True where the name is an import path of somebody's own code."""
        return self.name not in OPTIMIZERS

    def argument(self, name: str) -> Any:
        """The value in effect: as given, else torch's default, else None."""
        defaults = {} if self.is_custom else OPTIMIZERS[self.name].defaults
        return self.arguments.get(name, defaults.get(name))

    @property
    def beta2(self) -> float | None:
        """The decay rate β₂ of the squared gradients' average; None where there is none."""
        betas = self.argument("betas")
        return float(betas[1]) if isinstance(betas, (tuple, list)) and len(betas) == 2 else None

    @property
    def momentum_key(self) -> str | None:
        """What a schedule of momentum drives: `momentum`, `betas` (the first of them) or None."""
        return next((key for key in ("momentum", "betas") if self.argument(key) is not None), None)

    @model_validator(mode="wrap")
    @classmethod
    def _with_arguments(
        cls, written: Any, handler: ModelWrapValidatorHandler[OptimizerSpec]
    ) -> OptimizerSpec:
        """Read the arguments, which depend on the name; all findings are raised at once."""
        if not isinstance(written, Mapping):
            return handler(written)
        values, findings = read_arguments(written, own=tuple(cls.model_fields))
        details = list(_details(findings))
        try:
            spec = handler(values)
        except ValidationError as error:
            details = [*_again(error), *details]
        else:
            details += _details(rule_findings(spec) if not findings else ())
        if details:
            raise ValidationError.from_exception_data(cls.__name__, details)
        return spec

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The schema that editors read: each optimizer's own arguments once its name is given."""
        described = super().__get_pydantic_json_schema__(core_schema, handler)
        schema = handler.resolve_ref_schema(described)
        schema["properties"]["name"]["anyOf"] = [{"enum": list(OPTIMIZERS)}, {"pattern": ":"}]
        schema["allOf"] = [
            {
                "if": {"properties": {"name": {"const": name}}},
                "then": {
                    "properties": {
                        key: {**each.kind(key).schema, "default": default}
                        for key, default in each.defaults.items()
                    }
                },
            }
            for name, each in OPTIMIZERS.items()
        ]
        return schema


def _details(findings: tuple[Finding, ...] | list[Finding]) -> Iterator[InitErrorDetails]:
    for path, message, written in findings:
        error = PydanticCustomError("optimizer", "{message}", {"message": message})
        yield InitErrorDetails(type=error, loc=path, input=written)


def _again(error: ValidationError) -> Iterator[InitErrorDetails]:
    """The findings of `error`, kinds and contexts kept, to be raised along with others."""
    for each in error.errors(include_url=False):
        kind = PydanticCustomError(each["type"], each["msg"], each.get("ctx"))
        yield InitErrorDetails(type=kind, loc=each["loc"], input=each["input"])
