"""The public functions, and the only way into `convcost.nn`, which they import when they are called."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, TypeVar

from convcost.blocks import BLOCKS, DEFAULT_BLOCKS
from convcost.errors import ConvcostError
from convcost.filling import Watch, fill, ignore
from convcost.request import Request, predict
from convcost.sizes import pair
from convcost.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from fractions import Fraction

    from torch import Tensor, nn

    from convcost.comparison import Comparison
    from convcost.explanation import Explanation
    from convcost.listing import History
    from convcost.registry import Value
    from convcost.report import ModelReport
    from convcost.rows import Row

__all__ = [
    "Watch",
    "compare",
    "count",
    "explain",
    "explain_row",
    "history",
    "list_blocks",
    "parse_threads",
    "register",
]


P = ParamSpec("P")
R = TypeVar("R")
SHORT_NAMES: Final = {
    "c": "in_channels",
    "o": "out_channels",
    "k": "kernel_size",
    "h": "height",
    "w": "width",
    "bs": "batch",
    "m": "depth_multiplier",
    "mid": "mid_channels",
}
"""The command line's short options, which the public functions take too."""


def _with_short_names(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function be called with the short names: `compare(c=3, o=64, k=3)`."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        named: dict[str, Any] = {SHORT_NAMES.get(name, name): value for name, value in kwargs.items()}
        if len(named) < len(kwargs):
            msg = "each argument is given once: a short name, such as c, and its long one exclude each other."
            raise TypeError(msg)
        return function(*args, **named)

    return call


@_with_short_names
def compare(  # noqa: PLR0913 - the options of the command, one by one
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    *,
    height: int = 224,
    width: int | None = None,
    batch: int = 1,
    stride: int | tuple[int, int] = 1,
    dilation: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | Literal["same", "valid"] = "same",
    bias: bool = False,
    depth_multiplier: int | None = None,
    groups: int | None = None,
    expansion: int | None = None,
    mid_channels: int | None = None,
    rank: int | None = None,
    ghost_ratio: int | None = None,
    partial: Fraction | None = None,
    blocks: Sequence[str] | None = None,
    baseline: str = "standard",
    count: bool = True,
    time: bool = True,
    device: str | Sequence[str] = "auto",
    dtype: str = "float32",
    memory_format: str = "contiguous",
    threads: int | Literal["all"] = 1,
    compile: bool = False,  # noqa: A002 - the option's name
    allocator: str = "pinned",
    time_budget: float = 8.0,
    store: bool = True,
    reuse: bool = False,
    watch: Watch = ignore,
) -> Comparison:
    """Blocks of the catalogue on one layer shape: predicted by the formula, counted in the real module, timed.

    The command line's short names work too: `compare(c=3, o=64, k=3, h=112)`.

    Timing pins glibc's allocator for the rest of the process (`allocator="default"` leaves it alone) and sets torch's
    thread count only while it runs.

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: K, or (height, width).
        height: of the input.
        width: of the input; the height by default.
        batch: samples.
        stride: one, or (vertical, horizontal).
        dilation: one, or (vertical, horizontal).
        padding: "same" (output ceil(input / stride), as TensorFlow's SAME), "valid", or sizes.
        bias: whether every stage has one.
        depth_multiplier: m, outputs per input channel of a depthwise stage.
        groups: of the grouped block.
        expansion: t, hidden channels per input channel.
        mid_channels: between the stages of spatially-separable and bottleneck.
        rank: of low-rank.
        ghost_ratio: of ghost.
        partial: share of the channels that partial convolves.
        blocks: names, in the order of the rows; the six usual ones by default.
        baseline: what ratios and speed-ups are relative to.
        count: cross-check the formula with fvcore and torch's FlopCounterMode.
        time: time the real modules.
        device: cpu, cuda, cuda:1, mps or auto; several make one row a block and device.
        dtype: float32, float64, bfloat16 or float16.
        memory_format: contiguous or channels_last.
        threads: of torch on the CPU, or "all".
        compile: time the modules compiled by torch.compile.
        allocator: pinned, or default for what the user's own program will feel.
        time_budget: seconds for all timing together, warm-up included, compiling not.
        store: keep the timings in the history (`convcost.history`).
        reuse: show a stored run that matches exactly instead of measuring.
        watch: is called with the result as it fills in.

    Returns:
        The rows, with `.to_dict()`, `.to_frame()` and a notebook view.

    Raises:
        ConvcostError: an illegal value, a shape that allows no block, a device that is not there, too little memory.

    >>> import convcost
    >>> row = convcost.compare(3, 64, 3, blocks=["depthwise-separable"], count=False, time=False).to_dict()["rows"][0]
    >>> row["macs"] == 224 * 224 * 3 * (64 + 3 * 3)
    True
    """
    spec = make_spec(in_channels, out_channels, kernel_size, height, width, batch, stride, dilation, padding, bias=bias)
    given = {
        "depth_multiplier": depth_multiplier,
        "groups": groups,
        "expansion": expansion,
        "mid_channels": mid_channels,
        "rank": rank,
        "ghost_ratio": ghost_ratio,
        "partial": partial,
    }
    request = Request(
        spec,
        _given(given),
        catalogue(blocks),
        baseline,
        count,
        time,
        (device,) if isinstance(device, str) else tuple(device),
        dtype,
        memory_format,
        threads,
        compile,
        allocator,
        time_budget,
        store,
        reuse,
    )
    return fill(request, watch)


@_with_short_names
def explain(  # noqa: PLR0913 - the options of the command, one by one
    block: str,
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    *,
    height: int = 224,
    width: int | None = None,
    batch: int = 1,
    stride: int | tuple[int, int] = 1,
    dilation: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | Literal["same", "valid"] = "same",
    bias: bool = False,
    baseline: str = "standard",
    **parameters: Value | None,
) -> Explanation:
    """The derivation of one block's cost, in symbols and with the numbers put in.

    Args:
        block: name in the catalogue.
        in_channels: C.
        out_channels: O.
        kernel_size: K, or (height, width).
        height: of the input.
        width: of the input; the height by default.
        batch: samples.
        stride: one, or (vertical, horizontal).
        dilation: one, or (vertical, horizontal).
        padding: "same", "valid", or sizes.
        bias: whether every stage has one.
        baseline: what the ratio is relative to.
        **parameters: of single blocks, as in `compare`.

    Raises:
        ConvcostError: an illegal value, or a shape that the block does not allow.

    >>> import convcost
    >>> print(convcost.explain("depthwise-separable", 3, 64, 3).ratio_symbols)
    m·(1/O + 1/K²)
    """
    spec = make_spec(in_channels, out_channels, kernel_size, height, width, batch, stride, dilation, padding, bias=bias)
    return explain_row(predict(Request(spec, _given(parameters), (block,), baseline)).rows[0])


def _given(parameters: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in parameters.items() if value is not None}


def count(
    model: nn.Module,
    inputs: Sequence[Any] | Tensor,
    kwargs: Mapping[str, Any] | None = None,
    *,
    device: str = "meta",
    cross_check: bool = False,
) -> ModelReport:
    """Count a torch module's forward pass, layer by layer, and say what was not counted.

    The module is left exactly as it was; nothing is allocated and nothing computed unless `device` is "cpu".

    Args:
        model: any module.
        inputs: its positional arguments, real or meta tensors.
        kwargs: its keyword arguments.
        device: "meta", or "cpu" for a model that looks at the values of its tensors.
        cross_check: ask torch's FlopCounterMode and fvcore too.

    Returns:
        Rows and totals, with `.to_dict()`, `.to_frame()` and a notebook view.

    Raises:
        ConvcostError: the module refuses its input, or needs the values of a tensor; the message says where.
    """
    from convcost.nn.report import report  # noqa: PLC0415 - import convcost does without torch

    inputs = (inputs,) if hasattr(inputs, "shape") else inputs  # a single tensor is one input, not a batch of them
    return report(model, inputs, kwargs, device=device, cross_check=cross_check)


@_with_short_names
def history(  # noqa: PLR0913 - the filters of the command, one by one
    *,
    block: str | Sequence[str] = (),
    target: str | Sequence[str] = (),
    command: str | None = None,
    device: str | Sequence[str] = (),
    dtype: str | None = None,
    memory_format: str | None = None,
    threads: int | None = None,
    in_channels: int | None = None,
    out_channels: int | None = None,
    kernel_size: int | tuple[int, int] | None = None,
    since: str | None = None,
    until: str | None = None,
    limit: int | None = None,
) -> History:
    """The stored timings, newest first; all filters that are set must hold.

    Args:
        block: any of these names of the catalogue.
        target: any of these models, as they were named.
        command: compare or model.
        device: any of these; `cuda` stands for each of its devices.
        dtype: of the elements.
        memory_format: contiguous or channels_last.
        threads: of torch.
        in_channels: C, as asked for.
        out_channels: O, as asked for.
        kernel_size: K, as asked for.
        since: a date, as in 2026-07-01 or 2026-07-01T12:30, or an age, as in 12h or 7d.
        until: the same.
        limit: the most rows.

    Returns:
        The rows, with `.to_dict()`, `.to_frame()` and a notebook view.

    Raises:
        ConvcostError: a filter that no row could pass, or a database that cannot be read.
    """
    from convcost.filters import Filters  # noqa: PLC0415 - import convcost does without the history
    from convcost.listing import list_history  # noqa: PLC0415 - the same

    size = None if kernel_size is None else pair(kernel_size)
    filters = Filters(
        _names(block), _names(target), command, _names(device), dtype, memory_format, threads,
        in_channels, out_channels, size, since, until,
    )  # fmt: skip
    return list_history(filters, limit)


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def register(op: Any) -> Callable[[Callable[..., int]], Callable[..., int]]:  # noqa: ANN401 - operators have no public type
    """Give a custom operator a formula: a decorator for a function of its arguments and `out` that returns MACs.

    Args:
        op: such as `torch.ops.mylib.myop`.

    Raises:
        ConvcostError: something that is no operator, or one that has a formula.
    """
    from convcost.nn.ops import register as remember  # noqa: PLC0415 - import convcost does without torch

    return remember(op)


def explain_row(row: Row) -> Explanation:
    """The derivation behind a row of a comparison."""
    from convcost.explanation import explain_block  # noqa: PLC0415 - a table does without

    return explain_block(row.placed, row.baseline)


def list_blocks() -> str:
    """The catalogue as a table: each block with its MACs over those of standard, what it is, and its paper."""
    from convcost.render.plain import aligned  # noqa: PLC0415 - only for those who print it

    lines = [
        (block.name, explain(block.name, 64, 64, 3).ratio_symbols or "", block.summary, block.paper)
        for block in BLOCKS.values()
    ]
    return aligned(("block", "MACs / standard", "what it is", "paper"), lines, left=4)


def parse_threads(text: str) -> int | Literal["all"]:
    """`4` or `all`.

    Raises:
        ConvcostError: anything else.
    """
    if text == "all":
        return "all"
    if not text.isascii() or not text.isdigit():
        msg = f"threads (={text}) must be 1 or more, or all."
        raise ConvcostError(msg)
    return int(text)


def catalogue(names: Sequence[str] | None) -> tuple[str, ...]:
    """Block names with `all` written out, each once; the six usual ones for None."""
    wanted = [BLOCKS if name == "all" else (name,) for name in names or DEFAULT_BLOCKS]
    return tuple(dict.fromkeys(name for group in wanted for name in group))


def make_spec(  # noqa: PLR0913, PLR0917 - the shape options, one by one
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    height: int,
    width: int | None,
    batch: int,
    stride: int | tuple[int, int],
    dilation: int | tuple[int, int],
    padding: int | tuple[int, int] | Literal["same", "valid"],
    *,
    bias: bool,
) -> Spec:
    """The layer shape of the options, single numbers spread over both axes."""
    return Spec(
        in_channels,
        out_channels,
        pair(kernel_size),
        height,
        height if width is None else width,
        batch,
        pair(stride),
        pair(dilation),
        padding if isinstance(padding, str) else pair(padding),
        bias,
    )
