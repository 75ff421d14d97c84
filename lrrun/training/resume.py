"""Going on with a run exactly where it stopped, or saying why that cannot be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lrrun.config.experiment import Experiment
from lrrun.config.reading import load_experiment
from lrrun.errors import UnusableFile, UsageError
from lrrun.records import Notice, Outcome
from lrrun.runlog.info import read_info
from lrrun.runlog.lock import RunLock
from lrrun.training import tolerance
from lrrun.training.checkpoint_store import Store
from lrrun.training.checkpoints import Due
from lrrun.training.fingerprint import Fingerprint
from lrrun.training.journey import Event, Journey, loop_of, reopen
from lrrun.training.preparation import Prepared, prepare
from lrrun.training.provenance import provenance
from lrrun.training.signals import StopOnSignals
from lrrun.training.state import check_fit
from lrrun.training.tuning import Tuning

FREE = (
    "train.device",
    "train.threads",
    "checkpoint",
    "dataset.workers",
    "dataset.prefetch",
    "dataset.worker_timeout",
)
"""Keys that change where and how a run computes and what it keeps, but not what it is."""

_ENVIRONMENT = ("device", "threads", "compiled", "captured", "cpu_capability")


def resume(
    path: Path,
    overrides: Iterable[str] = (),
    *,
    allow_code: bool = False,
    stop: StopOnSignals | None = None,
) -> Iterator[Event]:
    """Go on with the run in `path` from its newest good checkpoint, handing on what happens.

    A run that is completed says so in a Notice and its Outcome, and nothing is done. Raises
    UsageError, naming every difference, where an override or an edited config would bend the run;
    UnusableFile where data, checkpoints or log are not the run's; RunBusy.
    """
    info = read_info(path)
    experiment = load_experiment(path / "config.yaml", overrides, allow_code)
    refuse_bending(experiment, info, path)
    if info["status"] == "completed":
        yield Notice(f"{path}: nothing to do, the run is completed: {info['sentence']}")
        yield Outcome("completed", info["sentence"], info["step"])
        return
    lock = RunLock(path)
    try:
        info = read_info(path)  # as the last owner of the lock left it
        prepared = prepare_again(experiment, info)
        others = tolerance.fused_with(info)
        if others:
            yield Notice(tolerance.SENTENCE.format(others=others))
        for sentence in () if others else changes_of_machine(prepared, info):
            yield Notice(sentence)
        if info["status"] == "diverged":
            yield Notice(
                f"the run diverged ({info['sentence']}) and will again, unless the machine was to "
                f"blame; for a lower LR: lrrun fork {path} --at last optimizer.lr=..."
            )
        store = Store(path / "checkpoints", info["id"], experiment.checkpoint.last)
        found = store.newest_good(set_aside=True)
        for note in found.notes if found else ():
            yield Notice(note)
        if found is None and info.get("parent") is not None:
            raise UnusableFile(
                f"{path}: the fork was stopped before it was saved for the first time; fork again"
            )
        if found is not None:
            check_fit(found.content, loop_of(prepared, lambda: False, _due(prepared)))
        writer = reopen(prepared, path, found, lock)
    except BaseException:
        lock.release()
        raise
    with Journey(prepared, writer, stop or StopOnSignals(), found) as journey:
        yield from journey.events()


def _due(prepared: Prepared) -> Due:
    return Due(prepared.experiment.checkpoint, prepared.clock.units)


def prepare_again(experiment: Experiment, info: Mapping[str, Any]) -> Prepared:
    """Data, model and optimizer of a run that exists, computed as it was begun.

    Raises UnusableFile where the data are not those that the run began with.
    """
    prepared = prepare(experiment, tuning=Tuning.recorded(info))
    if "data" in info:
        before = Fingerprint.of(info["data"])
        if before != prepared.fingerprint:
            raise UnusableFile(
                f"the data have changed since this run began: {before} then, "
                f"{prepared.fingerprint} now; bring them back, or begin a new run with lrrun train"
            )
    return prepared


def refuse_bending(experiment: Experiment, info: Mapping[str, Any], path: Path) -> None:
    """Raise UsageError with every key in which an experiment is not the one that the run began."""
    now = json.loads(json.dumps(experiment.resolved()))
    before = _flat(info["config"])
    asked = _flat(now)
    differing = [
        key
        for key in dict.fromkeys([*before, *asked])
        if before.get(key) != asked.get(key) and not _is_free(key)
    ]
    if not differing:
        return
    lines = [
        f"{key}: {_shown(before, key)} in this run, {_shown(asked, key)} asked for"
        for key in differing
    ]
    settings = " ".join(f"'{key}={_shown(asked, key)}'" for key in differing if key in asked)
    lines.append(
        "resume goes on with the same run; for another one from where this one stands: "
        f"lrrun fork {path} --at last {settings}".rstrip()
    )
    raise UsageError("\n".join(lines))


def _is_free(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in FREE)


def _flat(config: Any, path: str = "") -> dict[str, Any]:
    """Key path → value, of nested mappings; lists are values."""
    if not isinstance(config, Mapping) or not config:
        return {path: config}
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flat(value, f"{path}.{key}".lstrip("."))
    return flat


def _shown(flat: Mapping[str, Any], key: str) -> str:
    return json.dumps(flat[key]).strip('"') if key in flat else "nothing"


def changes_of_machine(prepared: Prepared, info: Mapping[str, Any]) -> list[str]:
    """At most one line: what has changed that may change the last bits, but not the meaning."""
    now = provenance(prepared.trainee.device, Path.cwd())
    now |= asdict(prepared.tuning)
    pairs = {key: (info.get(key), now[key]) for key in _ENVIRONMENT}
    versions = info.get("versions") or {}
    pairs |= {key: (versions.get(key), value) for key, value in now["versions"].items()}
    changed = [
        f"{key.replace('_', ' ')} {before} then, {after} now"
        for key, (before, after) in pairs.items()
        if before is not None and before != after
    ]
    if not changed:
        return []
    return [f"the same bits as before are not promised: {'; '.join(changed)}"]
