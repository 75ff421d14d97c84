"""Learning rates that the reference libraries really gave, one test a record.

LRRUN_ORACLES names another folder of records. A record's `lr[i]` is the LR that update i used
(`lr_groups`: a list a param group; `lr_f64`: the same in double precision), `args` are the
library's own, `metrics[i]` is what the library saw after update i (optax: before it), and
`error.step` is the step at which the library raised.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from lrrun.errors import LrrunError
from lrrun.schedules import build, parse
from lrrun.schedules.catalogue import find
from lrrun.units import Units

FOLDER = Path(os.environ.get("LRRUN_ORACLES") or Path(__file__).parent / "oracles")
RECORDS = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}
OWN_LR = 0.1  # the optimizer's LR in records of schedules that bring their own: it plays no part
FLOAT32 = 2e-6  # what survives of values that a library computes in single precision


def relative(record):
    """The tolerance of a record's values; all have an absolute 1e-13 besides."""
    if record["library"] not in ("keras", "optax"):
        return 1e-8
    if "lr_f64" not in record:
        return FLOAT32
    return 1e-9 if record["library"] == "keras" else 5e-6


PARAMETERS = [
    pytest.param(record, id="-".join([stem, str(k), record["schedule"], *record.get("tags", [])]))
    for stem, records in RECORDS.items()
    for k, record in enumerate(records)
]


def spec(library, written):
    """A record's schedule in lrrun's words: the library's prefix, functions as expressions."""
    if isinstance(written, list):
        return [spec(library, each) for each in written]
    if not isinstance(written, dict):
        return written
    if "$expr" in written:
        return {"expr": written["$expr"], "var": written["var"]}
    if set(written) == {"schedule", "args"}:
        return {"name": f"{library}.{written['schedule']}", **spec(library, written["args"])}
    return {key: spec(library, value) for key, value in written.items()}


def base_lrs(record):
    """The LR of every param group."""
    if "groups" in record:
        return [group["lr"] for group in record["groups"]]
    base = record["base_lr"]
    bases = base if isinstance(base, list) else [base]
    return [OWN_LR if each is None else each for each in bases]


def schedules(record):
    """A schedule for every param group, on a clock where an epoch is a step."""
    written = spec(record["library"], {"schedule": record["schedule"], "args": record["args"]})
    units = Units(total_steps=record["steps"], steps_per_epoch=1, samples_per_epoch=1)
    parts = parse(written)
    bases = base_lrs(record)
    return [build(parts, lr, units, group) for group, lr in enumerate(bases)]


def expected(record):
    """The LR of every group [g, n]; of groups that the record does not tell apart, the first's."""
    if "lr_groups" in record:
        return record["lr_groups"]
    return [record.get("lr_f64") or record["lr"]]


def scales(record):
    """timm's `lr_scale` multiplies whatever the schedule gives, as lrrun's group multipliers do."""
    return [group.get("lr_scale", 1.0) for group in record.get("groups", [{}])]


def fed(schedule, record):
    """The LR of every step, the schedule seeing each metric when the library saw it."""
    before = record["library"] == "optax"
    names = {"val_loss", "loss", record["args"].get("monitor", "val_loss")}
    lrs = []
    for step, metric in enumerate(record["metrics"]):
        metrics = dict.fromkeys(names, metric)
        if before:
            schedule.observe(step, metrics)
        lrs.append(schedule(step))
        if not before:
            schedule.observe(step + 1, metrics)
    return np.array(lrs)


def test_the_folder_holds_records():
    assert PARAMETERS, f"no records in {FOLDER}"


@pytest.mark.parametrize("record", PARAMETERS)
def test_record(record):
    assert find(f"{record['library']}.{record['schedule']}"), "the name is not in the catalogue"
    want = expected(record)
    if not want[0]:
        with pytest.raises(LrrunError):
            [schedule(record["error"]["step"]) for schedule in schedules(record)]
        return
    close = {"rtol": relative(record), "atol": 1e-13}
    steps = np.arange(len(want[0]))
    built = schedules(record)
    for schedule, scale, lrs in zip(built, scales(record), want, strict=False):
        if "metrics" in record:
            np.testing.assert_allclose(scale * fed(schedule, record), lrs, **close)
        np.testing.assert_allclose(scale * schedule(steps), lrs, **close)
        assert scale * schedule(int(steps[-1])) == pytest.approx(lrs[-1], rel=close["rtol"])
        if "error" in record:
            with pytest.raises(LrrunError):
                schedule(record["error"]["step"])
    if "momentum" in record:
        momentum = built[0].momentum(steps)
        assert momentum is not None, "the schedule leaves the momentum alone"
        np.testing.assert_allclose(momentum, record["momentum"], **close)
