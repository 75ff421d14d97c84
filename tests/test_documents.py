"""Links lead somewhere, every page is reached from the README, commands and options are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer

from lrrun.cli.main import app

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    page for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md") for page in ROOT.glob(pattern)
)
OF_THE_COMMAND = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted(ROOT.glob("docs/*.md"))]
"""The pages whose commands are all lrrun's."""


def called(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """The text of a page without blocks of code, and without the brackets in spans of code."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", lambda span: re.sub(r"[\[\]()]", "_", span[0]), text)


def links(page: Path) -> list[str]:
    """The targets of links and pictures that lie in this repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [each for each in targets if not re.match(r"[a-z]+:", each)]


def target(page: Path, link: str) -> tuple[Path, str]:
    path, _, anchor = link.partition("#")
    return (page.parent / unquote(path)).resolve() if path else page, anchor


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links: lower case, hyphens for spaces."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=called)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        file, anchor = target(page, link)
        assert file.exists(), f"{page.name} links to {link}, which is not there"
        assert file.is_relative_to(ROOT)
        if anchor:
            assert anchor in anchors(file), f"{page.name} links to {link}: no such heading"


def test_every_page_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached:
            continue
        reached.add(page)
        there = [target(page, link)[0] for link in links(page)]
        ahead += [each for each in there if each.suffix == ".md"]
        ahead += [each for folder in there if folder.is_dir() for each in folder.glob("*.md")]
    assert set(PAGES) <= reached, sorted(str(each) for each in set(PAGES) - reached)


def test_every_picture_is_shown() -> None:
    shown = {target(page, link)[0] for page in PAGES for link in links(page)}
    pictures = {each for kind in ("png", "svg") for each in ROOT.glob(f"docs/**/*.{kind}")}
    assert pictures and pictures <= shown


def verbs() -> dict[str, Any]:
    """The commands of lrrun, by name."""
    found: dict[str, Any] = vars(typer.main.get_command(app))["commands"]
    return found


def options() -> dict[str, set[str]]:
    """The options of each command, by its name."""
    return {
        name: {"--help", *(word for each in verb.params for word in each.opts)}
        | {word for each in verb.params for word in each.secondary_opts}
        for name, verb in verbs().items()
    }


def commands(page: Path) -> list[str]:
    """What a page shows to be typed: spans of code, and lines that stand apart."""
    text = page.read_text("utf-8")
    blocks = "\n".join(re.findall(r"^```.*?^```", text, flags=re.DOTALL | re.MULTILINE))
    fenced = re.findall(r"^(?:\$ )?(lrrun .*)$", blocks, flags=re.MULTILINE)
    indented = re.findall(r"^ {4}(lrrun .*)$", text, flags=re.MULTILINE)
    return fenced + indented + re.findall(r"`([^`\n]+)`", prose(page))


@pytest.mark.parametrize("page", OF_THE_COMMAND, ids=called)
def test_commands_and_options_are_there(page: Path) -> None:
    """An option is one of the command that it stands behind, or of any where it stands alone."""
    known = options()
    for text in commands(page):
        name = re.match(r"lrrun ([a-z]+)", text)
        assert name is None or name[1] in known, text
        allowed = known[name[1]] if name else set().union({"--version"}, *known.values())
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) <= allowed, text


def test_help_is_written_in_paragraphs() -> None:
    """A line's end inside one would stand in a terminal of any width."""
    for name, verb in verbs().items():
        assert verb.help and not re.search(r"(?<!\n)\n(?!\n)", verb.help), name
