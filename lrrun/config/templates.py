"""The configs that `lrrun init` writes; each is a file of lrrun/templates/."""

from __future__ import annotations

from importlib import resources

from lrrun.errors import UsageError
from lrrun.registry import unknown


def _texts() -> dict[str, str]:
    folder = resources.files("lrrun") / "templates"
    found = sorted(folder.iterdir(), key=lambda each: each.name)
    return {
        each.name.removesuffix(".yaml"): each.read_text("utf-8")
        for each in found
        if each.name.endswith(".yaml")
    }


def summaries() -> dict[str, str]:
    """Template → what it is for: the first line of its comment."""
    return {name: text.split("\n", 1)[0].lstrip("# ") for name, text in _texts().items()}


def template_text(name: str) -> str:
    """The text of a template; raises UsageError, with the nearest name, where there is none."""
    texts = _texts()
    if name not in texts:
        raise UsageError(unknown("template", name, texts))
    return texts[name]
