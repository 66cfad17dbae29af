"""What a convolution really costs: the formula, the count and the clock, side by side."""

from convcost._version import __version__
from convcost.api import check, compare, count, count_many, explain, history, register, separate
from convcost.convolution.blocks import BLOCKS
from convcost.convolution.conv import Conv
from convcost.convolution.cost import Cost, cost, macs, params
from convcost.convolution.layer import Layer
from convcost.convolution.shape import Shape
from convcost.text.errors import ConvcostError

__all__ = [
    "BLOCKS",
    "Conv",
    "ConvcostError",
    "Cost",
    "Layer",
    "Shape",
    "__version__",
    "check",
    "compare",
    "cost",
    "count",
    "count_many",
    "explain",
    "history",
    "macs",
    "params",
    "register",
    "separate",
]
