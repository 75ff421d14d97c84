"""Plain data → YAML text that our reader takes back as the same data."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import yaml

from lrrun.config.yaml_text import FLOAT, parse_value

try:
    from yaml import CSafeDumper as SafeDumper  # libyaml's: four times as fast
except ImportError:
    from yaml import SafeDumper  # type: ignore[assignment]


class _Dumper(SafeDumper):
    """Quotes every text that our reader, which knows YAML 1.2 numbers, would not read as text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: SafeDumper, text: str) -> yaml.ScalarNode:
    plain = "\n" not in text and _reads_as_itself(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


@lru_cache(maxsize=4096)  # the runs of a sweep have nearly all of their words in common
def _reads_as_itself(text: str) -> bool:
    try:
        return bool(parse_value(text) == text)
    except Exception:
        return False


def _number(dumper: SafeDumper, value: float) -> yaml.ScalarNode:
    text = {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(repr(value), repr(value))
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))
_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _number)


def to_yaml(data: Any) -> str:
    """Write plain data as YAML, keys in their order, short lists on one line.

    >>> print(to_yaml({"lr": 1e-05, "name": "1e3", "hidden": [8, 8]}), end="")
    lr: 1e-05
    name: "1e3"
    hidden: [8, 8]
    """
    text: str = yaml.dump(
        data,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=100,
    )
    return text
