"""Machine files: written and read back, and refused in one line when a value is missing, absurd or of another time."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_machine import machine

from convcost.text.errors import ConvcostError
from convcost.timing.machine_file import default_path, machine_text, parse_machine, read_machine, save_machine

TEXT = machine_text(machine(threads=(1, 2)))
EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "configs/machines").glob("*.toml"))


def refused(text: str) -> str:
    with pytest.raises(ConvcostError) as caught:
        parse_machine(text.encode(), "m.toml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_machine_comes_back_as_it_was(tmp_path: Path) -> None:
    path, here = tmp_path / "m.toml", machine(dtypes=("float32", "bfloat16"), threads=(1, 2))
    save_machine(path, here)
    again = read_machine(path)
    assert again.source == str(path)
    assert machine_text(again) == machine_text(here)
    assert (again.peaks, again.levels, again.overhead, again.noise) == (
        here.peaks, here.levels, here.overhead, here.noise,
    )  # fmt: skip


def test_the_file_can_be_read_by_a_person() -> None:
    assert TEXT.startswith("# The speeds of one machine")
    assert tomllib.loads(TEXT)["peak"][0] == {
        "dtype": "float32",
        "threads": 1,
        "gemm_flop_per_s": 5e10,
        "flop_per_s": 1e11,
        "spread": 0.02,
        "how": "made up",
    }


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("machine_version = 1", "machine_version = 0", "m.toml:3:"),
        ("machine_version = 1\n", "", "machine_version (=missing) must be 1"),
        ("flop_per_s = 100000000000.0", "flop_per_s = -1.0", "peak.0.flop_per_s (=-1.0) must be a number from"),
        ("flop_per_s = 100000000000.0", "flop_per_s = 1e30", "peak.0.flop_per_s (=1e+30) must be a number from"),
        ("flop_per_s = 100000000000.0", f"flop_per_s = {'9' * 400}", "must be a number from 1e+06 to 1e+18; measure"),
        ("flop_per_s = 100000000000.0", "flop_per_s = nan", "peak.0.flop_per_s (=nan) must be a number from"),
        ("flop_per_s = 100000000000.0", 'flop_per_s = "fast"', "peak.0.flop_per_s (=fast) must be a number"),
        ("flop_per_s = 100000000000.0\n", "\n", "peak.0.flop_per_s (=missing) must be there; measure"),
        ("threads = 1", "threads = true", "peak.0.threads (=true) must be a whole number"),
        ("threads = 1", "threads = 1.5", "peak.0.threads (=1.5) must be a whole number"),
        ("[overhead]", "[overhead_]", "overhead_ is no key of this table; measure"),
        ("convolution_call_s", "call_s", "overhead.call_s is no key of this table; measure"),
        (
            "convolution_call_s = 1e-05",
            "convolution_call_s = 60",
            "overhead.convolution_call_s (=60) must be a number from",
        ),
        ('name = "made up"', "name = 3", "machine.name (=3) must be a text"),
        ('date = "2026-11-24"', 'date = "2026-13-24"', "date (=2026-13-24)"),
        ('date = "2026-11-24"', "date = 2026", "date (=2026)"),
        ("capacity_bytes = 10000\n", "capacity_bytes = 9000000\n", "must get larger and slower"),
        ("byte_per_s = 1000000000.0", "byte_per_s = 500000000000.0", "must get larger and slower"),
        ("[[peak]]", "[peak", "m.toml:"),
    ],
)
def test_a_damaged_value_is_refused_with_its_rule_and_its_place(old: str, new: str, said: str) -> None:
    assert old in TEXT
    message = refused(TEXT.replace(old, new, 1))
    assert message.startswith("m.toml:")
    assert said in message


def test_a_missing_table_is_named() -> None:
    without = TEXT[: TEXT.index("[overhead]")]
    assert "overhead (=missing) must be there; measure" in refused(without)
    levels = TEXT.index("[[level]]")
    assert "level (=missing) must be there; measure" in refused(TEXT[:levels] + TEXT[TEXT.index("[overhead]") :])


def test_without_noise_the_file_holds() -> None:
    assert parse_machine(TEXT[: TEXT.index("[noise]")].encode(), "m.toml").noise is None


@given(st.data())
def test_a_file_cut_off_or_scribbled_on_is_read_or_refused_in_one_line(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(TEXT)))
    text = TEXT[:at] + data.draw(st.sampled_from(["", "=", '"', "[", "\n", "-", "9", "[[level]]\n"]))
    text += "" if data.draw(st.booleans()) else TEXT[at + data.draw(st.integers(0, 9)) :]
    try:
        parse_machine(text.encode(), "m.toml")
    except ConvcostError as error:
        assert str(error).startswith("m.toml:")  # noqa: PT017 - no error is right too
        assert "\n" not in str(error)  # noqa: PT017 - only of a refusal


def test_a_file_that_is_no_text_is_refused() -> None:
    with pytest.raises(ConvcostError, match=r"m\.toml"):
        parse_machine(b"\xff\xfe\x00", "m.toml")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConvcostError, match=r"must be a file that can be read.*convcost calibrate"):
        read_machine(tmp_path / "no.toml")


def test_the_file_lies_where_the_variable_says_or_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONVCOST_MACHINE", str(tmp_path / "here.toml"))
    assert default_path("cpu") == tmp_path / "here.toml"
    monkeypatch.setenv("CONVCOST_MACHINE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_path("cuda").name == "machine-cuda.toml"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_machines_and_say_where_each_number_comes_from(path: Path) -> None:
    found = read_machine(path)
    figures: tuple[Any, ...] = (*found.peaks, *found.levels, found.overhead)
    assert all(one.how for one in figures)
    assert found.lines


def test_there_are_examples() -> None:
    assert EXAMPLES
