"""Kernels as users type and save them, and everything that is none."""

from __future__ import annotations

import os
import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from convcost.kernels.kernel_file import find_kernel, read_matrix
from convcost.kernels.matrix import matrix_of
from convcost.kernels.text import parse_matrix
from convcost.text.errors import ConvcostError


class Trap:
    """What an attacker pickles: opening it writes a file."""

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (Path("opened"),)


def npy(shape: str, data: bytes = b"", descr: str = "<f8") -> bytes:
    """A .npy file whose head says anything."""
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + data


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("1 0 -1; 2 0 -2; 1 0 -1", ((1, 0, -1), (2, 0, -2), (1, 0, -1))),
        ("-1,0\n+2,3\n", ((-1, 0), (2, 3))),
        ("\u22121 2", ((-1, 2),)),
        ("1\t2; 3\t4;", ((1, 2), (3, 4))),
        ("0.5 1/4 .25 1e-1", ((Fraction(1, 2), Fraction(1, 4), Fraction(1, 4), Fraction(1, 10)),)),
        ("1;2", ((1,), (2,))),
        ("99999999999999999999 1", ((99999999999999999999, 1),)),
        ("[[1, 2], [-3, 4]]", ((1, 2), (-3, 4))),
        ("[[1 2]\n [3 4]]", ((1, 2), (3, 4))),
        ("[1 2; 3 4]", ((1, 2), (3, 4))),
    ],
)
def test_typed_numbers_are_exact(text: str, entries: object) -> None:
    matrix = parse_matrix(text)
    assert matrix.entries == entries
    assert matrix.exact


def test_a_decimal_with_more_than_12_digits_was_printed_from_a_float_and_makes_all_floats() -> None:
    matrix = parse_matrix("0.3333333333333333 1")
    assert matrix.entries == ((0.3333333333333333, 1.0),)
    assert matrix.eps == 2.0**-52


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2; 3", "row 2 (=1 numbers) must have as many as row 1 (=2); "),
        ("", "the matrix (=empty) must have at least two numbers; "),
        (" ; ", "the matrix (=empty) must have at least two numbers; "),
        ("1 a; 2 3", "entry (=a, row 1) must be a finite number; "),
        ("1 2; nan 3", "entry (=nan, row 2) must be a finite number; "),
        ("1 -inf", "entry (=-inf, row 1) must be a finite number; "),
        ("1 1e999", "entry (=1.00e+999, row 1) must be 0 or between 1e-100 and 1e100 in size; "),
        ("1e-200 1", "entry (=1.00e-200, row 1) must be 0 or between 1e-100 and 1e100 in size; "),
        ("1 1/0", "entry (=1/0, row 1) must be a finite number; "),
        ("7", "the matrix (=7, 1x1) must be larger than 1x1; "),
        ("1,,2", "row 1 (=1,,2) must have a number in every cell; "),
        (" ".join(["1"] * 128), "the matrix (=1x128) must be at most 127 on a side; "),
    ],
)
def test_numbers_that_are_no_kernel_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConvcostError) as error:
        parse_matrix(text)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ([[1.5, 2], [3]], "kernel must be a matrix of numbers with rows of one length; "),
        ([1, 2], "kernel (=1 axes, shape (2,)) must have 2"),
        ([["a", "b"]], "kernel (=dtype <U1) must hold real numbers"),
        ([[1j, 2]], "kernel (=dtype complex128) must hold real numbers"),
        ([[1.5, float("nan")]], "entry (=nan, row 1) must be a finite number; "),
        ([[float("inf"), 1.5]], "entry (=inf, row 1) must be a finite number; "),
        ([[]], "the matrix (=empty)"),
        ([[3]], "the matrix (=3, 1x1)"),
        ([[1, 2], [3]], "row 2 (=1 numbers) must have as many as row 1 (=2); "),
        (np.array([[1, None]], dtype=object), "kernel (=dtype object) must hold real numbers"),
        (
            torch.ones(3, 3, requires_grad=True),
            "kernel must be a matrix of numbers with rows of one length; Can't call",
        ),
        (np.array([1, 2], dtype=object), "kernel (=1 axes, shape (2,)) must have 2"),
    ],
)
def test_arrays_that_are_no_kernel_are_refused(kernel: object, message: str) -> None:
    with pytest.raises(ConvcostError) as error:
        matrix_of(kernel)
    assert str(error.value).startswith(message)


def test_whole_floats_are_taken_as_integers_and_others_keep_their_precision() -> None:
    assert matrix_of(np.array([[1.0, -2.0]], np.float32)).entries == ((1, -2),)
    assert matrix_of(np.array([[0.1, 1.0]], np.float32)).eps == 2.0**-23
    assert matrix_of(np.array([[2**64 - 1, 0]], np.uint64)).entries == ((2**64 - 1, 0),)


@pytest.mark.parametrize(
    "rows",
    [
        [[2**70, 2**71], [2**69, 2**70]],
        [[2**63 + 1, -1], [2**63 + 3, -1]],  # NumPy makes floats of them
        [[Fraction(1, 3), 2], [2**64, Fraction(-5, 7)]],
        [[True, False], [0, 2]],
    ],
)
def test_integers_of_any_size_and_fractions_are_taken_as_they_are(rows: list[list[int]]) -> None:
    expected = tuple(map(tuple, rows))
    assert matrix_of(rows).entries == expected
    assert matrix_of(expected).entries == expected
    assert matrix_of(np.array(rows, dtype=object)).entries == expected
    assert all(type(entry) in {int, Fraction} for row in matrix_of(rows).entries for entry in row)


