"""`lrrun schedule`: the LR curve of configs, of schedules by name, or of inline specs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lrrun.cli.options import AllowCode, JsonFlag, PlotsFlag

if TYPE_CHECKING:
    from lrrun.cli.specs import Spec
    from lrrun.schedules.preview import Preview
    from lrrun.units import Units

MOST = 100_000_000
"""Updates that can be drawn: every one is computed, at about 30 bytes."""

STDOUT = Path("-")


def schedule(
    specs: Annotated[
        list[str],
        typer.Argument(
            help='Config files, names, or inline specs such as "cosine warmup=5%", which have '
            "the run and LR of a config beside them; key=value sets a key of the configs.",
            metavar="SPEC...",
        ),
    ],
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, max=MOST, help="The run's length in updates.")
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
    export: Annotated[
        str | None,
        typer.Option("--export", help="Print code without lrrun: torch, keras, optax or python."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write step and LR of every update; - prints them.")
    ] = None,
    png: Annotated[Path | None, typer.Option("--png", help="Write a picture.")] = None,
    svg: Annotated[Path | None, typer.Option("--svg", help="Write a vector picture.")] = None,
    plots: PlotsFlag = True,
    allow_code: AllowCode = False,
    json_output: JsonFlag = False,
) -> None:
    """Draw learning-rate schedules before any training, with their key values."""
    from lrrun.cli.specs import Settings, read_specs

    values = _read_metrics(metrics) if metrics else None
    settings = Settings(steps, steps_per_epoch, lr, allow_code, values)
    shown = read_specs(specs, settings)
    if export is not None:
        _print_export(shown, export, json_output)
        return
    previews = [spec.preview(values) for spec in shown]
    points = [_points(at or (), spec.units) for spec in shown]
    for file in (png, svg):
        if file is not None:
            from lrrun.render.figures import schedule_figure

            schedule_figure(previews, file)
    if csv is not None:
        _write_csv(csv, previews)
        if csv == STDOUT:
            return
    if json_output:
        from lrrun.runlog import strict_json

        rows = zip(shown, previews, points, strict=True)
        print(strict_json.dumps([_as_data(*row) for row in rows]))
        return
    from lrrun.render.facts import print_findings
    from lrrun.render.schedules import print_previews
    from lrrun.render.terminal import make_console

    console = make_console()
    print_previews(console, previews, points, plots)
    for spec in shown:
        name = f"{spec.name}: " if len(shown) > 1 else ""
        print_findings(console, [name + finding for finding in spec.findings])


def _print_export(shown: Sequence[Spec], target: str, json_output: bool) -> None:
    from lrrun.schedules.export import export

    codes = [export(each.parts, each.lr, each.units, target, each.name) for each in shown]
    if json_output:
        from lrrun.runlog import strict_json

        rows = zip(shown, codes, strict=True)
        print(strict_json.dumps([{"name": spec.name, "code": code} for spec, code in rows]))
        return
    for code in codes:
        print(code.rstrip())


def _points(written: Sequence[str], units: Units) -> dict[str, int]:
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
    if file == STDOUT:
        print("\n".join(lines))
        return
    files.write_text(file, "\n".join(lines) + "\n")


def _csv_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\n') else name


def _as_data(spec: Spec, seen: Preview, points: dict[str, int]) -> dict[str, Any]:
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
        "findings": spec.findings,
        "lr": seen.lr,
    }
