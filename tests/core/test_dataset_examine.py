"""Looking through data files: summaries that are right, damage that is said, and nothing of a file that runs."""

from __future__ import annotations

import csv
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file
from sklearn.datasets import load_diabetes, load_digits

from kladml_core.data.histogram import SHOWN, Histogram
from kladml_core.data.profile import profile_file
from kladml_core.errors import KladMLError, UnusableError
from kladml_core.workspace.dataset_examine import examine_file, examine_target
from kladml_core.workspace.examination import ColumnSummary, Examination


def seen(path: Path, **params: Any) -> Examination:
    """What is found in this process, which is what the examining process does."""
    return Examination.read(profile_file(path, params, seconds=60.0))


def column(found: Examination, name: str) -> ColumnSummary:
    return next(one for one in found.columns if one.name == name)


def write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def as_file(kind: str, path: Path, table: np.ndarray[Any, Any], names: list[str]) -> Path:
    if kind == "csv":
        return write_csv(path.with_suffix(".csv"), names, [[repr(float(cell)) for cell in row] for row in table])
    path = path.with_suffix(f".{kind}")
    columns = {name: np.ascontiguousarray(table[:, place]) for place, name in enumerate(names)}
    if kind == "parquet":
        pq.write_table(pa.table(columns), path)
    elif kind == "npz":
        np.savez_compressed(path, **columns)
    else:
        save_file(columns, path)
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet", "npz", "safetensors"])
def test_the_same_table_has_the_same_summary_in_each_format(kind: str, tmp_path: Path) -> None:
    data = load_diabetes(scaled=False)
    table = np.column_stack([data.data, data.target])
    found = seen(as_file(kind, tmp_path / "diabetes", table, [*data.feature_names, "progression"]))
    assert (found.rows, found.complete, len(found.columns)) == (442, True, 11)
    bmi = column(found, "bmi")
    values = table[:, 2]
    assert (bmi.numbers, bmi.missing, bmi.distinct) == (442, 0, len(np.unique(values)))
    assert (bmi.least, bmi.greatest) == (values.min(), values.max())
    assert bmi.mean == pytest.approx(values.mean())
    assert bmi.deviation == pytest.approx(values.std())
    assert sum(bmi.bins) == 442
    assert found.classes is None  # what is to be predicted has fractions


def test_images_and_labels_are_seen_as_they_are(tmp_path: Path) -> None:
    digits = load_digits()
    np.savez(tmp_path / "digits.npz", x=(digits.images / 16).astype(np.float32)[:, None], y=digits.target)
    found = seen(tmp_path / "digits.npz")
    x = column(found, "x")
    assert (x.shape, x.numbers, x.least, x.greatest) == ((1, 8, 8), 1797 * 64, 0.0, 1.0)
    assert found.label == "y"
    assert dict(found.classes or ()) == {str(k): int(v) for k, v in enumerate(np.bincount(digits.target))}
    assert found.preview[0][1] == "0"


def test_holes_infinities_and_words_among_numbers_are_counted(tmp_path: Path) -> None:
    rows = [["1", "a", ""], ["nan", "b", "x"], ["inf", "b", "2.5"], ["+3", "", "NA"], ["-2e1", "b", "oh"]]
    found = seen(write_csv(tmp_path / "odd.csv", ["n", "text", "mixed"], rows))
    n, text, mixed = found.columns
    assert (n.dtype, n.numbers, n.missing, n.infinite, n.least, n.greatest) == ("float64", 3, 1, 1, -20.0, 3.0)
    assert (text.dtype, text.missing, text.distinct, text.words[0]) == ("text", 1, 2, ("b", 3))
    assert (mixed.dtype, mixed.numbers, mixed.texts, mixed.missing) == ("mixed", 1, 2, 2)


def test_names_and_cells_of_any_kind_pass_through(tmp_path: Path) -> None:
    header = ["[/x]", "\x1b[31mred\x07", "名前", "a", "a", ""]
    found = seen(
        write_csv(tmp_path / "hostile.csv", header, [["[bold]", "x" * 10_000, "\u202e日本", "1", "2", "\t"]] * 3)
    )
    assert [one.name for one in found.columns] == ["[/x]", "\x1b[31mred\x07", "名前", "a", "a (2)", "column 6"]
    assert found.columns[1].longest == 10_000
    assert max(len(cell) for row in found.preview for cell in row) <= 60


def test_a_thousand_columns_and_a_row_of_megabytes_are_read(tmp_path: Path) -> None:
    wide = write_csv(tmp_path / "wide.csv", [f"c{n}" for n in range(1000)], [list(range(1000))] * 5)
    found = seen(wide)
    assert (len(found.columns), found.rows, found.columns[999].mean) == (1000, 5, 999.0)
    long = write_csv(tmp_path / "long.csv", ["a", "b"], [["1", "y" * 6_000_000], ["2", "z"]])
    assert seen(long).columns[1].longest == 6_000_000


def test_rows_that_do_not_fit_are_said_and_the_others_read(tmp_path: Path) -> None:
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n1,2,3\n\n5\n7,8\n")
    found = seen(tmp_path / "ragged.csv")
    assert found.rows == 2
    assert "2 rows have another number of cells" in found.notes[0]
    assert "3 cells instead of 2" in found.notes[0]