def test_rows_that_are_arrays_of_integers_are_exact_and_one_float_makes_all_floats() -> None:
    found = matrix_of([np.array([2**64 - 1, 2], np.uint64), np.array([1, 2])]).entries
    assert found == ((2**64 - 1, 2), (1, 2))
    assert {type(entry) for row in found for entry in row} == {int}
    assert matrix_of([[Fraction(1, 4), 0.3]]).entries == ((0.25, 0.3),)


def test_csv_and_npy_files_are_read(tmp_path: Path) -> None:
    csv, npy = tmp_path / "k.csv", tmp_path / "k.npy"
    csv.write_text("\ufeff1,0,-1\r\n2,0,-2\r\n", encoding="utf-8")
    np.save(npy, np.array([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0]]))
    for path in (csv, npy):
        assert read_matrix(path).entries == ((1, 0, -1), (2, 0, -2))
        assert find_kernel(str(path)).name == path.name


@pytest.mark.parametrize(
    "text",
    ["1;0;-1\n2;0;-2\n", "1\t0\t-1\r\n2\t0\t-2\r\n", "1 0 -1\n\n2  0 -2", '"1","0","-1"\n"2", 0 ,-2\n', '"1";"0";"-1"\n2;0;-2'],
)  # fmt: skip
def test_a_line_of_a_file_is_a_row_whatever_separates_its_cells(tmp_path: Path, text: str) -> None:
    (tmp_path / "k.csv").write_text(text, encoding="utf-8", newline="")
    assert read_matrix(tmp_path / "k.csv").entries == ((1, 0, -1), (2, 0, -2))


def test_an_array_by_columns_is_read_as_numpy_reads_it(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.array([[1, 2, 3], [4, 5, 6]], ">i4", order="F"))
    assert read_matrix(tmp_path / "k.npy").entries == ((1, 2, 3), (4, 5, 6))


@pytest.mark.parametrize("name", ["k.dat", "noext", "1 2"])
def test_a_file_that_is_there_is_read_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("3 4\n5 6\n", encoding="utf-8")
    (tmp_path / "sobel").write_text("3 4\n5 6\n", encoding="utf-8")
    assert find_kernel(name).entries == ((3, 4), (5, 6))
    assert find_kernel("sobel").height == 3  # a name of the collection stays one
    assert find_kernel("./sobel").height == 2


@pytest.mark.skipif(os.name == "nt", reason="Windows has no /dev")
@pytest.mark.parametrize("as_text", [True, False])
def test_a_pipe_is_read_once(tmp_path: Path, as_text: bool) -> None:  # noqa: FBT001 - a row of the table
    np.save(tmp_path / "k.npy", np.array([[1, 2], [3, 4]]))
    data = b"1,2\n3,4\n" if as_text else (tmp_path / "k.npy").read_bytes()
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    assert read_matrix(Path(f"/dev/fd/{reader}")).entries == ((1, 2), (3, 4))
    os.close(reader)


@pytest.mark.parametrize("name", ["k.pkl", "k.csv", "k.npy", "k.pickle"])
def test_a_pickle_is_refused_before_it_is_opened_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ConvcostError, match=r"must be no pickle, which could run any code when opened; "):
        find_kernel(name)
    assert not (tmp_path / "opened").exists()


def test_a_npy_file_of_objects_is_a_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("k.npy", np.array([[Trap(), 1]], dtype=object), allow_pickle=True)
    with pytest.raises(ConvcostError, match="must be no pickle"):
        find_kernel("k.npy")
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.csv", None, "No such file"),
        ("k.csv", b"1,2\n3\n", "row 2 (=1 numbers)"),
        ("k.csv", b"", "the matrix (=empty)"),
        ("k.csv", b"a,b\n1,2\n", "entry (=a, row 1)"),
        ("k.csv", b"\xff\xfe", "must be text in UTF-8"),
        ("k.csv", b"1 " * 2**20, "must be at most 1048576 bytes"),
        ("k.csv", b"1,5;2,5\n3;4\n", "separators (=; and ,) must be of one kind in a file; "),
        ("k.csv", b"1,5\t2,5\n3\t4\n", "separators (=, and TAB) must be of one kind in a file; "),
        ("k.csv", b"1,5 2,5\n3 4\n", "cell (=5 2, row 1) must be one number; "),
        ("k.csv", b"1 0 -1; 2 0 -2; 1 0 -1", "cell (=1 0 -1, row 1) must be one number; "),
        ("k.csv", b"1;2;\n3;4;\n", "row 1 (=1, 2,) must have a number in every cell; "),
        ("k.csv", b'1,"' + b"9" * 2**18, "the text must be CSV: field larger than field limit"),
        ("k.npy", b"1,2\n", "must begin as NumPy's .npy files do"),
        ("k.npy", b"\x93NUMPY\x01\x00", "must be a whole .npy file"),
        ("k.npy", npy("(3, -3)"), "must be a whole .npy file: negative dimensions"),
        ("k.npy", npy("(3, 3)", b"\0" * 8), "must be a whole .npy file: "),
        ("k.npy", npy("(2**70, 2)"), "must be a whole .npy file: "),
        ("k.npy", npy(f"({2**70}, 2)"), f"the matrix (={2**70}x2) must be at most 127 on a side; "),
        ("k.npy", npy(f"({2**62}, {2**62}, 5)"), "axes, shape"),
        ("k.npy", npy("(3, 3"), "must be a whole .npy file: "),
        ("k.npy", npy("(2, 2)", descr="|V2000000000"), "must be a whole .npy file: "),
    ],
)
def test_files_that_hold_no_kernel_are_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConvcostError) as error:
        read_matrix(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert name in str(error.value)


def test_a_large_array_is_refused_by_its_head(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.zeros((128, 2)))
    with pytest.raises(ConvcostError, match=r"\(=128x2\) must be at most 127 on a side"):
        read_matrix(tmp_path / "k.npy")
