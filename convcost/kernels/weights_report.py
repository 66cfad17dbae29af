"""The result of `convcost kernel --model`: how separable the kernels of a network's convolutions are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convcost.kernels.columns import LAYER_COLUMNS
from convcost.kernels.layer_row import ENERGY
from convcost.kernels.report import SCHEMA
from convcost.text.columns import records
from convcost.text.units import change_of, human_count, human_share, thousands

if TYPE_CHECKING:
    from convcost.kernels.layer_row import LayerRow, Spectrum
    from convcost.text.columns import Column

__all__ = ["WeightsReport"]


@dataclass(frozen=True, slots=True)
class WeightsReport:
    """The convolutions of a network, one a row.

    Attributes:
        target: as the user named it.
        rows: one a convolution with K > 1.
        notes: what the reader should know.
        columns: of the table and the frame; the JSON object always has all.
    """

    target: str
    rows: tuple[LayerRow, ...]
    notes: tuple[str, ...] = ()
    columns: tuple[Column, ...] = LAYER_COLUMNS

    @property
    def head(self) -> str:
        """One line that says what was looked at."""
        return f"{self.target}: {len(self.rows)} convolutions with K > 1; bars: 0 to 100 % of a kernel's energy"

    @property
    def verdicts(self) -> tuple[str, ...]:
        """How many kernels are separable, and what the pairs would save."""
        seen = [row.spectrum for row in self.rows if row.spectrum is not None]
        if not seen:
            return ()
        kernels, separable = sum(one.kernels for one in seen), sum(one.rank1_kernels for one in seen)
        zeros = sum(one.zero_kernels for one in seen)
        own = [row for row in self.rows if row.spectrum is not None and not row.shares_weight]
        before, after = sum(row.params_before for row in own), sum(row.params_after or 0 for row in own)
        saving = sum((row.macs_ratio or 0.0) > 1 for row in self.rows)
        tolerances = sorted({one.tolerance for one in seen})
        stated = " to ".join(f"{value:.1e}" for value in dict.fromkeys((tolerances[0], tolerances[-1])))
        share = human_share(separable / kernels)
        ranks = (
            f"{thousands(separable)} of {thousands(kernels)} kernels ({share}) have rank 1, {thousands(zeros)} are "
            f"zeros (singular values up to {stated} of the largest count as 0)"
        )
        weights = f"{human_count(before)} → {human_count(after)} weights ({change_of(before, after)})"
        pairs = (
            f"pairs of K×1 and 1×K that keep {100 * ENERGY:.0f} % of the energy: {weights}; fewer MACs in "
            f"{saving} of {len(seen)} layers"
        )
        return ranks, pairs

    @property
    def warnings(self) -> tuple[str, ...]:
        """None: what there is to say concerns the network as a whole."""
        return ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `convcost kernel --model --format json`."""
        fields = zip(records(LAYER_COLUMNS, self.rows), self.rows, strict=True)
        layers = [{**plain, **({} if row.spectrum is None else _lists(row.spectrum))} for plain, row in fields]
        return {"schema": SCHEMA, "target": self.target, "kernels": [], "layers": layers, "notes": list(self.notes)}

    def to_frame(self) -> Any:  # noqa: ANN401 - a pandas.DataFrame; naming the type would import pandas
        """The rows as a pandas DataFrame with the columns of the CSV."""
        from convcost.text.export import frame  # noqa: PLC0415 - pandas only for those who ask for it

        return frame(self.columns, self.rows)


def _lists(seen: Spectrum) -> dict[str, Any]:
    """The fields that are lists in JSON and text in a row."""
    return {
        "energy_q25": list(seen.energy_q25) or None,
        "energy_median": list(seen.energy_median) or None,
        "energy_q75": list(seen.energy_q75) or None,
        "energy_histogram": list(seen.histogram),
    }
