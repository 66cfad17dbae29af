"""The page in headless Chromium: nothing is requested or refused, and its tools work. Skipped without a Chromium."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from made_results import MADE, TIMING, comparison, model, models, replaced, weights

from convcost.changes.diff import compare_models
from convcost.text.export import TEXT_FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from convcost.changes.diff import DiffReport
    from convcost.comparison.result import Comparison
    from convcost.models.report import ModelReport
    from convcost.text.result import Result

pytest.importorskip("altair")
pytest.importorskip("vl_convert")
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Opened:
    """A page in the browser, with what it complained about and asked for."""

    def __init__(self, browser: Browser, path: Path, **options: Any) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page: Page = browser.new_context(**options).new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector(".chart:not(.vega-embed)", state="detached")

    def column(self, index: int) -> list[str]:
        cells = self.page.locator(f"tbody tr:visible > :nth-child({index + 1})")
        return cells.all_text_contents()


@pytest.fixture(scope="module")
def model_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "model.html"
    path.write_text(MADE["model"]().to_html(), encoding="utf-8")
    return path


def test_a_page_requests_only_itself_and_no_console_line_appears(browser: Browser, tmp_path: Path) -> None:
    for number, made in enumerate(MADE.values()):
        path = tmp_path / f"{number}.html"
        path.write_text(made().to_html(), encoding="utf-8")
        opened = Opened(browser, path)
        assert (opened.complaints, opened.requests) == ([], [path.as_uri()])


def test_a_head_sorts_by_value_and_says_so(browser: Browser, model_page: Path) -> None:
    opened = Opened(browser, model_page)
    head = opened.page.get_by_role("columnheader", name="MACs")
    assert opened.column(0) == ["stem", "act"]
    head.get_by_role("button").press("Enter")
    assert (head.get_attribute("aria-sort"), opened.column(0)) == ("descending", ["stem", "act"])
    head.get_by_role("button").press("Enter")
    assert (head.get_attribute("aria-sort"), opened.column(0)) == ("ascending", ["act", "stem"])
    head.get_by_role("button").press("Enter")
    assert (head.get_attribute("aria-sort"), opened.column(0)) == ("none", ["stem", "act"])
    assert opened.page.locator("tfoot").inner_text().startswith("total")


def test_the_filter_keeps_the_rows_with_all_words(browser: Browser, model_page: Path) -> None:
    opened = Opened(browser, model_page)
    opened.page.get_by_role("searchbox", name="Filter").fill("1x8x8x8 relu")
    assert opened.column(0) == ["act"]
    assert opened.page.get_by_role("status").inner_text() == "1 of 2 rows"
    assert opened.page.locator("tfoot").is_visible()


def test_the_copied_csv_has_raw_values_of_the_rows_that_are_shown(browser: Browser, model_page: Path) -> None:
    opened = Opened(browser, model_page, permissions=["clipboard-read", "clipboard-write"])
    opened.page.get_by_role("searchbox").fill("stem")
    opened.page.get_by_role("button", name="Copy as CSV").click()
    opened.page.get_by_text("Copied.").wait_for()
    head, stem = opened.page.evaluate("navigator.clipboard.readText()").splitlines()
    cells = dict(zip(head.split(","), stem.split(","), strict=True))
    assert (cells["name"], cells["macs"], cells["time_s"]) == ("stem", "13824", "0.002")


@pytest.mark.parametrize("command", MADE)
def test_the_copied_csv_is_the_exported_one(browser: Browser, tmp_path: Path, command: str) -> None:
    path = tmp_path / "page.html"
    result = MADE[command]()
    path.write_text(result.to_html(), encoding="utf-8")
    opened = Opened(browser, path, permissions=["clipboard-read", "clipboard-write"])
    opened.page.get_by_role("button", name="Copy as CSV").click()
    opened.page.get_by_text("Copied.").wait_for()
    assert opened.page.evaluate("navigator.clipboard.readText()") == TEXT_FORMATS["csv"](result.to_frame())


def test_pointing_at_a_bar_frames_those_of_its_layer_and_tells_its_numbers(browser: Browser, model_page: Path) -> None:
    page = Opened(browser, model_page).page
    bars = page.locator(".chart").first.locator("path[aria-roledescription=bar]")
    bars.first.hover()
    playwright.expect(page.locator(".chart").first.locator("path[stroke=currentColor]")).to_have_count(4)
    assert "13.8 k" in page.locator("#vg-tooltip-element").inner_text()


def test_a_selected_bar_marks_its_row(browser: Browser, model_page: Path) -> None:
    page = Opened(browser, model_page).page
    page.locator(".chart").first.locator("path[aria-roledescription=bar]").first.click()
    page.wait_for_selector("tr.picked")
    assert page.locator("tr.picked th").all_text_contents() == ["stem"]


def test_a_layer_that_is_pointed_at_along_the_forward_pass_is_framed_in_the_other_figure(
    browser: Browser, model_page: Path
) -> None:
    page = Opened(browser, model_page).page
    bars, memory = page.locator(".chart").first, page.locator(".chart").nth(1)
    columns = memory.locator("g.role-mark.mark-rect path")
    columns.first.hover(position={"x": 5, "y": 20})
    playwright.expect(bars.locator("path[stroke=currentColor]")).to_have_count(4)
    assert "call	1" in page.locator("#vg-tooltip-element").inner_text()
    page.get_by_role("heading", name="Table").hover()
    playwright.expect(bars.locator("path[stroke=currentColor]")).to_have_count(0)
    bars.locator("path[aria-roledescription=bar]").first.hover()
    playwright.expect(columns.first).to_have_attribute("opacity", "0.25")


def two_dtypes() -> Comparison:
    first = comparison().rows[1]
    return replace(comparison(), rows=tuple(replace(first, dtype=dtype) for dtype in ("float32", "bfloat16")))


def three_layers() -> ModelReport:
    report = model()
    return replace(report, layers=tuple(replace(report.layers[0], name=name) for name in ("0", "1.0", "1.1.0")))


def removed_layers() -> DiffReport:
    before = replace(three_layers(), conditions={"torch_version": "2.13.0"})
    return compare_models(before, replace(before, layers=()))


@pytest.mark.parametrize(
    ("make", "bars"),
    [
        (three_layers, (0, 1, 2)),
        (lambda: replace(three_layers(), columns=three_layers().columns[::-1]), (0, 1, 2)),
        (removed_layers, (0, 1, 2)),
        (two_dtypes, (0, 1)),
        (models, (0, 1)),
        (replaced, (0,)),
        (weights, (0,)),
    ],
    ids=["nested names", "another first column", "diff", "two dtypes", "models", "replace", "weights"],
)
def test_a_selected_bar_marks_the_row_of_its_place_and_no_other(
    browser: Browser, tmp_path: Path, make: Callable[[], Result[Any]], bars: Sequence[int]
) -> None:
    path = tmp_path / "page.html"
    path.write_text(make().to_html(), encoding="utf-8")
    page = Opened(browser, path).page
    for number, bar in enumerate(bars, 1):
        page.locator("path[aria-roledescription=bar]").nth(bar).click()
        page.wait_for_selector(f"#row-{number}.picked")
        assert page.locator("tr.picked").count() == 1


def test_a_selected_step_of_memory_marks_its_row(browser: Browser, model_page: Path) -> None:
    page = Opened(browser, model_page).page
    page.locator(".chart").nth(1).locator("g.role-mark.mark-rect path").nth(1).click(position={"x": 5, "y": 20})
    page.wait_for_selector("tr.picked")
    assert page.locator("tr.picked th").all_text_contents() == ["act"]


def test_pointing_at_a_bar_frames_the_point_of_its_layer_in_the_roofline(browser: Browser, model_page: Path) -> None:
    page = Opened(browser, model_page).page
    page.locator(".chart").first.locator("path[aria-roledescription=bar]").first.hover()
    roofline = page.locator(".chart").last
    playwright.expect(roofline.locator("path[aria-roledescription=point][stroke=currentColor]")).to_have_count(1)


def test_ten_thousand_layers_open_with_what_is_drawn(browser: Browser, tmp_path: Path) -> None:
    report = model()
    layers = tuple(replace(report.rows[0], name=f"layer{number}") for number in range(10_000))
    path = tmp_path / "page.html"
    path.write_text(replace(report, layers=layers).to_html(), encoding="utf-8")
    opened = Opened(browser, path)
    assert opened.complaints == []
    assert opened.page.locator("tbody tr").count() == 10_000
    assert opened.page.get_by_text("The 60 of 10000 with the longest times; the table has all.").count() == 2
    assert opened.page.get_by_text("The 10000 calls are in steps of 16, each as high as its highest.").count() == 1


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1400, "light")])
@pytest.mark.parametrize("command", [*MADE, "compare without bounds"])
def test_axe_reports_nothing_serious_and_nothing_is_cut_off(
    browser: Browser, tmp_path: Path, command: str, width: int, scheme: str
) -> None:
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    path = tmp_path / "page.html"
    bounded = comparison()
    bare = replace(bounded, rows=tuple(replace(row, bound=None) for row in bounded.rows))
    result = MADE[command]() if command in MADE else bare
    path.write_text(result.to_html(), encoding="utf-8")
    page = Opened(browser, path, viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True).page
    grave = [one for one in axe.run(page)["violations"] if one["impact"] in {"serious", "critical"}]
    assert [(one["id"], one["nodes"][0]["html"]) for one in grave] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("name", ["x" * 1000, "encoder_backbone.stage_blocks." * 3 + "conv"])
def test_a_long_name_stays_in_its_cell_and_leaves_room(browser: Browser, tmp_path: Path, name: str, width: int) -> None:
    path = tmp_path / "page.html"
    report = model()
    layer = replace(report.layers[0], name=name, op=name)
    path.write_text(replace(report, layers=(layer,)).to_html(), encoding="utf-8")
    page = Opened(browser, path, viewport={"width": width, "height": 900}).page
    for cell in page.locator("tbody th, tbody td:nth-child(2)").all():
        assert cell.evaluate("one => one.scrollWidth <= one.clientWidth")
    assert page.locator("tbody th").evaluate("one => one.clientWidth <= innerWidth / 2")


def test_print_has_the_whole_table_and_no_tools(browser: Browser, model_page: Path) -> None:
    page = Opened(browser, model_page).page
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.get_by_role("button", name="Copy as CSV").is_visible()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("(one => one.scrollHeight <= one.clientHeight)(document.querySelector('.scroll'))")


@pytest.mark.parametrize("command", MADE)
def test_print_has_no_wider_table_than_the_paper(browser: Browser, tmp_path: Path, command: str) -> None:
    path = tmp_path / "page.html"
    path.write_text(MADE[command]().to_html(), encoding="utf-8")
    page = Opened(browser, path).page
    page.emulate_media(media="print")
    width = 1047 if page.locator("section.wide").count() else 718  # A4, landscape or portrait, without its margins
    page.set_viewport_size({"width": width, "height": 1000})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def crowded() -> Comparison:
    """Blocks whose points lie close to each other."""
    row = comparison().rows[0]
    rows = []
    for index, name in enumerate(("spatially-separable", "depthwise-separable", "pointwise", "bottleneck", "x" * 1000)):
        timing = replace(TIMING, speedup=8 + index / 5, speedup_low=7.0, speedup_high=10.0, time_s=2e-3 + index * 1e-5)
        cost = replace(row.placed.cost, macs=row.placed.cost.macs + index)
        block = replace(row.placed.block, name=name)
        rows.append(
            replace(row, placed=replace(row.placed, block=block, cost=cost), baseline=row.placed, timing=timing)
        )
    return replace(comparison(), rows=tuple(rows))


COVERED = """chart => {
  const box = (one) => one.getBoundingClientRect();
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const texts = [...chart.querySelectorAll(".role-mark.mark-text text")].filter((one) => !one.getAttribute("transform").includes("rotate"));
  const marks = [...texts, ...chart.querySelectorAll(".mark-symbol > path[aria-roledescription=point]")];
  return [texts.length, texts.flatMap((text) => marks.filter((mark) => mark !== text && meet(box(text), box(mark)))
    .map((mark) => [text.textContent, mark.textContent]))];
}"""


@pytest.mark.parametrize("width", [400, 1400])
def test_names_cover_no_point_and_no_other_name(browser: Browser, tmp_path: Path, width: int) -> None:
    path = tmp_path / "page.html"
    path.write_text(crowded().to_html(), encoding="utf-8")
    page = Opened(browser, path, viewport={"width": width, "height": 900}).page
    charts = page.locator(".chart").all()
    assert charts[0].evaluate(COVERED) == [6, []]  # five names, and the words at the line
    assert charts[-1].evaluate(COVERED) == [6, []]  # five names, and that of the level roof


def test_a_hostile_name_is_a_text_in_what_pointing_shows(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    report = model()
    name = "</script><img src=x onerror=alert(1)>"
    path.write_text(replace(report, layers=(replace(report.layers[0], name=name),)).to_html(), encoding="utf-8")
    opened = Opened(browser, path)
    opened.page.locator(".chart").first.locator("path[aria-roledescription=bar]").first.hover()
    assert name in opened.page.locator("#vg-tooltip-element").inner_text()
    assert opened.page.locator("img").count() == 0
    assert (opened.complaints, opened.requests) == ([], [path.as_uri()])


def test_without_javascript_figures_and_table_are_there(browser: Browser, model_page: Path) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(model_page.as_uri())
    assert page.locator(".chart svg").count() == 4
    assert page.locator("tbody tr").count() == 2
    assert not page.get_by_role("searchbox").is_visible()
