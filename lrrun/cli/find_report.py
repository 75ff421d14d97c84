"""What a search for a learning rate came to, afterwards: for show and list."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrrun.runlog.reader import Run


def show_search(run: Run, plots: bool, json_output: bool, png: Path | None) -> None:
    """The answer of a search and what speaks for it, or why there is none."""
    from lrrun.errors import NoAnswer
    from lrrun.render.finding import finding_figure, print_finding, print_no_finding
    from lrrun.render.terminal import make_console
    from lrrun.search.finding import kept_finding

    data = search_data(run)
    answered = data.get("recommended_lr") is not None
    finding = kept_finding(run.path, data) if answered else None
    if json_output:
        from lrrun.runlog import strict_json

        print(strict_json.dumps(data))
    elif finding is not None:
        print_finding(make_console(), finding, plots)
    else:
        print_no_finding(make_console(), run.path, data)
    if png is not None:
        if finding is None:
            raise NoAnswer(f"{run.path}: a search without an answer has nothing to draw")
        finding_figure(finding, png)


def search_data(run: Run) -> dict[str, Any]:
    """find.json; where a search was stopped before it was written, how to go on with it."""
    from lrrun.search.finding import is_stopped, kept_data

    if not is_stopped(run):
        return kept_data(run.path)
    return {"recommended_lr": None, "stopped": True, "command": run.info.get("command", "")}


def row_of(run: Run) -> dict[str, Any]:
    """A search as `list --json` has it."""
    from lrrun.errors import UnusableFile

    known = {"kind": "find", "name": run.name, "created": run.created}
    try:
        data = search_data(run)
    except UnusableFile as error:
        return {**known, "status": "unreadable", "problem": str(error)}
    status = _unfinished(run) if data.get("stopped") else "no answer"
    if data.get("recommended_lr") is not None:
        status = "done"
    kept = ("recommended_lr", "interval", "diverges_at", "val_loss", "confirmed", "no_answer")
    return {**known, "status": status, **{key: data.get(key) for key in kept}}


def _unfinished(run: Run) -> str:
    """What a search without an answer is doing: its range test, the runs after it, or nothing."""
    from lrrun.runlog.lock import is_abandoned

    gone = run.abandoned if run.status == "running" else is_abandoned(run.path)
    if not gone:
        return "running"
    return "interrupted" if run.status == "interrupted" else "stopped?"
