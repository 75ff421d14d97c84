"""run.json: what a run is and how it ended, with a checksum as its last entry."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from lrrun.errors import UnusableFile
from lrrun.records import Status
from lrrun.runlog import files, strict_json

FILE_NAME = "run.json"

SCHEMA_VERSION = 1
"""Of the run folder; a reader refuses what a newer one wrote."""

_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+([+-][0-9:]+|Z)?")
_LIMIT_BYTES = 16 << 20
_CHECKSUM = b',\n  "sha256": "'


def write_info(folder: Path, info: Mapping[str, Any], sync: bool = True) -> None:
    """Replace run.json, durably; its last entry is the SHA-256 of all the bytes before it."""
    body = strict_json.dumps(info).encode().removesuffix(b"\n}")
    text = body + _CHECKSUM + _digest(body) + b'"\n}\n'
    with files.replacing(folder / FILE_NAME, sync=sync) as handle:
        handle.write(text)


def read_info(folder: Path) -> dict[str, Any]:
    """Read run.json and check it; raises UnusableFile where it is missing, broken or changed."""
    path = folder / FILE_NAME
    try:
        text = files.read_bytes(path, _LIMIT_BYTES)
        info = json.loads(text)
    except FileNotFoundError:
        raise UnusableFile(f"{path}: missing; expected the folder of a run") from None
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise UnusableFile(f"{path}:{line}: not readable as JSON: {error}") from None
    _check(path, info)
    body, _, checksum = text.rpartition(_CHECKSUM)
    if checksum != _digest(body) + b'"\n}\n':
        raise UnusableFile(f"{path}: its checksum does not match; it was changed or damaged")
    del info["sha256"]
    return dict(info)


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def _check(path: Path, info: Any) -> None:
    if not isinstance(info, dict):
        raise UnusableFile(f"{path}:1: expected a JSON object, got {type(info).__name__}")
    version = info.get("schema_version")
    if type(version) is not int or version < 1:
        raise UnusableFile(f"{path}:1: schema_version: expected a number, got {version!r}")
    if version > SCHEMA_VERSION:
        raise UnusableFile(
            f"{path}:1: written by a newer lrrun (run folder {version}; this one reads up to "
            f"{SCHEMA_VERSION}); upgrade lrrun"
        )
    if info.get("status") not in get_args(Status):
        raise UnusableFile(f"{path}:1: status: got {str(info.get('status'))[:40]!r}")
    for key, kind in (("config", dict), ("created", str)):
        if not isinstance(info.get(key), kind):
            raise UnusableFile(f"{path}:1: {key}: missing, or of the wrong type")
    if not _MOMENT.fullmatch(info["created"]):
        raise UnusableFile(f"{path}:1: created: expected a time, got {info['created'][:40]!r}")
