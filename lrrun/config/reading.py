"""Config data → Experiment: every section validated, all problems at once, each with its line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lrrun.config.base import Section
from lrrun.config.base_lr import lr_problems
from lrrun.config.checkpoint import Checkpoint
from lrrun.config.datasets import DATASETS, CustomDataset
from lrrun.config.experiment import Experiment
from lrrun.config.fields import RunName, Seed, adapter
from lrrun.config.messages import problems_of
from lrrun.config.models import MODELS, CustomModel, Model
from lrrun.config.optimizers import Mup, OptimizerSpec
from lrrun.config.overrides import apply_overrides
from lrrun.config.places import KEYS, unknown_top
from lrrun.config.sweep import Sweep
from lrrun.config.train import Train
from lrrun.config.yaml_text import Document, parse_document, read_document
from lrrun.errors import ConfigError, KeyPath, Problem
from lrrun.registry import import_callable, import_object, is_import_path, unknown, unknown_argument
from lrrun.schedules.placement import PartSpec
from lrrun.schedules.spec import parse

CO_SCHEDULED = ("momentum", "weight_decay", "batch_size")
"""What a config may schedule beside the LR."""

TRUSTED = ("torch.optim:", "torch.nn:", "torchvision.models:", "timm:create_model")
"""Import paths of well-known libraries, for which --allow-code is not needed."""

CONSENT = "pass --allow-code if you trust it"

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
        group_parts = self.group_parts(data)
        co_schedules = self.co_schedules(data)
        train = self.section(data, "train", Train)
        checkpoint = self.section({"checkpoint": {}, **data}, "checkpoint", Checkpoint)
        if "sweep" in data:
            self.section(data, "sweep", Sweep)
        if optimizer is not None and parts:
            self.problems += lr_problems(optimizer, parts, group_parts)
        if model is not None and optimizer is not None and optimizer.mup is not None:
            self.mup(optimizer.mup, model)
        if not self.allow_code:
            self.code(data)
        if self.problems or not (model and dataset and optimizer and train and checkpoint):
            raise ConfigError(self.document.locate(self.problems))
        return Experiment(
            name=name,
            seeds=seeds,
            model=model,
            dataset=dataset,
            optimizer=optimizer,
            scheduler=scheduler,
            parts=parts,
            group_parts={optimizer.groups[k].label(k + 1): own for k, own in group_parts.items()},
            co_schedules=co_schedules,
            train=train,
            checkpoint=checkpoint,
            folder=self.folder(),
            document=self.document,
        )

    def folder(self) -> Path:
        """Where relative paths and import paths start: beside the config, or where it says."""
        data = self.document.data
        folder = self.value(str, data, "folder", None)
        return Path(folder) if folder else self.document.folder

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
                self.refuse((key,), unknown_top(key))
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

    def group_parts(self, data: dict[str, Any]) -> dict[int, tuple[PartSpec, ...]]:
        """The schedules that groups of the optimizer section have of their own, by index."""
        section = data.get("optimizer")
        groups = section.get("groups") if isinstance(section, dict) else None
        own = {
            k: group["scheduler"]
            for k, group in enumerate(groups if isinstance(groups, list) else ())
            if isinstance(group, dict) and group.get("scheduler") is not None
        }
        where = ("optimizer", "groups")
        read = {k: self.scheduler(own[k], (*where, k, "scheduler")) for k in own}
        return {k: parts for k, parts in read.items() if parts}

    def mup(self, mup: Mup, model: Model) -> None:
        """The base is a section that the model can have."""
        try:
            mup.base_section(model)
        except ConfigError as error:
            self.problems += error.problems

    def co_schedules(self, data: dict[str, Any]) -> dict[str, tuple[PartSpec, ...]]:
        """What is scheduled beside the LR, in the same language."""
        written = data.get("co_schedules", {})
        if not isinstance(written, dict):
            self.refuse(("co_schedules",), f"expected a mapping, got {written!r}")
            return {}
        for name in written:
            if name not in CO_SCHEDULED:
                self.refuse(("co_schedules", name), unknown_argument(name, CO_SCHEDULED))
        known = [name for name in CO_SCHEDULED if name in written]
        return {name: self.scheduler(written[name], ("co_schedules", name)) for name in known}

    def scheduler(self, written: object, path: KeyPath = ("scheduler",)) -> tuple[PartSpec, ...]:
        try:
            return parse(self.functions(written, path), path)
        except ConfigError as error:
            self.problems += error.problems
            return ()

    def functions(self, written: object, path: KeyPath) -> object:
        """The section with the functions that its import paths name, once --allow-code is given.

        An import path may stand wherever a schedule takes an expression (lambda, lr_lambda,
        scale_fn); a schedule's own name is none.
        """
        if isinstance(written, dict):
            return {key: self.functions(each, (*path, key)) for key, each in written.items()}
        if isinstance(written, list):
            return [self.functions(each, (*path, k)) for k, each in enumerate(written)]
        if not (isinstance(written, str) and is_import_path(written)) or path[-1] == "name":
            return written
        if not self.allow_code:
            self.refuse(path, f"{written} would be imported and run; {CONSENT}")
            return written
        found = import_object(written, path, self.folder())
        if not callable(found):
            self.refuse(path, f"expected a function of the step, {written} is {found!r}")
        return found

    def code(self, data: dict[str, Any]) -> None:
        """Import paths are code: refused until --allow-code says that it is trusted."""
        for key in ("model", "dataset", "optimizer"):
            name = data[key].get("name") if isinstance(data.get(key), dict) else None
            if isinstance(name, str) and is_import_path(name) and not name.startswith(TRUSTED):
                text = f"{name} would be imported and run; {CONSENT}"
                self.refuse((key, "name"), text)

    def value(self, kind: Any, data: dict[str, Any], key: str, default: Any) -> Any:
        return self.checked(kind, data[key], (key,)) if key in data else default

    def checked(self, kind: Any, written: object, path: KeyPath) -> Any:
        try:
            return adapter(kind).validate_python(written)
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
