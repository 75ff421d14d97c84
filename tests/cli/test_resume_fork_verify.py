"""`lrrun resume`, `fork` and `verify` as a person uses them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrrun.training import checkpoint_files

CONFIG = """\
name: trunk
model: {name: mlp, hidden: [8], dropout: 0.2}
dataset: {name: digits, batch_size: 120}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
scheduler: {name: constant, warmup: 3 steps}
train: {epochs: 3, device: cpu}
checkpoint: {every: 10 steps, keep: [20 steps]}
"""

Lrrun = Callable[..., Any]
TRUNK = Path("runs/trunk-1")


@pytest.fixture
def trunk(lrrun: Lrrun, empty_folder: Path) -> Path:
    (empty_folder / "c.yaml").write_text(CONFIG)
    assert lrrun("train", "c.yaml", "-q").code == 0
    return TRUNK


def rows(run: Path, table: str = "steps.csv") -> list[str]:
    return (run / table).read_text().splitlines()[1:]


def files_of(run: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(run.rglob("*")) if p.is_file()}


def test_a_finished_run_has_nothing_to_resume(lrrun: Lrrun, trunk: Path) -> None:
    before = files_of(trunk)
    done = lrrun("resume", "trunk")
    assert (done.code, done.out.splitlines()[0]) == (0, "completed: all 36 steps done")
    assert "nothing to do, the run is completed" in done.err
    assert files_of(trunk) == before


def test_resume_names_what_would_bend_the_run(lrrun: Lrrun, trunk: Path) -> None:
    done = lrrun("resume", "trunk", "optimizer.lr=0.1", "train.epochs=4")
    assert done.code == 2
    assert "optimizer.lr: 0.05 in this run, 0.1 asked for" in done.err
    assert "train.epochs: 3 in this run, 4 asked for" in done.err
    assert "lrrun fork runs/trunk-1 --at last 'optimizer.lr=0.1' 'train.epochs=4'" in done.err


def test_an_unknown_run_is_exit_2(lrrun: Lrrun, trunk: Path) -> None:
    for verb in ("resume", "fork", "verify"):
        done = lrrun(verb, "trnk")
        assert done.code == 2 and "no run 'trnk'" in done.err


def test_checkpoints_are_kept_as_asked(trunk: Path) -> None:
    steps = {
        each.name: checkpoint_files.load(each)["step"]
        for each in (trunk / "checkpoints").glob("*.pt")
    }
    best = steps.pop("best.pt")
    assert steps == {"last.pt": 36, "previous.pt": 30, "step-20.pt": 20}
    assert best == json.loads((trunk / "run.json").read_text())["best"]["val_loss"]["step"]


def test_verify_says_equal_then_names_what_differs(lrrun: Lrrun, trunk: Path) -> None:
    before = files_of(trunk)
    done = lrrun("verify", "trunk")
    assert done.code == 0
    assert done.out.startswith("equal, bit for bit: steps 30 to 36; 6 updates")
    done = lrrun("verify", "trunk", "--from", 25, "--json")
    assert json.loads(done.out)["first"] == 20
    assert json.loads(done.out)["difference"] is None
    assert files_of(trunk) == before

    content = checkpoint_files.load(trunk / "checkpoints" / "last.pt")
    name = next(iter(content["model"]))
    content["model"][name].view(-1)[3] += 1e-7
    checkpoint_files.save(trunk / "checkpoints" / "last.pt", content)
    done = lrrun("verify", "trunk")
    assert done.code == 3
    assert done.out == f"different: the state after step 36 differs: model.{name}\n"


def test_verify_finds_another_order_of_the_data(
    lrrun: Lrrun, trunk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lrrun.training import feed

    order = feed.epoch_order
    monkeypatch.setattr(feed, "epoch_order", lambda rows, seed, epoch: order(rows, seed + 1, epoch))
    done = lrrun("verify", "trunk")
    assert done.code == 3
    assert done.out.startswith("different: steps.csv: step 30: loss is ")


def test_a_fork_is_its_parent_until_something_differs(lrrun: Lrrun, trunk: Path) -> None:
    before = files_of(trunk)
    for at in ("20", "26", "2 epochs", "0"):
        assert lrrun("fork", trunk, "--at", at, "--name", "same").code == 0
    step = {1: 20, 2: 26, 3: 24, 4: 0}
    for number, first in step.items():
        fork = Path(f"runs/same-{number}")
        assert rows(fork) == rows(trunk)[first:]
        assert rows(fork, "epochs.csv") == [
            row for row in rows(trunk, "epochs.csv") if int(row.split(",")[1]) > first
        ]
        parent = json.loads((fork / "run.json").read_text())["parent"]
        assert (parent["run"], parent["step"], parent["optimizer"]) == ("trunk-1", first, "kept")
        assert lrrun("verify", fork).code == 0
    assert files_of(trunk) == before


def test_a_fork_replays_where_there_is_no_checkpoint_and_says_so(lrrun: Lrrun, trunk: Path) -> None:
    done = lrrun("fork", trunk, "--at", 26)
    assert "no checkpoint at step 26: steps 20 to 26 are replayed" in done.err
    assert "from step 26" in done.out
    assert "replayed" not in lrrun("fork", trunk, "--at", 20).err


def test_a_cooldown_from_the_trunk(lrrun: Lrrun, trunk: Path) -> None:
    """Its config trains, from scratch, to the same bits as trunk and fork together."""
    done = lrrun(
        "fork", trunk, "--at", 20, "--extend", "10 steps", "--how", "branch", "--name", "cool"
    )
    assert done.code == 0
    lrs = [float(row.split(",")[1]) for row in rows(Path("runs/cool-1"))]
    assert lrs == pytest.approx([0.05 * (1 - k / 10) for k in range(10)])
    assert lrrun("train", "runs/cool-1/config.yaml", "name=whole", "-q").code == 0
    whole = rows(Path("runs/whole-1"))
    assert whole[:20] == rows(trunk)[:20]
    assert whole[20:] == rows(Path("runs/cool-1"))


def test_extending_shows_the_new_curve_first(lrrun: Lrrun, trunk: Path) -> None:
    for how, total in (("keep", 48), ("rescale", 48), ("branch", 32)):
        done = lrrun("fork", trunk, "--at", 20, "--extend", "1 epochs", "--how", how, "--dry-run")
        assert done.code == 0
        assert "learning rate" in done.out
        line = next(line for line in done.out.splitlines() if line.startswith("fork "))
        assert line.split()[1] == str(total)
    assert [each.name for each in Path("runs").iterdir()] == ["trunk-1"]
    assert lrrun("fork", trunk, "--extend", "1 epochs", "--name", "longer", "-q").code == 0
    assert len(rows(Path("runs/longer-1"))) == 12
    assert lrrun("fork", trunk, "--extend", "1 epochs", "--how", "stretch").code == 2


def test_fresh_moments_and_other_optimizers(lrrun: Lrrun, trunk: Path) -> None:
    assert lrrun("fork", trunk, "--at", 20, "--fresh-optimizer", "--name", "fresh").code == 0
    fresh = rows(Path("runs/fresh-1"))
    assert fresh[0] == rows(trunk)[20]  # the loss before the first update
    assert fresh[2] != rows(trunk)[22]
    refused = lrrun("fork", trunk, "--at", 20, "optimizer={name: adamw, lr: 0.01}")
    assert refused.code == 2
    assert "pass --fresh-optimizer" in refused.err
    done = lrrun(
        "fork", trunk, "--at", 20, "--fresh-optimizer", "optimizer={name: adamw, lr: 0.01}"
    )
    assert done.code == 0


def test_a_setting_of_the_optimizer_takes_effect_with_the_moments_kept(
    lrrun: Lrrun, trunk: Path
) -> None:
    assert lrrun("fork", trunk, "--at", 20, "optimizer.weight_decay=0.5", "--name", "wd").code == 0
    last = checkpoint_files.load(Path("runs/wd-1/checkpoints/last.pt"))
    assert last["optimizer"]["param_groups"][0]["weight_decay"] == 0.5
    decayed, plain = rows(Path("runs/wd-1")), rows(trunk)[20:]
    assert decayed[0] == plain[0] and decayed[1] != plain[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--at", "99"), "--at 99 is step 99, and trunk-1 has done 36 steps"),
        (("--at", "soon"), "--at soon: expected a length"),
        (("--at", "20", "dataset.batch_size=60"), "a fork keeps the batches before its beginning"),
        (("--at", "20", "train.epochs=1"), "begins at step 20, and its run would have 12 steps"),
        (("--at", "last"), "begins at step 36, and its run would have 36 steps"),
        (("--at", "20", "model.hidden=[9]"), "is 8x64, this model needs 9x64"),
        (("--at", "20", "--extend", "soon"), "--extend soon: expected a length"),
    ],
)
def test_forks_that_cannot_be(
    lrrun: Lrrun, trunk: Path, arguments: tuple[str, ...], message: str
) -> None:
    before = files_of(trunk)
    done = lrrun("fork", trunk, *arguments)
    assert done.code in (2, 3)
    assert message in done.err
    assert "Traceback" not in done.err
    assert files_of(trunk) == before


def test_a_fork_of_a_fork_and_its_resume(lrrun: Lrrun, trunk: Path) -> None:
    assert lrrun("fork", trunk, "--at", 20, "train.epochs=4", "--name", "child", "-q").code == 0
    assert lrrun("fork", "child-1", "--at", 30, "--name", "grandchild", "-q").code == 0
    assert rows(Path("runs/grandchild-1")) == rows(Path("runs/child-1"))[10:]
    refused = lrrun("fork", "child-1", "--at", 10)
    assert refused.code == 3
    assert "a fork has no steps before its first checkpoint" in refused.err


def test_compare_draws_the_shared_prefix_once(lrrun: Lrrun, trunk: Path) -> None:
    assert lrrun("fork", trunk, "--at", 20, "train.epochs=4", "--name", "child", "-q").code == 0
    done = lrrun("compare", trunk, "child-1", "--json")
    assert done.code == 0
    assert lrrun("compare", trunk, "child-1").code == 0
