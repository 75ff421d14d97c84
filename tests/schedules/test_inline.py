"""A schedule on one line of a shell: what people type."""

from __future__ import annotations

from typing import Any

import pytest

from lrrun.errors import UsageError
from lrrun.schedules.inline import read_inline


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("cosine", {"name": "cosine"}),
        ("cosine warmup=500 steps final=10 %", {"warmup": "500 steps", "final": "10 %"}),
        ("multistep at=30%,60%", {"at": ["30%", "60%"]}),
        ("multistep at=[30%, 60%]", {"at": ["30%", "60%"]}),
        ("MultiStepLR milestones=3,6 gamma=0.1", {"milestones": [3, 6], "gamma": 0.1}),
        ("lambda factor=1 - s/690", {"factor": "1 - s/690"}),
        ("lambda factor=min(1, s/100)", {"factor": "min(1, s/100)"}),
        ("lambda factor='1 if s <= 3 else 2'", {"factor": "1 if s <= 3 else 2"}),
        ("lambda factor=1 if s <= 3 else 2 if s == 4 else 3", {"factor": ...}),
        ("LambdaLR lr_lambda='lambda epoch: 0.95 ** epoch'", {"lr_lambda": ...}),
    ],
)
def test_values_are_read_as_they_are_said(text: str, spec: dict[str, Any]) -> None:
    read = read_inline(text)
    assert read["name"] == text.split()[0]
    for key, value in spec.items():
        if value is ...:
            assert isinstance(read[key], str)
            assert set(read) == {"name", key}
        else:
            assert read[key] == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a name"),
        ("cosine 5%", "expected key=value such as warmup=5%, got '5%'"),
        ("cosine =5", "got '=5'"),
        ("wsd cooldown=20% cooldown=10%", "cooldown is given twice"),
        ("step '", "No closing quotation; write it as name key=value"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        read_inline(text)
