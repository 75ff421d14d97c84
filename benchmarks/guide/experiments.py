"""The commands that the guide rests on, and their running: two at a time, a core each."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TASKS = "benchmarks/guide/tasks"
ROOT = Path(__file__).parents[2]

EXPERIMENTS: Mapping[str, str] = {
    "schedules-tiny-gpt": "sweep tiny-gpt.yaml",
    "schedules-regression": "sweep regression.yaml",
    "schedules-digits": "sweep digits.yaml",
    "warmup-tiny-gpt": "sweep tiny-gpt.yaml 'scheduler=[cosine, {name: cosine, warmup: 5%}, "
    "{name: cosine, warmup: 25%}]' optimizer.lr=3e-3..0.3:log:3",
    "width": "sweep digits.yaml scheduler=cosine 'optimizer=[{name: adam, lr: 0.01}, "
    "{name: adam, lr: 0.01, mup: {base: {hidden: [16, 16]}}}]' "
    "'model.hidden=[[16, 16], [64, 64], [256, 256]]' optimizer.lr=1e-3..0.3:log:6 "
    "train.epochs=10",
    "optimizers": "sweep digits.yaml scheduler=cosine 'optimizer=[{name: sgd, lr: 0.01}, "
    "{name: sgd, lr: 0.01, momentum: 0.9}, {name: adam, lr: 0.01}, "
    "{name: adamw, lr: 0.01, weight_decay: 0.1}]' "
    "optimizer.lr=1e-4..1:log:9",
    "batch-size": "sweep digits.yaml scheduler=cosine 'optimizer=[{name: sgd, "
    "lr: 0.01, momentum: 0.9}, {name: adam, lr: 0.01}]' dataset.batch_size=16,64,256 "
    "optimizer.lr=1e-3..1:log:7 train.epochs=10",
    "warmup": "sweep digits.yaml 'model.hidden=[[64, 64, 64, 64, 64, 64, 64, 64]]' "
    "'optimizer={name: adam, lr: 0.01}' 'scheduler=[cosine, {name: cosine, warmup: 5%}, "
    "{name: cosine, warmup: 25%}]' optimizer.lr=1e-3..0.03:log:4 seed=0..4",
    "grid": "sweep digits.yaml scheduler=cosine optimizer.lr=1e-4..10:log:11 seed=0..4",
    "find-digits": "find digits.yaml",
    "find-regression": "find regression.yaml",
    "find-tiny-gpt": "find tiny-gpt.yaml",
    "length": "sweep regression.yaml scheduler=cosine train.scale=0.05,0.2,1.0 "
    "optimizer.lr=0.03..0.9:log:6",
    "headroom": "sweep digits.yaml scheduler=cosine optimizer.lr=1e-3..1:log:4 "
    "'train.headroom={every: 20 steps}'",
    "headroom-warmup": "sweep digits.yaml 'model.hidden=[[64, 64, 64, 64, 64, 64, 64, 64]]' "
    "'optimizer={name: adam, lr: 0.01}' 'scheduler=[cosine, {name: cosine, warmup: 25%}]' "
    "optimizer.lr=0.01 'train.headroom={every: 5 steps}' seed=0..4",
    "early": "sweep regression.yaml optimizer.lr=0.1,0.2 'scheduler=["
    "{name: multistep, at: [10%], factor: 0.1}, {name: multistep, at: [30%], factor: 0.1}, "
    "{name: multistep, at: [50%], factor: 0.1}, {name: multistep, at: [70%], factor: 0.1}, "
    "{name: multistep, at: [90%], factor: 0.1}]' seed=0..4",
    "often": "sweep regression.yaml optimizer.lr=0.2 'scheduler=["
    "{name: plateau, patience: 0, factor: 0.5}, {name: plateau, patience: 1, factor: 0.5}, "
    "{name: plateau, patience: 3, factor: 0.5}, {name: plateau, patience: 8, factor: 0.5}]' "
    "train.evaluate=1%,5% train.val_rows=100 seed=0..4",
    "overfitting": "sweep digits.yaml scheduler=constant,cosine train.epochs=100 "
    "optimizer.lr=0.1 seed=0..2",
}
"""Name → what follows `lrrun`, the configs without their folder; the longest first."""


def shown(name: str) -> str:
    """The command as a person types it in the repository's root."""
    words = EXPERIMENTS[name].split(" ", 2)
    return " ".join(["lrrun", words[0], f"{TASKS}/{words[1]}", *words[2:]])


def run_all(runs_dir: Path) -> dict[str, Path]:
    """Run every experiment that `runs_dir` does not hold yet; name → the folder of its result."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        places = pool.map(lambda each: _run(each, runs_dir), EXPERIMENTS)
        return dict(zip(EXPERIMENTS, places, strict=True))


def _run(name: str, runs_dir: Path) -> Path:
    """One command in a process of its own; a sweep that is there already is only read."""
    kept = runs_dir / f"{name}.json"
    if kept.exists():
        return Path(json.loads(kept.read_text())["place"])
    verb, *words = shlex.split(shown(name))[1:]
    own = runs_dir / name
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "lrrun", verb, *words, "--runs-dir", str(own), "--json"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise SystemExit(f"{shown(name)}\nended with {done.returncode}: {done.stderr}")
    data = json.loads(done.stdout)
    place = data["sweep"] if verb == "sweep" else data["path"]
    kept.write_text(json.dumps({"place": place}))
    print(f"{time.perf_counter() - begun:5.0f} s  {name}", flush=True)
    return Path(place)


if __name__ == "__main__":
    run_all(Path(sys.argv[1]).resolve())
