"""`lrrun compare`: what differed, who did best, by how much."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lrrun.cli.options import DEFAULT_RUNS_DIR, JsonFlag, PlotsFlag, RunsDir
from lrrun.errors import UsageError

if TYPE_CHECKING:
    from lrrun.analysis.compare import Comparison, RunView
    from lrrun.render.plots import Curve
    from lrrun.runlog.reader import Run


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(help="Two or more: a path, a name, the beginning of one, or latest."),
    ],
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    sort: Annotated[
        str, typer.Option("--sort", help="Order of the rows: rank, given, name, time, or a metric.")
    ] = "rank",
    plots: PlotsFlag = True,
    json_output: JsonFlag = False,
) -> None:
    """Compare runs: the config keys that differ, best and last metrics, loss and LR curves."""
    from lrrun.analysis.compare import compare as lay_side_by_side
    from lrrun.analysis.compare import order

    opened = _open(runs, runs_dir)
    comparison = lay_side_by_side([_view(name, run) for name, run in opened.items()])
    indices = order(comparison, sort)
    if json_output:
        from lrrun.runlog import strict_json

        print(strict_json.dumps(_as_data(comparison, indices)))
        return
    from lrrun.render.comparison import print_comparison, print_loss_and_lr
    from lrrun.render.terminal import make_console

    console = make_console()
    print_comparison(console, comparison, indices)
    if plots:
        names = list(opened)
        by_rank = [(names[index], opened[names[index]]) for index in comparison.ranking]
        metric = comparison.metric or "loss"
        losses = [loss_curve(name, run, metric) for name, run in by_rank]
        print_loss_and_lr(console, metric, losses, [lr_curve(name, run) for name, run in by_rank])


def _open(references: list[str], runs_dir: Path) -> dict[str, Run]:
    """The runs by name, or by path where two share a name; refuses fewer than two, or one twice."""
    from lrrun.runlog.reader import Run, find_run

    if len(references) < 2:
        raise UsageError(
            f"compare needs two runs or more, got {len(references)}; `lrrun list` names them, "
            "`lrrun show RUN` explains one"
        )
    folders: list[Path] = []
    for reference in references:
        folder = find_run(reference, runs_dir)
        for earlier, other in zip(references, folders, strict=False):
            if folder.resolve() == other.resolve():
                raise UsageError(f"{earlier!r} and {reference!r} are one run: {str(folder)!r}")
        folders.append(folder)
    opened = [Run.open(folder) for folder in folders]
    names = [run.name for run in opened]
    labels = [run.name if names.count(run.name) == 1 else str(run.path) for run in opened]
    return dict(zip(labels, opened, strict=True))


def _view(name: str, run: Run) -> RunView:
    from lrrun.analysis.compare import RunView, lr_sum

    total = lr_sum(run.steps, run.summary.steps)
    return RunView(name, run.status, run.sentence, run.config, run.summary, total)


def loss_curve(name: str, run: Run, metric: str) -> Curve:
    """The metric over steps; the training loss of every logged step where it has too few values."""
    import numpy as np

    from lrrun.render.plots import Curve

    values = run.epochs.get(metric)
    if values is not None and np.isfinite(values).sum() >= 2:
        known = ~np.isnan(values)
        return Curve(name, run.epochs["step"][known], values[known])
    loss = run.steps.get("loss", np.full(run.steps["step"].size, np.nan))
    return Curve(f"{name} (training)", run.steps["step"], loss)


def lr_curve(name: str, run: Run) -> Curve:
    """The LR of the first param group over steps, from every logged step, else from the epochs."""
    from lrrun.render.plots import Curve
    from lrrun.runlog.summary import lr_columns

    table = run.steps if run.steps["step"].size > 1 else run.epochs
    columns = lr_columns(table)
    values = table[columns[0]] if columns else table["step"][:0]
    return Curve(name, table["step"][: values.size], values)


def _as_data(comparison: Comparison, indices: tuple[int, ...]) -> dict[str, Any]:
    from dataclasses import asdict

    from lrrun.analysis.compare import MISSING, caution, verdict

    names = [run.name for run in comparison.runs]
    return {
        "metric": comparison.metric,
        "ranking": [names[index] for index in comparison.ranking],
        "verdict": verdict(comparison),
        "caution": caution(comparison),
        "differences": [
            {
                "key": each.key,
                "values": {
                    name: value
                    for name, value in zip(names, each.values, strict=True)
                    if value is not MISSING
                },
            }
            for each in comparison.differences
        ],
        "runs": [
            {
                "name": run.name,
                "status": run.status,
                "sentence": run.sentence,
                **asdict(run.summary),
                "lr_sum": run.lr_sum,
            }
            for run in (comparison.runs[index] for index in indices)
        ],
    }
