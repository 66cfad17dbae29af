"""The public functions; what needs torch is imported when they are called."""

from __future__ import annotations

from functools import wraps
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from convcost.comparison.request import Request, catalogue, make_spec, predict
from convcost.convolution.spec import PARAMETERS, short_names
from convcost.text.errors import did_you_mean
from convcost.text.sizes import pair, plain
from convcost.timing.conditions import TimingOptions
from convcost.workflows.compare import Watch, fill, ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor, nn

    from convcost.archive.listing import History
    from convcost.budgets.result import CheckResult
    from convcost.comparison.explanation import Explanation
    from convcost.comparison.result import Comparison
    from convcost.convolution.spec import Value
    from convcost.kernels.separability import Factors
    from convcost.models.report import ModelReport


__all__ = ["check", "compare", "count", "explain", "history", "register", "separate"]

P = ParamSpec("P")
R = TypeVar("R")


def _with_short_names(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function be called with the short names: `compare(c=3, o=64, k=3)`."""
    arguments = signature(function).parameters.values()
    own = [one.name for one in arguments if one.kind is not one.VAR_KEYWORD]
    takes_more = len(own) < len(arguments)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        long_names = {short: name for name, short in short_names().items()}
        named: dict[str, Any] = {long_names.get(name, name): value for name, value in kwargs.items()}
        if len(named) < len(kwargs):
            msg = "each argument is given once: a short name, such as c, and its long one exclude each other."
            raise TypeError(msg)
        known = [*own, *PARAMETERS] if takes_more else own
        for name in named:
            if name not in known:
                hint = did_you_mean(name, known, f"see help(convcost.{function.__name__}).")
                raise TypeError(f"{function.__name__} has no argument {name}; {hint}")
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
    why: bool = False,
    store: bool = True,
    reuse: bool = False,
    roofline: bool = False,
    watch: Watch = ignore,
    **parameters: Value | None,
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
        blocks: Names, in the order of the rows; None for the six default blocks.
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
        why: split each median into parts that sum to it and look for what would help; it takes half a second a row
            more, or some ten calls where one is slow, and pins the allocator afterwards.
        store: keep the timings in the history (`convcost.history`).
        reuse: show a stored run that matches exactly instead of measuring.
        roofline: refuse a machine that is not calibrated: its roofs are wanted with the rows (`draw_rooflines`).
        watch: is called with the result as it fills in.
        **parameters: that only some blocks have, such as depth_multiplier (m) or groups; docs/blocks.md lists them.

    Returns:
        The rows, with `.to_dict()`, `.to_frame()` and a notebook view.

    Raises:
        ConvcostError: an illegal value, a shape that allows no block, a device that is not there, too little memory.

    >>> import convcost
    >>> row = convcost.compare(3, 64, 3, blocks=["depthwise-separable"], count=False, time=False).to_dict()["rows"][0]
    >>> row["macs"] == 224 * 224 * 3 * (64 + 3 * 3)
    True
    """
    spec = make_spec(
        in_channels, out_channels, kernel_size, height=height, width=width, batch=batch, stride=stride,
        dilation=dilation, padding=padding, bias=bias,
    )  # fmt: skip
    devices = _names(device)
    timing = TimingOptions(
        devices, threads, allocator, time_budget, dtype, memory_format, compiled=compile, store=store, why=why
    )
    request = Request(
        spec, _given(parameters), catalogue(blocks), baseline, timing, count, time, reuse=reuse, roofline=roofline
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
    spec = make_spec(
        in_channels, out_channels, kernel_size, height=height, width=width, batch=batch, stride=stride,
        dilation=dilation, padding=padding, bias=bias,
    )  # fmt: skip
    from convcost.comparison.explanation import explain_row

    return explain_row(predict(Request(spec, _given(parameters), (block,), baseline)).rows[0])


def _given(parameters: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: plain(value) for name, value in parameters.items() if value is not None}


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
    from convcost.nn.count.model_report import report

    inputs = (inputs,) if hasattr(inputs, "shape") else inputs  # a single tensor is one input, not a batch of them
    return report(model, inputs, kwargs, device=device, cross_check=cross_check)


def check(  # noqa: PLR0913 - the options of the command, one by one
    config: Path | str | None = None,
    *,
    only: str | Sequence[str] = (),
    base: str | None = None,
    strict: bool = False,
    update: bool = False,
    time_budget: float = 8.0,
    store: bool = True,
) -> CheckResult:
    """Check the budgets of a configuration, as `convcost check` does.

    Args:
        config: the file; None for the nearest convcost.toml, else the nearest [tool.convcost].
        only: name of a budget, or names; all by default.
        base: a git revision that is the baseline in place of convcost.lock.
        strict: what could not be decided, and an improvement that the lock does not know, fail.
        update: write convcost.lock, where a figure moved.
        time_budget: seconds for the timing of each budget that limits latency.
        store: keep these timings in the history (`convcost.history`).

    Returns:
        The verdicts, with `.passed`, `.to_dict()`, `.to_frame()` and a notebook view.

    Raises:
        ConvcostError: no configuration, or one with mistakes, each with line and column; no such budget or revision;
            both base and update.
    """
    from convcost.budgets.config_files import load_configuration
    from convcost.workflows.check import CheckOptions, check_configuration, choose_budgets

    options = CheckOptions(base, strict, update, time_budget, store=store)
    configuration = choose_budgets(load_configuration(None if config is None else Path(config)), _names(only))
    return check_configuration(configuration, options)[0]


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
        command: check, compare, kernel or model.
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
    from convcost.archive.filters import Filters
    from convcost.archive.listing import list_history

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
    from convcost.nn.count.operator_formulas import register as remember

    return remember(op)


def separate(kernel: object) -> Factors:
    """The column and the row whose outer product is the kernel, or comes closest to it in the Frobenius norm.

    Needs NumPy only.

    Args:
        kernel: (k_h, k_w) integers of any size, Fractions or floats, not 1×1 and at most 127 a side: an array or
            nested sequences.

    Returns:
        column (k_h), row (k_w) and the error ‖kernel - column × row‖ / ‖kernel‖, which is 0.0 for a kernel that is
        separable exactly. Whole numbers come as int64 where it holds them, anything else as float64. A kernel of floats
        is separable up to the rounding of its dtype: its error is near 1e-16 in float64, 1e-8 in float32, 1e-4 in
        float16. The error of the best pair is that of Eckart, Young 1936.

    Raises:
        ConvcostError: ragged rows, an empty matrix, 1×1, more than 127 a side, an entry that is no finite number.

    >>> import convcost
    >>> column, row, error = convcost.separate([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    >>> column, row, error
    (array([1, 2, 1]), array([ 1,  0, -1]), 0.0)
    >>> round(convcost.separate([[0, 1, 0], [1, -4, 1], [0, 1, 0]]).error, 3)  # (√6 - 2) / √20
    0.101
    """
    from convcost.kernels.separability import best_factors

    return best_factors(kernel)
