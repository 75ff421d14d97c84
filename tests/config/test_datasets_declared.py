"""Declarations of datasets: what they accept, what they know without loading, what they refuse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from lrrun.config.base import DataFacts
from lrrun.config.datasets import (
    DATASETS,
    Cifar10,
    Cifar100,
    Csv,
    CustomDataset,
    DatasetSpec,
    FashionMnist,
    Mnist,
    SyntheticClassification,
    SyntheticRegression,
    Text,
    resolve,
)
from lrrun.errors import UnusableFile

SPEC: TypeAdapter[object] = TypeAdapter(DatasetSpec)


def write(folder: Path, text: str | bytes, name: str = "d.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def classification(**more: object) -> Csv:
    return Csv.model_validate({"path": "d.csv", "target": "y", "task": "classification", **more})


def test_names_tell_datasets_apart():
    names = [each.model_fields["name"].default for each in DATASETS]
    assert names == [
        "digits",
        "synthetic-classification",
        "synthetic-regression",
        "text",
        "csv",
        "mnist",
        "fashion-mnist",
        "cifar10",
        "cifar100",
    ]
    needed = {"text": {"path": "t"}, "csv": {"path": "d", "target": "y", "task": "regression"}}
    for name, declaration in zip(names, DATASETS, strict=True):
        spec = SPEC.validate_python({"name": name, **needed.get(name, {})})
        assert type(spec) is declaration
        assert SPEC.validate_python(declaration.model_dump(spec)) == spec


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (Mnist(), (60_000, 10_000, (1, 28, 28), 10)),
        (FashionMnist(), (60_000, 10_000, (1, 28, 28), 10)),
        (Cifar10(), (50_000, 10_000, (3, 32, 32), 10)),
        (Cifar100(), (50_000, 10_000, (3, 32, 32), 100)),
    ],
)
def test_published_sizes(spec, expected):
    train, val, inputs, outputs = expected
    assert spec.facts(Path()) == DataFacts(train, val, "classification", inputs, outputs)


@pytest.mark.parametrize(
    "section",
    [
        {"name": "digits", "batch_size": 0},
        {"name": "digits", "batch_size": "64"},
        {"name": "digits", "shuffle": True},
        {"name": "text", "path": "t", "val_fraction": 1.0},
        {"name": "text", "path": "t", "context": 0},
        {"name": "text", "path": "a\0b"},
        {"name": "synthetic-classification", "rows": 10, "val_fraction": 0.04},
        {"name": "synthetic-classification", "rows": 10, "classes": 9},
        {"name": "synthetic-regression", "rows": 3, "val_fraction": 0.9},
        {"name": "synthetic-regression", "noise": float("nan")},
        {"name": "csv", "path": "d", "target": ["a", "b"], "task": "classification"},
    ],
)
def test_refused_sections(section):
    with pytest.raises(ValidationError):
        SPEC.validate_python(section)


def test_a_split_without_rows_is_refused_with_the_numbers():
    with pytest.raises(ValidationError, match="leaves 10 for training and 0 for validation"):
        SyntheticRegression(rows=10, val_fraction=0.04)
    with pytest.raises(ValidationError, match="expected at least 9 rows, one a class"):
        SyntheticClassification(rows=10, classes=9)


def test_custom_takes_any_argument_but_only_an_import_path():
    spec = CustomDataset.model_validate({"name": "a.b:c", "batch_size": 8, "n": [1, 2]})
    assert (spec.batch_size, spec.arguments, spec.facts(Path())) == (8, {"n": [1, 2]}, None)
    with pytest.raises(ValidationError):
        CustomDataset(name="digits")


def test_paths_beside_the_config_come_first(tmp_path, monkeypatch):
    here, beside = tmp_path / "here", tmp_path / "beside"
    for folder in (here, beside):
        folder.mkdir()
        write(folder, "x", "both")
    write(here, "x", "only-here")
    monkeypatch.chdir(here)
    assert resolve("both", beside) == beside / "both"
    assert resolve("only-here", beside) == Path("only-here")
    assert resolve(str(here / "both"), beside) == here / "both"


# text


def test_text_counts_windows_by_file_size(tmp_path):
    write(tmp_path, b"a" * 1000, "t.txt")
    facts = Text(path="t.txt", context=9, val_fraction=0.1).facts(tmp_path)
    # 900 bytes: (900 - 1)//9 = 99 windows; 100 bytes: 99//9 = 11
    assert facts == DataFacts(99, 11, "language", (9,), 256, 9)


def test_corpus_is_sorted_and_leaves_hidden_files(tmp_path):
    for name in ("b.txt", "a/z.txt", "a/y.md", ".git/c.txt", "a/.d.txt", "c/e.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path, name, name)
    (tmp_path / "loop").symlink_to(tmp_path)

    def names(**more: object) -> list[str]:
        spec = Text.model_validate({"path": str(tmp_path), **more})
        return [file.path.relative_to(tmp_path).as_posix() for file in spec.corpus(Path())]

    assert names() == ["a/y.md", "a/z.txt", "b.txt", "c/e.txt"]
    assert names(files=["*.md"]) == ["a/y.md"]
    taken = Text(path=str(tmp_path), max_bytes=8).corpus(Path())
    assert [(file.size, file.taken) for file in taken] == [(6, 6), (7, 2)]


def test_python_stdlib_is_capped_source_without_tests():
    files = Text(path="python-stdlib").corpus(Path())
    assert sum(file.taken for file in files) == 4_000_000
    assert {file.path.suffix for file in files} == {".py"}
    everything = Text(path="python-stdlib", max_bytes=10**9).corpus(Path())
    parts = {part for file in everything for part in file.path.parts[-4:]}
    assert "argparse.py" in parts
    assert "random.py" in parts
    assert not parts & {"test", "tests", "site-packages", "idlelib", "encodings"}


@pytest.mark.parametrize(
    ("files", "path", "message"),
    [
        ({}, "none.txt", r"none\.txt: no such file or folder \(looked in "),
        ({}, "~nobody-here/t.txt", "~nobody-here/t.txt: no such file or folder"),
        ({}, "x" * 5000, "no such file or folder"),
        ({"t.txt": b""}, "t.txt", r"t\.txt: empty, expected text"),
        ({"t.txt": b"short"}, "t.txt", "a window of context 128 needs 129 in each"),
        ({}, ".", "no file in this folder matches"),
    ],
)
def test_unusable_text(tmp_path, files, path, message):
    for name, raw in files.items():
        write(tmp_path, raw, name)
    folder = tmp_path / "sub"
    folder.mkdir()
    with pytest.raises(UnusableFile, match=message):
        Text(path=path).facts(folder if path == "." else tmp_path)


def test_device_files_are_not_text():
    with pytest.raises(UnusableFile, match="expected a text file or a folder"):
        Text(path="/dev/null").facts(Path())


# csv


def test_csv_counts_rows_and_classes(tmp_path):
    write(tmp_path, "\ufeffx1,y,x2\r\n" + "".join(f"{i},{i % 3},0.5\r\n\r\n" for i in range(30)))
    facts = classification().facts(tmp_path)
    assert facts == DataFacts(24, 6, "classification", (2,), 3)
    both = Csv(path="d.csv", target=("x2", "y"), task="regression", val_fraction=0.5)
    assert both.facts(tmp_path) == DataFacts(15, 15, "regression", (1,), 2)


def test_quoted_cells_may_hold_commas_and_lines(tmp_path):
    write(tmp_path, 'x,y\n1,"a,b"\n2,"c\nd"\n3,"a,b"\n4,"c\nd"\n5\n')
    with pytest.raises(UnusableFile, match=r"d\.csv:8: 1 columns, expected 2"):
        classification().facts(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"d\.csv: empty, expected a header"),
        ("\n\n", r"d\.csv: empty, expected a header"),
        ("x,y\n", r"d\.csv: no rows below the header"),
        ("x,y\n1,0\n1,1,2\n", r"d\.csv:3: 3 columns, expected 2"),
        ("x,label\n1,0\n", r"d\.csv:1: no column 'y'; has x, label"),
        ("x1,Y\n1,0\n", r"d\.csv:1: no column 'y'; did you mean Y\?"),
        ("a;b;y\n1,5;2;0\n", r"d\.csv:1: expected commas between the columns, got semicolons: 'a;"),
        ("a\tb\ty\n1\t2\t0\n", r"d\.csv:1: expected commas between the columns, got tabs: 'a"),
        ("x,x,y\n1,1,0\n", r"d\.csv:1: two columns have the name 'x'"),
        ("x,,y\n1,1,0\n", r"d\.csv:1: column 2 has no name"),
        ("y\n1\n", r"d\.csv:1: no feature column"),
        ("x,y\n1,0\n2,\n", r"d\.csv:3: blank label"),
        ("x,y\n1,a\n2,a\n", r"d\.csv: every label is 'a'; expected two classes"),
        ("x,y\n1,0\n2,1\n3,-1\n", r"d\.csv:4: label '-1' is not a whole number"),
        ("x,y\n1,0\n2,1.5\n", r"d\.csv:3: label '1.5' is not a whole number"),
        ("x,y\n1,0\n2,12\n", r"d\.csv:3: label 12 is outside 0\.\.1"),
        ("x,y\n1,0\n2," + "9" * 5000 + "\n", r"d\.csv:3: label '9{40}…' is not a whole number"),
        ("x,y\n1,0\n2\0,1\n", r"d\.csv:3: a NUL byte"),
        (b"x,y\n1,0\n\xff,1\n", r"d\.csv:3: byte 0xff is not UTF-8"),
        ('x,y\n1,0\n2,"1\n3,0\n', r"d\.csv:3: unexpected end of data"),
        ("x,y\n1,0\n" + "z" * 200_000 + ",1\n", r"d\.csv:3: field larger than field limit"),
        ("x,y\n1,0\n2,1\r3,0\n", r"d\.csv:3: new-line character"),
        ("x,y\n1,0\n2,1\n", r"d\.csv: val_fraction 0\.2 of 2 rows leaves 2 .* and 0 for val"),
        ("x,y\n1,a\n2,b\n3,c\n4,d\n", r"d\.csv: val_fraction .* at least 4 rows, one a class"),
    ],
)
def test_unusable_csv(tmp_path, text, message):
    write(tmp_path, text)
    with pytest.raises(UnusableFile, match=message):
        classification().facts(tmp_path)


def test_csv_that_is_no_file(tmp_path):
    with pytest.raises(UnusableFile, match=r"d\.csv: no such file \(looked in .* and in the cur"):
        classification().facts(tmp_path)
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(UnusableFile, match="expected a CSV file, got a folder"):
        classification().facts(tmp_path)


def test_facts_need_neither_torch_nor_sklearn():
    code = (
        "import sys; from pathlib import Path; from lrrun.config.datasets import *\n"
        "Digits().facts(Path()); Text(path='python-stdlib').facts(Path())\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'sklearn', 'pooch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
