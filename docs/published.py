"""Writes docs/published.md: the published tables beside what the networks as data give. `--check` only compares."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from convcost.convolution.cost import params
from convcost.convolution.layer import Norm
from convcost.models.network import read_packaged_network
from convcost.text.table import markdown_table

PAGE = Path(__file__).with_name("published.md")

HEAD = """\
# Published tables, reproduced

This page is written by `python docs/published.py`, and `--check` compares it with what the package gives today. Each
row is a network of `configs/networks/`, predicted from its list of layers without torch. 1 MAC is one multiply-add.
Parameters hold the convolutions, batch normalisation (2 a channel) and the classifier with its bias.

V1: Howard et al. 2017, *MobileNets*, tables 4, 6 and 7. V2: Sandler et al. 2018, *MobileNetV2*, table 4.

"""

FOLLOWS = "how the paper's follows"
HEADS = ("network", "MACs, paper", "MACs, exact", FOLLOWS, "params, paper", "params, exact", FOLLOWS)

TAIL = """
Rounded: to the nearest unit of the paper's last digit. Cut: the digits after it dropped.

- Full convolutions: the paper's 4866 M is the exact figure without the classifier's {classifier:,} MACs, {body:,},
  cut. The other V1 rows have the classifier in: without it MobileNet 1.0 would be 567.7 M, not 569 M.
- α = 1 at 160: 290.7 M is printed as 290 M.
- MobileNetV2: 300.8 M is printed as 300 M. Its 3.4 M parameters are the exact figure without the {norm:,} of batch
  normalisation, {rest:,}, cut.
- ResNet-18 and ResNet-50 are not in these papers; they are here because other counters give the same two integers.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a paper's table: the figures as printed, in millions, and how the exact ones lead to them."""

    name: str
    network: str
    args: tuple[tuple[str, object], ...] = ()
    macs: str | None = None
    macs_how: str = ""
    params: str | None = None
    params_how: str = ""


ROWS = (
    Row("full convolutions", "mobilenet_v1_full", (), "4866", "without the classifier, cut", "29.3", "rounded"),
    Row("MobileNet 1.0, 224", "mobilenet_v1", (), "569", "rounded", "4.2", "rounded"),
    Row("α = 0.75", "mobilenet_v1", (("alpha", 0.75),), "325", "rounded", "2.6", "rounded"),
    Row("α = 0.5", "mobilenet_v1", (("alpha", 0.5),), "149", "rounded", "1.3", "rounded"),
    Row("α = 0.25", "mobilenet_v1", (("alpha", 0.25),), "41", "rounded", "0.5", "rounded"),
    Row("resolution 192", "mobilenet_v1", (("resolution", 192),), "418", "rounded", "4.2", "rounded"),
    Row("resolution 160", "mobilenet_v1", (("resolution", 160),), "290", "cut", "4.2", "rounded"),
    Row("resolution 128", "mobilenet_v1", (("resolution", 128),), "186", "rounded", "4.2", "rounded"),
    Row("MobileNetV2 1.0, 224", "mobilenet_v2", (), "300", "cut", "3.4", "without batch normalisation, cut"),
    Row("ResNet-18", "resnet18"),
    Row("ResNet-50", "resnet50"),
)


def cells(row: Row) -> tuple[str, ...]:
    """One row of the table."""
    cost = read_packaged_network(row.network, dict(row.args)).cost
    return (
        *(row.name, f"{row.macs} M" if row.macs else "", f"{cost.macs:,}", row.macs_how),
        *(f"{row.params} M" if row.params else "", f"{cost.params:,}", row.params_how),
    )


def page() -> str:
    """The whole page."""
    full = read_packaged_network("mobilenet_v1_full")
    v2 = read_packaged_network("mobilenet_v2")
    norm = sum(params(layer.op).value for layer in v2.layers if isinstance(layer.op, Norm))
    classifier = 1024 * 1000
    tail = TAIL.format(classifier=classifier, body=full.cost.macs - classifier, norm=norm, rest=v2.cost.params - norm)
    return HEAD + markdown_table(HEADS, map(cells, ROWS), right={1, 2, 4, 5}) + tail


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` say whether it is up to date."""
    if "--check" not in arguments:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.read_text(encoding="utf-8") == page():
        return 0
    sys.stderr.write("docs/published.md is out of date; run python docs/published.py.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
