"""docs/schedules.md is what the catalogue says today, and everything in it works."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import lrrun
from lrrun.render.drawing import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, drawing
from lrrun.render.gallery import example, gallery, write
from lrrun.render.gallery_table import EXAMPLES, OTHERS
from lrrun.schedules import CATALOGUE, build, parse
from lrrun.schedules.catalogue import register
from lrrun.units import Length, Units

DOCS = Path(lrrun.__file__).parents[1] / "docs"
OWN = [name for name in CATALOGUE if "." not in name]


def test_the_gallery_in_docs_is_not_stale(tmp_path: Path) -> None:
    write(tmp_path)
    assert names(tmp_path) == names(DOCS), "run: python -m lrrun.render.gallery"
    for name in names(tmp_path):
        same = (tmp_path / name).read_bytes() == (DOCS / name).read_bytes()
        assert same, f"docs/{name} is stale: run python -m lrrun.render.gallery"


def names(folder: Path) -> list[str]:
    pictures = sorted(path.name for path in (folder / "schedules").iterdir())
    return ["schedules.md", *(f"schedules/{name}" for name in pictures)]


def test_every_config_line_builds() -> None:
    text = gallery()["schedules.md"]
    lines = re.findall(r"^scheduler: (.*)$", text, flags=re.MULTILINE)
    specs = [yaml.safe_load(line) for line in lines]
    assert sorted(spec["name"] for spec in specs) == sorted(OWN)
    for spec in specs:
        assert build(parse(spec), 0.1, Units(1000, 100))(0) >= 0


def test_the_tables_name_schedules_that_there_are() -> None:
    assert set(EXAMPLES) | set(OTHERS) <= set(OWN)
    assert {name for others in OTHERS.values() for name in others} <= set(CATALOGUE)


def test_every_schedule_has_its_picture_parameters_and_links() -> None:
    files = gallery()
    text = files["schedules.md"]
    headings = {line[4:] for line in text.splitlines() if line.startswith("### ")}
    for name in OWN:
        assert name in headings
        assert f"(#{name})" in text
        assert f"schedules/{name}.svg" in files
    for name in set(CATALOGUE) - set(OWN):
        assert f"- `{name}`: " in text
    assert "| `final` | height | `0` |" in text
    assert "| `every` | length | needed |" in text


@pytest.fixture
def new_schedule() -> Iterator[str]:
    @register("brand-new")
    def brand_new(span: Any, *, after: Length, slope: float = 0.5) -> Any:
        """Something new.

        lr(s) = start, where a*b < c.

        Source: Nobody, 2030, https://example.org/paper.
        """
        return lambda s: np.full_like(s, span.start)

    yield "brand-new"
    del CATALOGUE["brand-new"]


def test_a_registered_schedule_is_in_the_gallery(new_schedule: str) -> None:
    text = gallery()["schedules.md"].split(f"### {new_schedule}\n")[1].split("\n##")[0]
    assert example(CATALOGUE[new_schedule]) == {"name": new_schedule, "after": "10%"}
    assert "lr(s) = start, where a\\*b \\< c." in text
    assert "<https://example.org/paper>." in text
    assert "| `slope` | number | `0.5` |" in text


def test_a_picture_shows_the_lr_at_its_height() -> None:
    picture = ElementTree.fromstring(drawing(np.array([0.0, 2.0, 1.0]), 2.0, "a & b"))
    line = picture.find("{http://www.w3.org/2000/svg}polyline")
    assert line is not None
    floor = HEIGHT - BOTTOM
    assert line.get("points") == (
        f"{LEFT},{floor} {(LEFT + WIDTH - RIGHT) / 2:g},{TOP} {WIDTH - RIGHT},{(TOP + floor) / 2:g}"
    )


def test_a_last_bit_does_not_change_a_picture() -> None:
    lr = np.linspace(1.0, 0.0, 185)  # on the edges between two tenths of a pixel
    assert drawing(lr, 1.0, "") == drawing(np.nextafter(lr, 2.0), 1.0, "")
    assert drawing(lr, 1.0, "") == drawing(np.nextafter(lr, -1.0), 1.0, "")
