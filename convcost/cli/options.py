"""The options that several commands share, as annotated types."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "Baseline",
    "Batch",
    "Bias",
    "Columns",
    "DepthMultiplier",
    "Dilation",
    "Expansion",
    "Export",
    "Format",
    "GhostRatio",
    "Groups",
    "Height",
    "InChannels",
    "KernelSize",
    "Mid",
    "OutChannels",
    "OutputFormat",
    "Padding",
    "Partial",
    "Rank",
    "Store",
    "Stride",
    "Width",
]

SHAPE = "The layer's shape"
BLOCK = "Parameters of single blocks"
OUTPUT = "Output"


class OutputFormat(StrEnum):
    """What goes to stdout."""

    table = "table"
    csv = "csv"
    json = "json"
    markdown = "markdown"
    latex = "latex"


def _option(panel: str, help_text: str, *names: str, metavar: str | None = None) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(*names, help=help_text, metavar=metavar, rich_help_panel=panel)
    return option


InChannels: TypeAlias = Annotated[int, _option(SHAPE, "C: input channels.", "--c", "--in-channels")]
OutChannels: TypeAlias = Annotated[int, _option(SHAPE, "O: output channels.", "--o", "--out-channels")]
KernelSize: TypeAlias = Annotated[
    str, _option(SHAPE, "K, or KHxKW (height x width).", "--k", "--kernel-size", metavar="K|KHxKW")
]
Height: TypeAlias = Annotated[int, _option(SHAPE, "Input height.", "--h", "--height")]
Width: TypeAlias = Annotated[int | None, _option(SHAPE, "Input width; the height by default.", "--w", "--width")]
Batch: TypeAlias = Annotated[int, _option(SHAPE, "N: samples of the batch.", "--bs", "--batch")]
Stride: TypeAlias = Annotated[
    str, _option(SHAPE, "Stride, one or vertical x horizontal.", "--stride", metavar="S|SHxSW")
]
Dilation: TypeAlias = Annotated[
    str, _option(SHAPE, "Dilation, one or vertical x horizontal.", "--dilation", metavar="D|DHxDW")
]
Padding: TypeAlias = Annotated[
    str,
    _option(
        SHAPE,
        "same (output = ceil(input / stride), as TensorFlow's SAME), valid, or sizes.",
        "--padding",
        metavar="same|valid|N|NxM",
    ),
]
Bias: TypeAlias = Annotated[bool, _option(SHAPE, "Whether every stage has a bias.", "--bias/--no-bias")]
DepthMultiplier: TypeAlias = Annotated[
    int | None,
    _option(BLOCK, "m: outputs per input channel of a depthwise stage; 1 by default.", "--m", "--depth-multiplier"),
]
Groups: TypeAlias = Annotated[int | None, _option(BLOCK, "Of grouped; gcd(C, O, 4) by default.", "--groups")]
Expansion: TypeAlias = Annotated[
    int | None, _option(BLOCK, "t of inverted-residual and fused-inverted-residual; 6 by default.", "--expansion")
]
Mid: TypeAlias = Annotated[
    int | None,
    _option(
        BLOCK,
        "Channels between the stages of spatially-separable (C by default) and bottleneck (O/4).",
        "--mid",
        "--mid-channels",
    ),
]
Rank: TypeAlias = Annotated[int | None, _option(BLOCK, "r of low-rank; O/4 by default.", "--rank")]
GhostRatio: TypeAlias = Annotated[int | None, _option(BLOCK, "s of ghost; 2 by default.", "--ghost-ratio")]
Partial: TypeAlias = Annotated[
    str | None,
    _option(BLOCK, "Share of the channels that partial convolves; 1/4 by default.", "--partial", metavar="P"),
]
Store: TypeAlias = Annotated[
    bool, _option(OUTPUT, "Keep timings in the history (see convcost history).", "--store/--no-store")
]
Baseline: TypeAlias = Annotated[str, _option(OUTPUT, "What ratios and speed-ups are relative to.", "--baseline")]
Format: TypeAlias = Annotated[OutputFormat, _option(OUTPUT, "What goes to stdout.", "--format")]
Export: TypeAlias = Annotated[
    list[Path] | None,
    _option(
        OUTPUT, "Also write a file: .csv .json .md .tex .parquet .xlsx; may be repeated.", "--export", metavar="FILE"
    ),
]
Columns: TypeAlias = Annotated[
    str | None,
    _option(OUTPUT, "Only these fields, as in block,macs,speedup; JSON always has all.", "--columns", metavar="NAMES"),
]
