"""Several models in one table: ratios to the first, order, remarks and the sentence for a caption."""

from __future__ import annotations

from dataclasses import replace

from convcost.models.model_table import MODELS_COLUMNS, ModelTable
from convcost.models.report import CrossCheck, ModelReport, Totals, Uncounted
from convcost.text.columns import records
from convcost.timing.statistics import Timing


def model(target: str, params: int | None, macs: int) -> ModelReport:
    totals = Totals(params, 0, macs, None if params is None else 4 * params, 0, 0)
    return ModelReport(target, ("1x3x8x8",), {"torch_version": "2.13.0"}, totals, (), {"convolution": macs})


def timing(time_s: float, speedup: float) -> Timing:
    return Timing(time_s, time_s, time_s, time_s, time_s, 10, 0.0, 0.0, speedup, 0.95 * speedup, 1.05 * speedup, 0.0)


A, B, FREE = model("a", 100, 4_000), model("b", 400, 1_000), model("free", None, 0)


def test_ratios_are_those_of_the_first_to_each_and_empty_where_there_is_none() -> None:
    table = ModelTable((A, B, FREE), {})
    rows = records(MODELS_COLUMNS, table.rows)
    assert [(row["params_ratio"], row["macs_ratio"]) for row in rows] == [(1.0, 1.0), (0.25, 4.0), (None, None)]
    assert ModelTable((FREE, A), {}).rows[1].ratio("params") is None


def test_sorted_rows_keep_their_ratios() -> None:
    rows = ModelTable((B, A, FREE), {}).arranged(sort="macs", top=2).rows
    assert [(row.report.target, row.ratio("macs")) for row in rows] == [("a", 1_000 / 4_000), ("b", 1.0)]
    assert [row.report.target for row in ModelTable((FREE, A, B), {}).arranged(sort="params").rows] == [
        "b",
        "a",
        "free",
    ]


def test_a_timed_model_is_compared_with_the_first_in_words() -> None:
    table = ModelTable((replace(A, forward=timing(4.0, 1.0)), replace(B, forward=timing(1.0, 4.0))), {})
    assert table.verdicts == ("b: 4.0x faster (3.8–4.2), 4.0x fewer MACs, against a.",)
    assert table.is_timed
    assert not ModelTable((A, replace(B, forward=timing(1.0, 4.0))), {}).is_timed


def test_what_is_wrong_with_a_model_stands_with_its_name() -> None:
    wrong = replace(
        B,
        uncounted=(Uncounted("aten.fft", 2, ("x",)),),
        cross_check={"torch": CrossCheck("disagrees", 1, "7 are left")},
    )
    table = ModelTable((A, wrong), {"c": "target (=c) is nowhere; look."}, ("a note.",))
    assert table.verdicts == ("b: not counted: aten.fft, 2 calls, in x", "b: torch: disagrees, 7 are left")
    assert not table.agrees
    assert table.remarks == (("note", "a note."), ("error", "c: target (=c) is nowhere; look."))
    assert table.to_dict()["failures"] == {"c": "target (=c) is nowhere; look."}


def test_an_incomplete_total_is_at_least_in_table_latex_and_caption() -> None:
    part = replace(B, target="part", uncounted=(Uncounted("aten.fft", 2, ("x",)),))
    table = ModelTable((A, part, B), {})
    shown = {column.name: [column.text(row) for row in table.rows] for column in MODELS_COLUMNS}
    assert shown["macs"] == ["4.00 k", "≥ 1.00 k", "1.00 k"]
    assert shown["flops"] == ["8.00 k", "≥ 2.00 k", "2.00 k"]
    assert shown["macs_ratio"] == ["1x", "≤ 4.0x", "4.0x"]
    assert r"{$\geq$\,1.00}" in table.to_latex()
    assert " The number of MACs of part is a lower bound: operations were not counted. " in table.caption
    behind = ModelTable((part, A, replace(part)), {})
    assert [row.ratio_bound for row in behind.rows] == ["", "≥", "?"]
    assert "lower bound" not in ModelTable((A, B), {}).caption
    timed = ModelTable((replace(A, forward=timing(4.0, 1.0)), replace(part, forward=timing(1.0, 4.0))), {})
    assert "fewer MACs" not in timed.verdicts[0]


def test_the_head_and_the_caption_name_the_input_that_all_share() -> None:
    other = replace(B, inputs=("1x3x9x9",))
    assert ModelTable((A, B), {}).head == "2 models, input 1x3x8x8; 1 MAC = 2 FLOPs"
    assert ModelTable((A, other), {}).head == "2 models, each on its own input; 1 MAC = 2 FLOPs"
    agreeing = [replace(one, cross_check={"torch": CrossCheck("agrees", 1)}) for one in (A, other)]
    caption = ModelTable(tuple(agreeing), {}).caption
    assert caption.startswith("One forward pass of each model on the model's own input: parameters and MACs ")
    assert " of convolutions. Bias, normalisation, activations and pooling are not counted. " in caption
    assert caption.endswith(" on torch 2.13.0, cross-checked with torch's FlopCounterMode.")
    assert "cross-checked" not in ModelTable((agreeing[0], other), {}).caption
