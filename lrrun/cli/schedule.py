"""`lrrun schedule`: the LR curve of configs, of schedules by name, or of inline specs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lrrun.cli.options import AllowCode, JsonFlag, PlotsFlag

if TYPE_CHECKING:
    from lrrun.config.experiment import Experiment
    from lrrun.schedules.preview import Preview
    from lrrun.units import Units

DEFAULT_STEPS = 1000


def schedule(
    specs: Annotated[
        list[str],
        typer.Argument(
            help='Config files, names, or inline specs such as "cosine warmup=5%".',
            metavar="SPEC...",
        ),
    ],
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="The run's length in updates.")
    ] = None,
    steps_per_epoch: Annotated[
        int | None, typer.Option("--steps-per-epoch", min=1, help="Updates in an epoch.")
    ] = None,
    lr: Annotated[
        float | None, typer.Option("--lr", help="The base LR; 1 for schedules without a config.")
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option("--at", help="Also show the LR there: a step, 10 epochs, 50%, 1B tokens."),
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(
            "--metrics", help="Metrics for plateau parts, one a line; else nothing improves."
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write step and LR of every update to a file.")
    ] = None,
    png: Annotated[Path | None, typer.Option("--png", help="Write a picture.")] = None,
    svg: Annotated[Path | None, typer.Option("--svg", help="Write a vector picture.")] = None,
    plots: PlotsFlag = True,
    allow_code: AllowCode = False,
    json_output: JsonFlag = False,
) -> None:
    """Draw learning-rate schedules before any training, with their key values."""
    values = _read_metrics(metrics) if metrics else None
    settings = _Settings(steps, steps_per_epoch, lr, allow_code, values)
    shown = [settings.preview(spec) for spec in specs]
    previews = [seen for seen, _ in shown]
    points = [_points(at or (), units) for _, units in shown]
    if csv is not None:
        _write_csv(csv, previews)
    for file in (png, svg):
        if file is not None:
            from lrrun.render.figures import schedule_figure

            schedule_figure(previews, file)
    if json_output:
        from lrrun.runlog import strict_json

        data = [_as_data(seen, place) for seen, place in zip(previews, points, strict=True)]
        print(strict_json.dumps(data))
        return
    from lrrun.render.schedules import print_previews
    from lrrun.render.terminal import make_console

    print_previews(make_console(), previews, points, plots)


class _Settings:
    """What the options say about every spec."""

    def __init__(
        self,
        steps: int | None,
        steps_per_epoch: int | None,
        lr: float | None,
        allow_code: bool,
        metrics: list[float] | None,
    ) -> None:
        self.steps = steps
        self.steps_per_epoch = steps_per_epoch
        self.lr = lr
        self.allow_code = allow_code
        self.metrics = metrics

    def preview(self, spec: str) -> tuple[Preview, Units]:
        """The schedule that one argument means, played out, and its clock."""
        if spec.endswith((".yaml", ".yml")) or Path(spec).is_file():
            return self._of_config(Path(spec))
        from lrrun.schedules.inline import read_inline
        from lrrun.schedules.preview import preview
        from lrrun.schedules.spec import brought_lr, build, parse
        from lrrun.units import Units

        parts = parse(read_inline(spec), path=())
        units = Units(self.steps or DEFAULT_STEPS, self.steps_per_epoch)
        brought = brought_lr(parts)
        own = brought[1] if brought else None
        base = self.lr if self.lr is not None else 1.0 if own is None else own
        every = self.steps_per_epoch or max(1, units.total_steps // 100)
        built = build(parts, base, units)
        return preview(spec, built, units.total_steps, every, self.metrics), units

    def _of_config(self, file: Path) -> tuple[Preview, Units]:
        from lrrun.config.check import plan_schedules
        from lrrun.config.reading import load_experiment
        from lrrun.schedules.preview import preview

        overrides = [f"optimizer.lr={self.lr}"] if self.lr is not None else []
        experiment = load_experiment(file, overrides, self.allow_code)
        units = self._units(experiment)
        evaluate = experiment.train.evaluate
        every = units.steps(evaluate) if evaluate else units.steps_per_epoch
        schedules = plan_schedules(experiment, units, {"default": experiment.base_lr})
        seen = preview(
            str(file), schedules["default"], units.total_steps, every or None, self.metrics
        )
        return seen, units

    def _units(self, experiment: Experiment) -> Units:
        """The config's clock, or the one that the options give in its place."""
        from dataclasses import replace

        from lrrun.config.check import check_if_known
        from lrrun.errors import UsageError
        from lrrun.units import Units

        if self.steps_per_epoch is not None:
            train = experiment.train
            total = self.steps or train.steps or (train.epochs or 0) * self.steps_per_epoch
            if not total:
                raise UsageError("a run given in tokens needs --steps beside --steps-per-epoch")
            return Units(total, self.steps_per_epoch)
        units = check_if_known(experiment)
        if units is None:
            raise UsageError(
                "the dataset is somebody's own code and its rows are not known without running it; "
                "give --steps-per-epoch"
            )
        return units if self.steps is None else replace(units, total_steps=self.steps)


def _points(written: Any, units: Units) -> dict[str, int]:
    """`--at` in steps: label → the update that begins there."""
    from lrrun.errors import UsageError
    from lrrun.units import Length

    points = {}
    for text in written:
        try:
            step = units.steps(Length.parse(int(text) if text.isdigit() else text))
        except ValueError as error:
            raise UsageError(f"--at {text}: {error}") from None
        if step >= units.total_steps:
            last = units.total_steps - 1
            raise UsageError(f"--at {text}: step {step} is past the last update, {last}")
        points[text] = step
    return points


def _read_metrics(file: Path) -> list[float]:
    from lrrun.errors import UnusableFile

    try:
        lines = file.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableFile(f"{file}: cannot be read: {error}") from None
    values = []
    for number, line in enumerate(lines, start=1):
        try:
            values += [float(line)] if line.strip() else []
        except ValueError:
            raise UnusableFile(f"{file}:{number}: expected a number, got {line!r}") from None
    if not values:
        raise UnusableFile(f"{file}: expected one metric a line, got none")
    return values


def _write_csv(file: Path, previews: list[Preview]) -> None:
    """step, then one LR column a schedule; a column ends where its run does."""
    from itertools import zip_longest

    from lrrun.runlog import files

    columns = [seen.lr.tolist() for seen in previews]
    names = ["lr"] if len(previews) == 1 else [_csv_name(seen.name) for seen in previews]
    lines = [",".join(["step", *names])]
    for step, row in enumerate(zip_longest(*columns)):
        lines.append(",".join([str(step), *("" if v is None else repr(v) for v in row)]))
    files.write_text(file, "\n".join(lines) + "\n")


def _csv_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\n') else name


def _as_data(seen: Preview, points: dict[str, int]) -> dict[str, Any]:
    return {
        "name": seen.name,
        "steps": len(seen.lr),
        "first": seen.first,
        "peak": seen.peak,
        "peak_step": seen.peak_step,
        "last": seen.last,
        "sum": seen.total,
        "rising": seen.rising,
        "falling": seen.falling,
        "at": {label: seen.at(step) for label, step in points.items()},
        "lr": seen.lr,
    }
