"""Thousands of broken configs and run folders: whatever is read, only our own errors come out.

    python benchmarks/reliability/fuzz.py --count 100000 --seed 0

Configs are mutated as bytes (flips, cuts, repeats, splices with tokens that mean something in YAML)
and as overrides; files of a run folder as bytes. tests/reliability/test_fuzz.py runs a short form.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from lrrun.config.check import check_if_known
from lrrun.config.overrides import apply_overrides
from lrrun.config.reading import read_experiment
from lrrun.config.yaml_text import read_document
from lrrun.errors import LrrunError
from lrrun.records import EpochRecord, Outcome, StepRecord
from lrrun.runlog.reader import Run, list_runs
from lrrun.runlog.writer import RunWriter

SEEDS = (
    "name: a\nseed: 0\nmodel: {name: mlp, hidden: [8, 8]}\ndataset: {name: digits}\n"
    "optimizer: {name: adamw, lr: 1e-3, betas: [0.9, 0.99],\n  "
    "groups: [{match: '*bias', lr_factor: 10%}]}\n"
    "scheduler:\n  - {name: warmup, for: 5%}\n  - {name: cosine, final: 1%}\ntrain: {epochs: 3}\n",
    "model: linear\ndataset: digits\noptimizer: {name: sgd, lr: 0.1, momentum: 0.9}\n"
    "scheduler: {name: torch.SequentialLR, milestones: [3], schedulers: [{name: ConstantLR}, "
    "{name: StepLR, step_size: 2}]}\nco_schedules: {momentum: {name: linear, start: 0.5, "
    "final: 0.9}}\ntrain: {steps: 50, evaluate: 10 steps, early_stopping: {patience: 3}}\n",
    "model: mlp\ndataset: digits\noptimizer: {name: sgd, lr: 0.1}\n"
    "scheduler: {name: product, of: [{name: plateau, patience: 2}, {name: lambda, factor: "
    "'0.9 ** (step // 10)'}]}\ntrain: {epochs: 2}\n",
)
TOKENS = (
    *("[", "]", "{", "}", ": ", "- ", "\n", "\t", '"', "'", "&a ", "*a", "!!", "|", ">", "---\n"),
    *("~", "null", "1e999", "-1", "0", "nan", ".inf", "99999999999999999999", "5%", "rest"),
    *("10 epochs", "1e-3", "true", "on", "name: ", "for: ", "until: ", "lr: ", "\x00", "\ufeff"),
    *("é", "\u202e", "warmup: ", "cosine", "StepLR", "a:b", "../", "x" * 300, "9" * 40),
)


def mutated(chance: random.Random, content: bytes) -> bytes:
    """A few changes: a bit, a cut, a repeat, a token put in, a piece taken out."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(data) + 1)
        kind = chance.choice((0, 1, 2, 3, 3, 3, 4))
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del data[at : at + chance.randint(1, 20)]
        elif kind == 2:
            data[at:at] = data[at : at + 40] * chance.randint(1, 3)
        elif kind == 3:
            data[at:at] = chance.choice(TOKENS).encode()
        else:
            del data[at:]
    return bytes(data)


def fuzz_configs(count: int, seed: int, folder: Path) -> Counter[str]:
    """Read `count` broken configs; how each one ended. Any other exception passes through."""
    chance, ends = random.Random(seed), Counter[str]()
    file = folder / "c.yaml"
    for _ in range(count):
        file.write_bytes(mutated(chance, chance.choice(SEEDS).encode()))
        overrides = [f"{chance.choice(TOKENS)}={chance.choice(TOKENS)}"] * (chance.random() < 0.1)
        try:
            document = apply_overrides(read_document(file), overrides)
            check_if_known(read_experiment(document))
            ends["accepted"] += 1
        except LrrunError as error:
            assert str(error).strip(), "an error without a message"
            ends[type(error).__name__] += 1
    return ends


def make_run(runs: Path) -> Path:
    """A small finished run folder."""
    info = {"config": {"name": "a", "scheduler": {"name": "cosine"}}}
    with RunWriter.create(runs, "a", "name: a\n", ("default",), info, metrics=("val_loss",)) as log:
        for step in range(20):
            log.write(StepRecord(step, (0.1,), 1.0 / (step + 1)))
            if step % 5 == 4:
                epoch = step // 5 + 1
                log.write(EpochRecord(epoch, step + 1, 64, (0.1,), 0.5, {"val_loss": 1.0 / epoch}))
        log.finish(Outcome("completed", "all 20 steps done", 20))
    return log.path


def fuzz_runs(count: int, seed: int, folder: Path) -> Counter[str]:
    """Read `count` broken run folders beside a whole one, which is always found whole."""
    chance, ends = random.Random(seed), Counter[str]()
    runs = folder / "runs"
    whole, broken = make_run(runs), make_run(runs)
    contents = {file: file.read_bytes() for file in sorted(broken.iterdir()) if file.is_file()}
    for _ in range(count):
        file = chance.choice(sorted(contents))
        file.write_bytes(mutated(chance, contents[file]))
        found = {each.name: each for each in list_runs(runs)}
        assert isinstance(found[whole.name], Run)
        try:
            run = Run.open(broken)
            view = (run.summary, run.epochs, run.steps, run.timing, run.config, run.status)
            assert len(view) == 6
            ends["read"] += 1
        except LrrunError as error:
            assert str(error).strip(), "an error without a message"
            ends[type(error).__name__] += 1
        file.write_bytes(contents[file])
    return ends


def main() -> None:
    """Fuzz both and print how the inputs ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        print("configs:", dict(fuzz_configs(options.count, options.seed, folder)))
        print("runs:", dict(fuzz_runs(options.count // 10, options.seed, folder)))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
