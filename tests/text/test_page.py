"""The page as a parser reads it: no request, nothing of the user's that is markup, and a table for people."""

from __future__ import annotations

import json
import math
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from made_results import MADE, comparison, history, model

import convcost
from convcost.changes.diff import compare_models
from convcost.cli import main
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from pathlib import Path

    from convcost.models.report import ModelReport

pytest.importorskip("altair")
pytest.importorskip("vl_convert")
EVIL = "</script><img src=x onerror=alert(1)>"
PREDICTED = ["compare", "--c", "3", "--o", "64", "--k", "3", "--no-count", "--no-time"]


class Read(HTMLParser):
    """The elements of a page, with their attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append((self.elements[-1][0] if self.elements else "", data))

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def named(name: str, count: int = 1) -> ModelReport:
    """A model whose layers have this name."""
    report = model()
    layer = replace(report.layers[0], name=name)
    layers = tuple(replace(layer, name=f"{name}{index or ''}") for index in range(count))
    return replace(report, target=name, layers=layers, notes=(name,))


@pytest.mark.parametrize("command", MADE)
def test_a_page_has_no_address_but_its_own_anchors_and_forbids_requests(command: str) -> None:
    read = Read(MADE[command]().to_html())
    addresses = [one[key] for _, one in read.elements for key in ("src", "href", "xlink:href", "action") if key in one]
    assert addresses
    assert all(address.startswith("#") for address in addresses if address is not None)
    policy = next(one["content"] for one in read.tags("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
    assert not re.search(r"url\((?!#)|@import", "".join(text for tag, text in read.texts if tag == "style"))


@pytest.mark.parametrize("command", MADE)
def test_a_page_says_what_it_shows_for_a_reader_who_does_not_see_it(command: str) -> None:
    read = Read(MADE[command]().to_html())
    assert [tag for tag, _ in read.elements if tag in {"header", "main", "footer", "h1"}] == [
        "header",
        "h1",
        "main",
        "footer",
    ]
    assert {one.get("scope") for one in read.tags("th")} == {"col", "row"}
    assert len(read.tags("figcaption")) == len(MADE[command]().figures)


ELEMENTS = {"html", "head", "meta", "title", "style", "body", "a", "header", "h1", "h2", "p", "main", "section", "div"}
ELEMENTS |= {
    "figure",
    "figcaption",
    "label",
    "input",
    "button",
    "output",
    "table",
    "caption",
    "thead",
    "tbody",
    "tfoot",
}
ELEMENTS |= {"details", "summary", "tr", "th", "td", "strong", "pre", "footer", "script"}
DRAWN = {"svg", "rect", "g", "path", "line", "text", "defs", "clippath", "lineargradient", "stop", "tspan"}


@pytest.mark.parametrize("command", MADE)
def test_a_page_has_no_element_but_its_own_whatever_names_say(command: str) -> None:
    assert {tag for tag, _ in Read(MADE[command]().to_html()).elements} <= ELEMENTS | DRAWN


def test_names_of_the_user_are_texts_everywhere() -> None:
    text = named(EVIL).to_html()
    read = Read(text)
    assert not read.tags("img")
    assert [one.get("type") for one in read.tags("script")] == ["application/json", None, None]
    assert not any(key.startswith("on") for _, one in read.elements for key in one)
    assert (("a", EVIL)) in read.texts
    specs = json.loads(next(text for tag, text in read.texts if tag == "script"))
    assert EVIL in json.dumps(specs)


def test_names_of_models_that_differ_are_texts() -> None:
    before, after = (replace(named(EVIL, count), conditions={"torch_version": EVIL}) for count in (1, 2))
    diff = compare_models(before, replace(after, target=f"{EVIL}@{EVIL}"))
    assert diff.figures[0].chart is not None
    assert not Read(diff.to_html()).tags("img")


@pytest.mark.parametrize("name", ["x" * 1000, "a\n\x1b[31mb", "\ud800", "a'\"&<b>", "{{ 7 * 7 }}"])
def test_strange_names_are_shown_on_one_line(name: str, tmp_path: Path) -> None:
    from convcost.text.errors import one_line

    read = Read(named(name).to_html())
    (tmp_path / "page.html").write_text(named(name).to_html(), encoding="utf-8")
    assert "".join(text for tag, text in read.texts if tag == "a").count(one_line(name)) == 1


def test_numbers_that_json_does_not_have_are_left_out() -> None:
    report = model()
    broken = replace(
        report, layers=(replace(report.layers[0], time_s=math.nan), replace(report.layers[1], time_s=math.inf))
    )
    specs = next(
        text for tag, text in Read(replace(broken, columns=broken.columns[:1]).to_html()).texts if tag == "script"
    )
    assert not re.search(r"NaN|Infinity", specs)


@pytest.mark.parametrize("count", [1, 1000])
def test_a_thousand_layers_fit_into_three_megabytes(count: int) -> None:
    text = named("features.denseblock.layer.conv", count).to_html()
    assert len(text.encode()) < 3e6
    assert text.count('<tr id="row-') == count


@pytest.mark.slow
def test_ten_thousand_layers_have_every_row_and_figures_of_the_largest() -> None:
    report = named("layer", 10_000)
    assert report.to_html().count('<tr id="row-') == 10_000
    assert "The 60 of 10000 with the longest times; the table has all." in report.figures[0].sentence


def test_a_figure_that_needs_times_says_so() -> None:
    result = convcost.compare(3, 64, 3, count=False, time=False)
    first, second = result.figures
    assert first.chart is None
    assert first.sentence.endswith("This needs times, which were not measured.")
    assert second.chart is not None
    assert result.figure() is not None


def test_a_result_without_anything_to_draw_says_so_and_has_a_page() -> None:
    empty = replace(history(), rows=())
    with pytest.raises(ConvcostError, match="No timing is stored that could be drawn"):
        empty.figure()
    assert "No timing is stored that could be drawn." in empty.to_html()


def test_the_table_has_the_cells_of_the_terminal_and_their_values() -> None:
    read = Read(comparison().to_html())
    cells = [text for tag, text in read.texts if tag in {"td", "a"}]
    assert "145 M ✓" in cells  # 224·224·3·64·15 = 144,506,880
    assert str(224 * 224 * 3 * 64 * 15) in {one.get("data-v") for one in read.tags("td")}


@pytest.mark.parametrize(("suffix", "start"), [(".html", b"<!doctype html>"), (".svg", b"<svg"), (".png", b"\x89PNG")])
def test_an_export_is_written(suffix: str, start: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"report{suffix.upper()}"
    assert main([*PREDICTED, "--export", str(path)]) == 0
    assert path.read_bytes().startswith(start)


@pytest.mark.parametrize("suffix", [".html", ".svg", ".png"])
def test_without_the_library_a_suffix_is_refused_with_the_line_that_installs_it(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    path = tmp_path / f"report{suffix}"
    assert main([*PREDICTED, "--export", str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"error: export (={path}) needs altair to be drawn; install it with pip install 'convcost[report]'.\n"
    )
    assert not path.exists()


def test_a_figure_without_the_library_names_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    for draw in (model().figure, model().to_html, lambda: model().figures):
        with pytest.raises(ConvcostError, match=r"needs vl_convert.*pip install 'convcost\[report\]'"):
            draw()


@pytest.mark.parametrize("kept", [b"", b"sha256-\n(", b"\xff\n"])
def test_a_kept_library_that_is_broken_is_made_anew(
    kept: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import platformdirs

    monkeypatch.setattr(platformdirs, "user_cache_path", lambda _: tmp_path / "cache")
    first = model().to_html()
    (file,) = (tmp_path / "cache").iterdir()
    content = file.read_bytes()
    file.write_bytes(kept)
    assert model().to_html() == first
    assert file.read_bytes() == content