def test_another_delimiter_and_quotes_with_line_breaks(tmp_path: Path) -> None:
    (tmp_path / "semi.csv").write_text('\ufeffa;b\n1;"two\nlines"\n3;4\n', encoding="utf-8")
    found = seen(tmp_path / "semi.csv", delimiter=";")
    assert (found.rows, [one.name for one in found.columns]) == (2, ["a", "b"])
    assert found.preview[0][1] == "two\nlines"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "is empty"),
        ("latin.csv", b"a,b\n1,\xe9\n", "not UTF-8"),
        ("latin_header.csv", b"\xe9,b\n1,2\n", "not UTF-8"),
        ("torn.parquet", b"PAR1 and no more", "cannot be read"),
        ("torn.npz", b"PK\x03\x04", "cannot be read"),
        ("huge_header.safetensors", b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", "cannot be read"),
    ],
)
def test_damage_is_one_sentence(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnusableError, match=message):
        examine_file(tmp_path / name, {}, None, tmp_path)


def test_a_header_without_rows_is_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text("a,b\n")
    found = seen(tmp_path / "none.csv")
    assert (found.rows, [one.dtype for one in found.columns]) == (0, ["empty", "empty"])


def test_nothing_of_a_file_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "trapped",))

    np.savez(tmp_path / "objects.npz", x=np.array([Trap()], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "raw.npz", "w") as archive:
        archive.writestr("x.npy", pickle.dumps(Trap()))
    (tmp_path / "pickle.csv").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "pickle.parquet").write_bytes(pickle.dumps(Trap()))
    for name, message in (("objects.npz", "never loaded"), ("raw.npz", "magic"), ("pickle.parquet", "magic")):
        with pytest.raises(UnusableError, match=message):
            examine_file(tmp_path / name, {}, None, tmp_path)
    with pytest.raises(KladMLError):
        examine_file(tmp_path / "pickle.csv", {}, None, tmp_path)
    write_csv(tmp_path / "code.csv", ["a", "__import__('os').system('touch trapped')"], [["1", "=cmd()"]])
    assert seen(tmp_path / "code.csv").rows == 1
    assert not (tmp_path / "trapped").exists()


def test_an_archive_that_unfolds_to_gigabytes_is_read_in_blocks(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "zeros.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as file,
    ):
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (10_000, 100_000)})
        block = bytes(1 << 22)
        for _ in range(10):  # the rest is missing, which only who reads it all would know
            file.write(block)
    found = Examination.read(profile_file(tmp_path / "zeros.npz", {}, seconds=0.0))
    assert (found.complete, found.rows) == (False, 10_000)
    assert 0 < found.rows_seen < 1000
    assert found.columns[0].greatest == 0


def test_bytes_that_were_seen_are_not_looked_through_again(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", ["a", "y"], [["1", "0"], ["2", "1"]])
    first = examine_file(path, {}, "sha256:of-these-bytes", tmp_path)
    path.unlink()
    assert examine_file(path, {}, "sha256:of-these-bytes", tmp_path) == first
    with pytest.raises(UnusableError):
        examine_file(path, {}, "sha256:of-other-bytes", tmp_path)


def test_a_function_is_called_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(
        "import os\n"
        "def good(n):\n    print('hello')\n    open('pid', 'w').write(str(os.getpid()))\n"
        "    import torch\n"
        "    return {'train': (torch.arange(n * 2.0).reshape(n, 2), torch.arange(n) % 3)}\n"
        "def bad(): raise RuntimeError('no such disk')\n"
        "def gone(): os._exit(9)\n"
        "def slow():\n    import time\n    time.sleep(600)\n"
    )
    found = examine_target("made:good", {"n": 6}, None, tmp_path)
    assert (found.rows, found.classes) == (6, (("0", 2), ("1", 2), ("2", 2)))
    assert int((tmp_path / "pid").read_text()) != os.getpid()
    with pytest.raises(UnusableError, match="RuntimeError: no such disk"):
        examine_target("made:bad", {}, None, tmp_path)
    with pytest.raises(UnusableError, match="ended the process"):
        examine_target("made:gone", {}, None, tmp_path)
    with pytest.raises(UnusableError, match="gave no val split"):
        examine_target("made:good", {"n": 1}, "val", tmp_path)
    with pytest.raises(UnusableError, match="took longer"):
        examine_target("made:slow", {}, None, tmp_path, seconds=-27.0)


@pytest.mark.parametrize("seed", range(5))
def test_a_histogram_counts_every_number_whatever_the_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=50) * 10.0 ** rng.integers(-12, 12) + 10.0 ** rng.integers(0, 9) for _ in range(6)]
    histogram = Histogram()
    for part in parts:
        histogram.add(part)
    counts, low, high = histogram.bins(whole=False)
    values = np.concatenate(parts)
    assert (sum(counts), len(counts) <= SHOWN) == (300, True)
    assert low <= values.min() and values.max() <= high
    expected, _ = np.histogram(values, bins=len(counts), range=(low, high))
    assert list(counts) == expected.tolist()


def test_a_greatest_value_on_an_edge_makes_no_bin_of_its_own() -> None:
    histogram = Histogram()
    histogram.add(np.append((np.arange(3200) + 0.5) / 3200, 1.0))
    assert histogram.bins(whole=False) == ((*[100] * 31, 101), 0.0, 1.0)


def test_a_histogram_holds_the_largest_numbers_there_are() -> None:
    histogram = Histogram()
    for values in ([0.0], [1e308, -1e308], [5e-324]):
        histogram.add(np.array(values))
    counts, _, _ = histogram.bins(whole=False)
    assert sum(counts) == 4
