"""What a stranger can put into a checkpoint: none of it runs, none of it comes in.

The checksum is no signature: it is right in all of these files.
"""

from __future__ import annotations

import ast
import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lrrun.errors import EnvironmentFault, UnusableFile
from lrrun.training import checkpoint_files
from lrrun.training.checkpoint_files import load, save
from lrrun.training.checkpoint_seal import SealingFile


@pytest.fixture
def good(tmp_path: Path) -> Path:
    save(tmp_path / "last.pt", {"step": 1, "w": torch.zeros(3)})
    return tmp_path / "last.pt"


def refused(path: Path, message: str = ".") -> str:
    """The one clear line with which `path` is refused."""
    with pytest.raises(UnusableFile, match=message) as error:
        load(path)
    text = str(error.value)
    assert str(path) in text and "\n" not in text and "\x1b" not in text and len(text) < 300
    return text


def sealed(path: Path, write: Any) -> Path:
    with path.open("wb") as handle:
        sealing = SealingFile(handle)
        write(sealing)
        sealing.close()
    return path


def sealed_zip(path: Path, members: dict[str, bytes], compression: int = 0) -> Path:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", compression) as out:
        for name, content in members.items():
            out.writestr(name, content)
    return sealed(path, lambda file: file.write(archive.getvalue()))


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return open, (self.marker, "w")


@pytest.mark.parametrize(
    "content",
    [
        lambda marker: Touch(marker),
        lambda marker: {"step": 1, "extra": Touch(marker)},
        lambda marker: {"step": np.float64(1)},
        lambda marker: {"step": Path("x")},
        lambda marker: torch.nn.Linear(1, 1),
    ],
)
def test_python_objects_are_refused_and_nothing_runs(tmp_path: Path, content: Any) -> None:
    marker = tmp_path / "marker"
    value = content(str(marker))
    path = sealed(tmp_path / "last.pt", lambda file: torch.save(value, file))
    refused(path, "contains Python objects; refused")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"w": torch.eye(3).to_sparse()}, "w: not a dense tensor"),
        ({"w": "csr"}, "w: not a dense tensor|Python objects"),
        ({"w": torch.zeros(3, device="meta")}, "w: not a dense tensor"),
        ({"w": torch.zeros(1).expand(2**20, 2**20)}, "w: not a dense tensor"),
        ({"w": torch.arange(4.0).as_strided((2, 2), (1, 1))}, "w: not a dense tensor"),
        ({"w": torch.zeros(4)[1:]}, "w: not a dense tensor"),
        ({"w": [torch.nn.Parameter(torch.zeros(2))]}, r"w\[0\]: a Parameter"),
        ({"w": {1, 2}}, "w: a set"),
        ({1.5: 0}, "a key of type float"),
        ([1, 2], "holds a list"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Sparse")
def test_only_plain_values_and_dense_tensors_come_in(tmp_path, content, message: str) -> None:
    if content == {"w": "csr"}:  # torch warns where one is made
        content = {"w": torch.eye(3).to_sparse_csr()}
    refused(sealed(tmp_path / "last.pt", lambda file: torch.save(content, file)), message)


@pytest.mark.filterwarnings("ignore:torch.quantize", "ignore:TypedStorage")
def test_quantized_tensors(tmp_path: Path) -> None:
    content = {"w": torch._empty_affine_quantized([3], scale=1.0, zero_point=0, dtype=torch.qint8)}
    refused(sealed(tmp_path / "last.pt", lambda file: torch.save(content, file)), "refused")


def test_lists_in_themselves_and_lists_that_stand_for_billions(tmp_path: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    laughs: list[Any] = [0]
    for _ in range(40):
        laughs = [laughs] * 10
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    for value in (endless, laughs, deep):
        path = sealed(tmp_path / "last.pt", lambda file, v=value: torch.save({"a": v}, file))
        refused(path, "nested too deep, or into itself")


def test_archives_that_torch_does_not_write(tmp_path: Path, good: Path) -> None:
    with zipfile.ZipFile(good) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    path = tmp_path / "other.pt"
    refused(sealed_zip(path, members, zipfile.ZIP_DEFLATED), "not laid out as torch.save")
    refused(sealed_zip(path, {**members, "archive/../../x": b""}), "not laid out")
    refused(sealed_zip(path, {**members, "/etc/x": b""}), "not laid out")
    refused(sealed_zip(path, {"archive/data.pkl": b"garbage"}), "not an lrrun checkpoint|Python")
    refused(sealed(path, lambda file: file.write(b"PK\x03\x04" + bytes(100))), "not an lrrun")
    refused(sealed(path, lambda file: file.write(b"0123456789" * 10)), "not an lrrun")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("archive/data.pkl", pickle.dumps({"step": 1}, 2))
        out.writestr("archive/data.pkl", pickle.dumps({"step": 2}, 2))
    path = sealed(tmp_path / "last.pt", lambda file: file.write(archive.getvalue()))
    refused(path, "too many members, or one twice")


def test_members_that_claim_more_than_the_file_has(tmp_path: Path) -> None:
    members = {"archive/data.pkl": pickle.dumps({}, 2), "archive/data/0": bytes(64)}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        for name, content in members.items():
            out.writestr(name, content)
    raw = bytearray(archive.getvalue())
    at = raw.rindex(b"PK\x01\x02")  # the directory's entry of the last member: both of its sizes
    raw[at + 20 : at + 28] = struct.pack("<LL", 2**31, 2**31)
    path = sealed(tmp_path / "last.pt", lambda file: file.write(bytes(raw)))
    refused(path, "not laid out")


@pytest.mark.parametrize("value", ["1", "true", "Y"])
def test_an_environment_that_switches_safety_off_is_refused(good: Path, monkeypatch, value) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", value)
    with pytest.raises(EnvironmentFault, match="unset it"):
        load(good)


def test_an_old_torch_is_refused(good: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(EnvironmentFault, match=r"torch 2\.9\.1\+cpu cannot .* install 2\.10"):
        load(good)


def test_torch_load_and_pickle_are_used_nowhere_else() -> None:
    """One door: everything else goes through checkpoint_files.load."""
    package = Path(checkpoint_files.__file__).parents[1]
    allowed = {"checkpoint_files.py"}
    banned = {"pickle", "joblib", "marshal", "shelve", "dill", "torch.load"}
    found = {
        (file.name, name)
        for file in package.rglob("*.py")
        if file.name not in allowed
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        for name in banned & _names(node)
    }
    assert found == set()


def _names(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {ast.unparse(node)} if isinstance(node, ast.Attribute) else set()
