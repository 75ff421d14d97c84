"""The plan of a sweep, as sweep.yaml has it: what it varies, and in which chunks it trains."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from lrrun.config.dump import to_yaml
from lrrun.config.yaml_text import parse_document
from lrrun.errors import ConfigError, UnusableFile
from lrrun.runlog.sweeps import PLAN, read_plan
from lrrun.search.axes import Axis, read_axis
from lrrun.search.design import Design, Method

SCHEMA_VERSION = 1

HEADER = """\
# A sweep of lrrun. `lrrun show` explains it; `lrrun resume` goes on with it.
"""

_RUN = re.compile(r"([1-9][0-9]{0,8})(?:-([1-9][0-9]{0,8}))?")

Chunk = tuple[int, ...]
"""The numbers of trials that are trained together."""


@dataclass(frozen=True)
class Plan:
    """A sweep as it was asked for, and the chunks planned so far, one list a batch.

    `config` is the base config as plain data, the folder that paths start from included. `metrics`
    are those of the trials' runs. `chunk` is the most trials that are trained as one, `workers` how
    many chunks at a time there are workers for.
    """

    name: str
    created: str
    command: str
    config: Mapping[str, Any]
    design: Design
    metrics: tuple[str, ...]
    smoke: bool = False
    chunk: int = 1
    workers: int = 1
    batches: tuple[tuple[Chunk, ...], ...] = ()

    @property
    def identity(self) -> str:
        """What makes two sweeps the same: config, axes and method, not how they are run."""
        train = {k: v for k, v in self.config["train"].items() if k not in ("device", "threads")}
        axes, method = _axes_data(self.design.axes), asdict(self.design.method)
        what = [{**self.config, "train": train}, list(axes.items()), method, self.smoke]
        text = json.dumps(what, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of trials.csv that say what a trial is."""
        keys = tuple(axis.key for axis in self.design.axes)
        return (*keys, "bracket", "rung", "scale") if self.design.method.halving else keys

    @property
    def metric_columns(self) -> tuple[str, ...]:
        """The columns of trials.csv that say what came out: the last and the best of metrics."""
        return tuple(each for name in self.metrics for each in (name, f"best_{name}"))

    def with_batch(self, chunks: Iterable[Chunk]) -> Plan:
        """The plan with the chunks of one more batch."""
        return replace(self, batches=(*self.batches, tuple(chunks)))

    def extended(self, by: tuple[Axis, ...] | int) -> Plan:
        """The plan of a wider sweep."""
        design = self.design
        return replace(self, design=replace(design, extensions=(*design.extensions, by)))

    def text(self) -> str:
        """The plan as YAML, which `read` takes back."""
        extensions = [
            each if isinstance(each, int) else _axes_data(each) for each in self.design.extensions
        ]
        data = {
            "schema_version": SCHEMA_VERSION,
            "identity": self.identity,
            "name": self.name,
            "created": self.created,
            "command": self.command,
            "axes": _axes_data(self.design.axes),
            "method": asdict(self.design.method),
            "extensions": extensions,
            "smoke": self.smoke,
            "metrics": list(self.metrics),
            "chunk": self.chunk,
            "workers": self.workers,
            "batches": [[_runs(chunk) for chunk in chunks] for chunks in self.batches],
            "config": dict(self.config),
        }
        return HEADER + to_yaml(data)

    @classmethod
    def read(cls, path: Path) -> Plan:
        """The plan in a sweep's folder; raises UnusableFile where it is missing or changed."""
        try:
            data = parse_document(read_plan(path), path / PLAN).data
            version = data["schema_version"]
            if type(version) is not int or version > SCHEMA_VERSION:
                raise UnusableFile(
                    f"{path / PLAN}: written by a newer lrrun (plan {version}; this one reads up "
                    f"to {SCHEMA_VERSION}); upgrade lrrun"
                )
            extensions = (
                each if isinstance(each, int) else _axes(each) for each in data["extensions"]
            )
            plan = cls(
                name=data["name"],
                created=data["created"],
                command=data["command"],
                config=data["config"],
                design=Design(_axes(data["axes"]), Method(**data["method"]), tuple(extensions)),
                metrics=tuple(data["metrics"]),
                smoke=data["smoke"],
                chunk=data["chunk"],
                workers=data["workers"],
                batches=tuple(tuple(map(_numbers, chunks)) for chunks in data["batches"]),
            )
            if plan.identity != data["identity"]:
                raise ValueError("its config, axes or method were changed after the sweep began")
        except (ConfigError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnusableFile(f"{path / PLAN}: not the plan of a sweep: {error}") from None
        return plan


def _axes_data(axes: Sequence[Axis]) -> dict[str, Any]:
    return {axis.key: axis.as_data() for axis in axes}


def _axes(data: Mapping[str, Any]) -> tuple[Axis, ...]:
    return tuple(read_axis(key, written) for key, written in data.items())


def _runs(chunk: Chunk) -> str:
    """Numbers, neighbours as a range.

    >>> _runs((1, 2, 3, 7))
    '1-3 7'
    """
    breaks = [k for k, (a, b) in enumerate(pairwise(chunk), start=1) if b != a + 1]
    parts = [chunk[a:b] for a, b in pairwise([0, *breaks, len(chunk)])]
    return " ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)


def _numbers(text: Any) -> Chunk:
    """Back from `_runs`; raises ValueError.

    >>> _numbers("1-3 7")
    (1, 2, 3, 7)
    """
    found: list[int] = []
    for part in str(text).split():
        match = _RUN.fullmatch(part)
        if not match:
            raise ValueError(f"expected trials such as 1-3 7, got {str(text)[:40]!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 0 <= last - first < 10**6:
            raise ValueError(f"expected trials such as 1-3 7, got {str(text)[:40]!r}")
        found += range(first, last + 1)
    return tuple(found)
