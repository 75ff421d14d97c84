"""Config data → Experiment: every section validated, all problems at once, each with its line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from lrrun.config.base import Section
from lrrun.config.datasets import DATASETS, CustomDataset
from lrrun.config.experiment import Experiment
from lrrun.config.fields import RunName, Seed
from lrrun.config.messages import problems_of
from lrrun.config.models import MODELS, CustomModel
from lrrun.config.optimizers import OptimizerSpec
from lrrun.config.overrides import apply_overrides
from lrrun.config.train import Train
from lrrun.config.yaml_text import Document, parse_document, read_document
from lrrun.errors import ConfigError, KeyPath, Problem
from lrrun.registry import import_callable, is_import_path, unknown, unknown_argument
from lrrun.schedules.placement import PartSpec
from lrrun.schedules.spec import brought_lr, parse

KEYS = ("name", "seed", "seeds", "model", "dataset", "optimizer", "scheduler", "train", "folder")
"""The top-level keys of a config."""

TRUSTED = ("torch.optim:", "torch.nn:", "torchvision.models:", "timm:create_model")
"""Import paths of well-known libraries, for which --allow-code is not needed."""

SectionT = TypeVar("SectionT", bound=Section)


def load_experiment(
    file: Path, overrides: Iterable[str] = (), allow_code: bool = False
) -> Experiment:
    """Read a config file and the overrides; raises ConfigError with every problem.

    With `allow_code` import paths are imported here, and the keys given to them held against what
    they take, before any data is read.
    """
    experiment = read_experiment(apply_overrides(read_document(file), overrides), allow_code)
    if allow_code:
        _check_code(experiment)
    return experiment


def experiment_from_text(text: str, overrides: Iterable[str] = ()) -> Experiment:
    """Read an experiment from YAML text (a template, a test)."""
    return read_experiment(apply_overrides(parse_document(text), overrides))


def read_experiment(document: Document, allow_code: bool = False) -> Experiment:
    """Validate a document; raises ConfigError with every problem, each with its `file:line`."""
    return _Reader(document, allow_code).experiment()


class _Reader:
    """Validates section by section and gathers what is wrong in all of them."""

    def __init__(self, document: Document, allow_code: bool) -> None:
        self.document = document
        self.allow_code = allow_code
        self.problems: list[Problem] = []

    def experiment(self) -> Experiment:
        data = self.top_level()
        name = self.value(RunName, data, "name", self.default_name())
        seeds = self.seeds(data)
        model = self.named_section(data, "model", MODELS, CustomModel)
        dataset = self.named_section(data, "dataset", DATASETS, CustomDataset)
        optimizer = self.section(data, "optimizer", OptimizerSpec)
        scheduler = data.get("scheduler", "constant")
        parts = self.scheduler(scheduler)
        train = self.section(data, "train", Train)
        folder = self.value(str, data, "folder", None)
        if optimizer is not None and parts:
            self.base_lr(optimizer, parts)
        if not self.allow_code:
            self.code(data)
        if self.problems or not (model and dataset and optimizer and train):
            raise ConfigError(self.document.locate(self.problems))
        where = Path(folder) if folder else self.document.folder
        return Experiment(
            name, seeds, model, dataset, optimizer, scheduler, parts, train, where, self.document
        )

    def top_level(self) -> dict[str, Any]:
        data = self.document.data
        needed = "expected at least model, dataset, optimizer and train"
        if data is None:
            raise ConfigError([Problem((), f"empty; {needed}", self.document.where(()))])
        if not isinstance(data, dict):
            got = f"expected keys and values, got {type(data).__name__}"
            raise ConfigError([Problem((), got, self.document.where(()))])
        for key in data:
            if key not in KEYS:
                self.refuse((key,), unknown_argument(key, KEYS))
        return data

    def default_name(self) -> str:
        stem = self.document.file.stem if self.document.file else "run"
        return "".join(each if each.isalnum() or each in "._-" else "-" for each in stem) or "run"

    def seeds(self, data: dict[str, Any]) -> tuple[int, ...]:
        if "seeds" not in data:
            return (self.value(Seed, data, "seed", 0),)
        if "seed" in data:
            self.refuse(("seeds",), "expected one of seed and seeds, got both")
        written = data["seeds"]
        if not isinstance(written, list) or not written:
            self.refuse(("seeds",), f"expected a list of seeds such as [0, 1, 2], got {written!r}")
            return ()
        seeds = [self.checked(Seed, each, ("seeds", k)) for k, each in enumerate(written)]
        if len(set(written)) < len(written):
            self.refuse(("seeds",), f"a seed stands twice in {written}")
        return tuple(seeds)

    def named_section(
        self,
        data: dict[str, Any],
        key: str,
        known: Sequence[type[Any]],
        custom: type[Any],
    ) -> Any:
        """A section whose `name` picks its declaration: built-in, or an import path."""
        written = data.get(key)
        if isinstance(written, str):
            data[key] = written = {"name": written}
        if not isinstance(written, dict):
            got = "is missing" if key not in data else f"expected a mapping, got {written!r}"
            self.refuse((key,), f"{got}; write {key}: {{name: ...}}")
            return None
        name = written.get("name")
        by_name = {each.model_fields["name"].default: each for each in known}
        if not isinstance(name, str):
            got = "is missing" if name is None else f"expected a name, got {name!r}"
            self.refuse((key, "name"), f"{got}; one of {', '.join(sorted(by_name))}")
            return None
        if name not in by_name and not is_import_path(name):
            self.refuse((key, "name"), unknown(key, name, by_name))
            return None
        return self.section(data, key, by_name.get(name, custom))

    def section(self, data: dict[str, Any], key: str, section: type[SectionT]) -> SectionT | None:
        written = data.get(key)
        if isinstance(written, str):
            written = {"name": written}
        if not isinstance(written, dict):
            got = "is missing" if key not in data else f"expected a mapping, got {written!r}"
            self.refuse((key,), got)
            return None
        try:
            return section.model_validate(written)
        except ValidationError as error:
            self.problems += problems_of(error, section, (key,))
            return None

    def scheduler(self, written: object) -> tuple[PartSpec, ...]:
        try:
            return parse(written)
        except ConfigError as error:
            self.problems += error.problems
            return ()

    def base_lr(self, optimizer: OptimizerSpec, parts: tuple[PartSpec, ...]) -> None:
        """The LR is said once: by the optimizer, or by a schedule that brings its own."""
        brought = brought_lr(parts)
        if optimizer.lr is None and brought is None:
            self.refuse(("optimizer", "lr"), "is missing; write lr: 0.01")
        if brought is None:
            return
        path, value = brought
        if optimizer.lr is not None and optimizer.lr != value:
            used = (
                f"{path[-1]}: {value:g}" if value is not None else f"the schedule's own {path[-1]}"
            )
            text = f"{optimizer.lr:g} disagrees with {used}; leave lr out, or make them equal"
            self.refuse(("optimizer", "lr"), text)
        for k, group in enumerate(optimizer.groups):
            if group.lr_factor != 1:
                text = f"the schedule brings its own LR ({path[-1]}), which no factor changes"
                self.refuse(("optimizer", "groups", k, "lr_factor"), text)

    def code(self, data: dict[str, Any]) -> None:
        """Import paths are code: refused until --allow-code says that it is trusted."""
        for key in ("model", "dataset", "optimizer"):
            name = data[key].get("name") if isinstance(data.get(key), dict) else None
            if isinstance(name, str) and is_import_path(name) and not name.startswith(TRUSTED):
                text = f"{name} would be imported and run; pass --allow-code if you trust it"
                self.refuse((key, "name"), text)

    def value(self, kind: Any, data: dict[str, Any], key: str, default: Any) -> Any:
        return self.checked(kind, data[key], (key,)) if key in data else default

    def checked(self, kind: Any, written: object, path: KeyPath) -> Any:
        try:
            return TypeAdapter(kind, config={"strict": True}).validate_python(written)
        except ValidationError as error:
            self.problems += problems_of(error, BaseModel, path)
            return None

    def refuse(self, path: KeyPath, message: str) -> None:
        self.problems.append(Problem(path, message))


def _check_code(experiment: Experiment) -> None:
    """Import what import paths name, and hold the keys given to it against what it takes."""
    problems: list[Problem] = []
    sections = {"model": (), "dataset": (), "optimizer": ("lr",)}
    for key, filled in sections.items():
        spec = getattr(experiment, key)
        if is_import_path(spec.name):
            try:
                import_callable(
                    spec.name, spec.arguments, (key,), experiment.folder, filled, len(filled)
                )
            except ConfigError as error:
                problems += error.problems
    if problems:
        raise ConfigError(experiment.document.locate(problems))
