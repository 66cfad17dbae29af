"""The public functions; torch is imported when a function that needs it is called."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from contextlib import nullcontext
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload

from convcost.text.columns import choose_columns
from convcost.text.errors import ConvcostError, did_you_mean
from convcost.text.sizes import pair, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor, nn

    from convcost.archive.listing import History
    from convcost.budgets.result import CheckResult
    from convcost.changes.diff import DiffReport
    from convcost.changes.replace_report import ReplaceReport
    from convcost.comparison.explanation import Explanation, Explanations
    from convcost.comparison.result import Comparison
    from convcost.convolution.spec import Value
    from convcost.grids.plan import Plan
    from convcost.grids.result import GridResult
    from convcost.kernels.separability import Factors
    from convcost.models.report import ModelReport
    from convcost.models.sweep import Sweep
    from convcost.workflows.compare import Watch


__all__ = [
    "check",
    "compare",
    "count",
    "count_many",
    "diff",
    "explain",
    "history",
    "register",
    "replace",
    "separate",
    "sweep",
]

P = ParamSpec("P")
R = TypeVar("R")


def _with_short_names(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function accept the short names of its arguments too: `compare(c=3, o=64, k=3)`."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        from convcost.convolution.blocks import PARAMETERS
        from convcost.convolution.spec import short_names

        long_names = {short: name for name, short in short_names().items()}
        named: dict[str, Any] = {long_names.get(name, name): value for name, value in kwargs.items()}
        if len(named) < len(kwargs):
            msg = "each argument is given once: a short name, such as c, and its long one exclude each other."
            raise TypeError(msg)
        arguments = signature(function).parameters.values()
        own = [one.name for one in arguments if one.kind is not one.VAR_KEYWORD]
        known = [*own, *PARAMETERS] if len(own) < len(arguments) else own
        for name in named:
            if name not in known:
                hint = did_you_mean(name, [*known, *long_names], f"see help(convcost.{function.__name__}).")
                raise TypeError(f"{function.__name__} has no argument {name}; {hint}")
        return function(*args, **named)

    return call


@_with_short_names
def compare(
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
    blocks: str | Sequence[str] | None = None,
    baseline: str = "standard",
    count: bool = True,
    time: bool = True,
    device: str | Sequence[str] = "auto",
    dtype: str | Sequence[str] = "float32",
    memory_format: str | Sequence[str] = "contiguous",
    threads: int | Literal["all"] | Sequence[int | Literal["all"]] = 1,
    compile: bool = False,  # noqa: A002 - the argument has the name of the command's option
    allocator: str = "pinned",
    time_budget: float = 8.0,
    why: bool = False,
    store: bool = True,
    reuse: bool = False,
    roofline: bool = False,
    sort: str | None = None,
    columns: str | Sequence[str] | None = None,
    watch: Watch | None = None,
    **parameters: Value | None,
) -> Comparison:
    """Compare blocks of the catalogue on one layer shape: predicted by the formula, counted in the real module, timed.

    The short names of the command line work too: `compare(c=3, o=64, k=3, h=112)`.

    Timing pins glibc's allocator for the rest of the process (`allocator="default"` leaves it alone) and sets torch's
    thread count only while it runs.

    Args:
        in_channels: C: input channels.
        out_channels: O: requested output channels.
        kernel_size: K: one size, or (height, width).
        height: Input height.
        width: Input width; the height by default.
        batch: N: batch size.
        stride: Stride, one or (vertical, horizontal).
        dilation: Dilation, one or (vertical, horizontal).
        padding: "same" (output ceil(input / stride), as TensorFlow's SAME), "valid", or sizes.
        bias: Whether every stage has a bias.
        blocks: Name of a block, or names in the order of the rows, or "all"; None for the six default blocks.
        baseline: Name of the block that ratios and speed-ups are relative to.
        count: Whether to cross-check the formula with fvcore and torch's FlopCounterMode.
        time: Whether to time the real modules.
        device: Name of a device, "cpu", "cuda", "cuda:1", "mps" or "auto", or several names.
        dtype: Data type, "float32", "float64", "bfloat16" or "float16", or several.
        memory_format: Memory format, "contiguous" or "channels_last", or both.
        threads: Threads of torch on the CPU, or "all", or several of these. All conditions of a device are timed next
            to each other, and speed-ups are relative to the baseline under the same condition.
        compile: Whether to time modules compiled by torch.compile.
        allocator: "pinned" (keep freed memory, to avoid page faults) or "default" (leave the allocator alone).
        time_budget: Seconds for all timings together, including warm-up but not compiling.
        why: Whether to account for the time of each row and to look for changes that make it faster. It takes half a
            second more for each row, or about ten calls of a slow one, and leaves the allocator pinned.
        store: Whether to store the timings in the history (`convcost.history`).
        reuse: Whether to show a stored run with equal layers, conditions, machine and versions instead of measuring.
        roofline: Whether the printed text and the notebook view end with the rooflines; it requires a calibrated
            machine.
        sort: Name of a field, in whose ascending order the rows are; None for the order of conditions and blocks.
        columns: Fields in the printed table, a notebook and the frame, as "block,macs,speedup" or a list; by default
            those that fit, and in the frame all.
        watch: Function that is called with each partial result.
        **parameters: Parameters of single blocks, such as depth_multiplier (m) or groups; docs/blocks.md lists them.

    Returns:
        One row for each block and condition, with `.to_dict()`, `.to_frame()` and a notebook view.

    Raises:
        ConvcostError: An illegal value, a shape that allows no block, a missing device, or too little memory.

    >>> import convcost
    >>> row = convcost.compare(3, 64, 3, blocks=["depthwise-separable"], count=False, time=False).to_dict()["rows"][0]
    >>> row["macs"] == 224 * 224 * 3 * (64 + 3 * 3)
    True
    """
    from convcost.comparison.columns import COMPARE_COLUMNS
    from convcost.comparison.request import Request, catalogue, each_condition, make_spec
    from convcost.timing.conditions import TimingOptions
    from convcost.workflows.compare import fill, ignore

    spec = make_spec(
        in_channels, out_channels, kernel_size, height=height, width=width, batch=batch, stride=stride,
        dilation=dilation, padding=padding, bias=bias,
    )  # fmt: skip
    shared = TimingOptions(
        _names(device), allocator=allocator, time_budget=time_budget, compiled=compile, store=store, why=why
    )
    fields = choose_columns(COMPARE_COLUMNS, columns)
    numbers = (threads,) if isinstance(threads, (int, str)) else tuple(threads)
    timings = each_condition(shared, _names(dtype), _names(memory_format), numbers)
    request = Request(
        spec, _given(parameters), catalogue(None if blocks is None else _names(blocks)), baseline, timings, count, time,
        reuse=reuse, roofline=roofline, sort=sort,
    )  # fmt: skip
    return dataclasses.replace(fill(request, watch or ignore), columns=fields, has_rooflines=roofline)


@overload
def explain(
    block: str, in_channels: int, out_channels: int, kernel_size: int | tuple[int, int], *, height: int = ...,
    width: int | None = ..., batch: int = ..., stride: int | tuple[int, int] = ...,
    dilation: int | tuple[int, int] = ..., padding: int | tuple[int, int] | Literal["same", "valid"] = ...,
    bias: bool = ..., baseline: str = ..., **parameters: Value | None,
) -> Explanation: ...  # fmt: skip


@overload
def explain(
    block: list[str] | tuple[str, ...], in_channels: int, out_channels: int, kernel_size: int | tuple[int, int], *,
    height: int = ..., width: int | None = ..., batch: int = ..., stride: int | tuple[int, int] = ...,
    dilation: int | tuple[int, int] = ..., padding: int | tuple[int, int] | Literal["same", "valid"] = ...,
    bias: bool = ..., baseline: str = ..., **parameters: Value | None,
) -> Explanations: ...  # fmt: skip


@_with_short_names
def explain(
    block: str | list[str] | tuple[str, ...],
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
) -> Explanation | Explanations:
    """The derivation of the cost of a block or several, in symbols and with numbers.

    Args:
        block: Name of a block of the catalogue, or a list of names.
        in_channels: C: input channels.
        out_channels: O: requested output channels.
        kernel_size: K: one size, or (height, width).
        height: Input height.
        width: Input width; the height by default.
        batch: N: batch size.
        stride: Stride, one or (vertical, horizontal).
        dilation: Dilation, one or (vertical, horizontal).
        padding: "same", "valid", or sizes.
        bias: Whether every stage has a bias.
        baseline: Name of the block that the ratio is relative to.
        **parameters: Parameters of single blocks, as in `compare`.

    Returns:
        One derivation for a name, or those of a list in `.blocks`; both with `.text()`, `.markdown()`, `.latex()`,
        `.to_dict()`, `.to_frame()` and a notebook view.

    Raises:
        ConvcostError: An illegal value, or a shape that no such block allows.

    >>> import convcost
    >>> print(convcost.explain("depthwise-separable", 3, 64, 3).ratio_symbols)
    m·(1/O + 1/K²)
    >>> print(convcost.explain("depthwise-separable", 3, 64, 3).total.macs.symbols)
    N·H·W·C·m·(K² + O)
    """
    from convcost.comparison.explanation import explain_blocks
    from convcost.comparison.request import Request, catalogue, make_spec

    spec = make_spec(
        in_channels, out_channels, kernel_size, height=height, width=width, batch=batch, stride=stride,
        dilation=dilation, padding=padding, bias=bias,
    )  # fmt: skip
    result = explain_blocks(Request(spec, _given(parameters), catalogue(_names(block)), baseline))
    return dataclasses.replace(result.blocks[0], notes=result.notes) if isinstance(block, str) else result


def _given(parameters: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: plain(value) for name, value in parameters.items() if value is not None}


def count(
    model: nn.Module | Callable[..., Any],
    inputs: Sequence[Any] | Tensor,
    kwargs: Mapping[str, Any] | None = None,
    *,
    device: str = "meta",
    cross_check: bool = False,
    claims: str | Sequence[str] = (),
    columns: str | Sequence[str] | None = None,
) -> ModelReport:
    """Count a torch module's forward pass, layer by layer, and say what was not counted.

    The module is left as it was: forward may change tensors, attributes, and the lists and dicts in these, but what it
    does to objects of other classes stays. Nothing is allocated and nothing computed unless `device` is "cpu".

    Args:
        model: Module or function to count.
        inputs: Positional arguments of the model, real or meta tensors; a single tensor is one input.
        kwargs: Keyword arguments of the model.
        device: "meta"; "cpu" for a model that looks at the values of its tensors; or "auto", which is meta, and the CPU
            for such a model, with a note.
        cross_check: Whether to cross-check with torch's FlopCounterMode and fvcore.
        claims: Published numbers of operations, such as "4.5G"; `.claims` and the text say which convention of counting
            gives each: MACs or FLOPs, with or without bias, normalisation, activations and pooling, what other counters
            print, or another input size.
        columns: Fields in the printed table, a notebook and the frame, as "name,macs,macs_share" or a list; by default
            those that fit, and in the frame all.

    Returns:
        Rows and totals, with `.to_dict()`, `.to_frame()`, `.to_latex()` and a notebook view.

    Raises:
        ConvcostError: The module refuses its input, or needs the values of a tensor; the message says where. Or a claim
            that is no number.
    """
    from convcost.system.processor import collection_paused
    from convcost.system.signals import InterruptsPostponed

    paused = collection_paused() if device == "meta" and not cross_check else nullcontext()
    with InterruptsPostponed(), paused:  # or the imports may set off the collection of what torch's imports left
        from convcost.models.columns import MODEL_COLUMNS
        from convcost.nn.count.model_report import report

        fields = choose_columns(MODEL_COLUMNS, columns)
        counted = report(model, inputs, kwargs, device=device, cross_check=cross_check)
    counted = dataclasses.replace(counted, columns=fields)
    if not claims:
        return counted
    from convcost.workflows.claims import answer_for_module

    return answer_for_module(counted, model, _names(claims))


def count_many(
    factory: Callable[..., nn.Module],
    configurations: Iterable[Mapping[str, Any]],
    inputs: Sequence[Any] | Tensor,
    *,
    device: str = "auto",
) -> Sweep:
    """Count a model in many configurations, in one process.

    A configuration that cannot be counted has the reason in its row. An interrupt keeps the rows so far.

    Args:
        factory: Function or class that returns the module.
        configurations: Keyword arguments of the factory, one mapping for each configuration.
        inputs: The module's positional arguments, real or meta tensors; or a single tensor.
        device: As for `count`.

    Returns:
        A row for each configuration, with its arguments, parameters, MACs, traffic and peak memory, as `.to_frame()`
        and `.to_dict()`; `.reports` has the layers.
    """
    from convcost.workflows.count_many import count_configurations

    return count_configurations(factory, configurations, inputs, device=device)


@_with_short_names
def replace(
    model: nn.Module,
    inputs: Sequence[Any] | Tensor,
    kwargs: Mapping[str, Any] | None = None,
    *,
    to: str | Sequence[str],
    origin: str = "standard",
    only: str | None = None,
    skip: str | None = None,
    min_kernel: int = 2,
    min_saving: float | None = None,
    between: bool = True,
    keep_weights: bool = False,
    energy: float | None = None,
    max_error: float | None = None,
    device: str = "auto",
    cross_check: bool = False,
    time: bool = False,
    time_device: str = "auto",
    threads: int | Literal["all"] = 1,
    allocator: str = "pinned",
    time_budget: float = 8.0,
    why: bool = False,
    pareto: bool = False,
    max_params: int | str | None = None,
    max_macs: int | str | None = None,
    columns: str | Sequence[str] | None = None,
    **parameters: Value | None,
) -> tuple[nn.Module, ReplaceReport]:
    """Replace the convolutions of a copy of a module by a block of the catalogue, and count what that saves.

    The module itself stays as it is. The stages of a block keep stride, padding, dilation, bias, dtype, device, memory
    format, mode and `requires_grad` of the convolution; their weights are torch's default initialisation, from torch's
    random state, which stays as it is too: `torch.manual_seed` decides the weights. Between the stages stand the batch
    normalisation and the activation that follow the convolution in the module, as in MobileNets.

    A layer that reads the image, with at most 4 channels and less than 1 % of the MACs, is replaced only if `only`
    matches it, as in the networks that the blocks come from.

    Args:
        model: Module whose convolutions are replaced.
        inputs: Positional arguments of the model, real or meta tensors; a single tensor is one input.
        kwargs: Keyword arguments of the model.
        to: Name of a block, or names in order of preference: a layer gets the first that keeps its output shape.
        origin: Kind of convolution that is replaced: "standard", "grouped", "depthwise" or "pointwise".
        only: Regular expression that must match (as `re.search`) the path of a replaced layer.
        skip: Regular expression that must not match it.
        min_kernel: Smallest kernel, on its longer side, that is replaced.
        min_saving: Smallest share of a layer's MACs that a block must save, such as 0.2; None if it may even add some.
        between: Whether the normalisation and activation stand between the stages of a block too.
        keep_weights: Whether the weights are factorised instead of made anew, for blocks that are products of stages:
            low-rank, tucker-2, spatially-separable, depthwise-separable, shared-kernel-separable and blueprint. Nothing
            stands between their stages then. Argument `rank` sets one rank for all layers; by default each has the
            smallest that keeps an `energy` of 0.99, and stays as it is where that saves no MACs.
        energy: Smallest share of the sum of squared singular values that each layer keeps.
        max_error: Largest relative error of each layer's weights, such as 0.05, in place of `energy`.
        device: Device of the count, as for `count`.
        cross_check: Whether to cross-check the altered module with torch's FlopCounterMode and fvcore.
        time: Whether to time copies of both modules next to each other, and each layer beside its block.
        time_device: Name of the device to time on.
        threads: Threads of torch on the CPU, or "all".
        allocator: "pinned" or "default", as in `compare`.
        time_budget: Seconds for all timings together.
        why: Whether to account for the times of the layers and of the stages of their blocks.
        pareto: Whether to look for the fastest set of replacements, from the time of each layer and block alone.
        max_params: Limit on the parameters of the fastest set, as 4_300_000 or "4.3 M"; None for any.
        max_macs: Limit on its multiply-accumulates; None for any.
        columns: Fields in the printed table, a notebook and the frame, as "name,macs_before,macs_after" or a list.
        **parameters: Parameters of single blocks, as in `compare`.

    Returns:
        The altered copy, and a row for each convolution: the block in its place, or the reason why it stays as it is;
        with `.before` and `.after` (as of `count`), `.to_dict()`, `.to_frame()` and a notebook view.

    Raises:
        ConvcostError: An illegal rule, no layer that may be replaced, or a module that cannot be counted or copied.

    >>> import convcost, torch
    >>> conv = torch.nn.Sequential(torch.nn.Conv2d(8, 16, 3, padding=1, bias=False))
    >>> new, result = convcost.replace(conv, torch.zeros(1, 8, 5, 5), to="depthwise-separable")
    >>> result.after.totals.params == 8 * 3 * 3 + 8 * 16
    True
    """
    from convcost.changes.pareto import parse_limits
    from convcost.changes.rank_choice import rank_choice
    from convcost.changes.replace_columns import REPLACE_COLUMNS
    from convcost.changes.replacement import Rules
    from convcost.timing.conditions import TimingOptions
    from convcost.workflows.replace import replace_layers
    from convcost.workflows.replacement_timing import ReplacementTiming, time_copies

    fields = choose_columns(REPLACE_COLUMNS, columns)
    keep, given = rank_choice(_given(parameters), keep_weights=keep_weights, energy=energy, max_error=max_error)
    rules = Rules(_names(to), origin, only, skip, min_kernel, min_saving, between, given, keep)
    limits = parse_limits(max_params, max_macs, pareto=pareto)
    for name, wanted in (("why", why), ("pareto", pareto)):
        if wanted and not time:
            raise ConvcostError(f"{name} must have times to work with; turn time on.")
    options = TimingOptions((time_device,), threads, allocator, time_budget, why=why)
    *_, (altered, result) = replace_layers(model, inputs, kwargs, rules, device=device, cross_check=cross_check)
    if time:
        timing = ReplacementTiming(options, limits, lambda _: None)
        *_, result = time_copies((result, altered), (model, inputs, kwargs), rules, timing)
    return altered.model, dataclasses.replace(result, columns=fields)


def diff(
    a: nn.Module | Callable[..., Any],
    b: nn.Module | Callable[..., Any],
    inputs: Sequence[Any] | Tensor,
    kwargs: Mapping[str, Any] | None = None,
    *,
    device: str = "auto",
    cross_check: bool = False,
    time: bool = False,
    time_device: str = "auto",
    threads: int | Literal["all"] = 1,
    allocator: str = "pinned",
    time_budget: float = 8.0,
    why: bool = False,
    every: bool = False,
    sort: str | None = None,
    top: int | None = None,
    columns: str | Sequence[str] | None = None,
) -> DiffReport:
    """Compare two modules layer by layer on the same input: what differs, and what that costs.

    Layers are aligned by name, then by what they are and their order. The differences of the layers add up to those of
    the totals; parameters that no call uses are a row of their own. Both modules stay as they are.

    Args:
        a: First module or function.
        b: Second module or function; differences are what it has more than the first.
        inputs: Positional arguments of both, real or meta tensors; a single tensor is one input.
        kwargs: Keyword arguments of both.
        device: Device of the count, as for `count`.
        cross_check: Whether to cross-check both totals with torch's FlopCounterMode and fvcore.
        time: Whether to time copies of both, next to each other, and each layer that differs alone.
        time_device: Name of the device to time on.
        threads: Threads of torch on the CPU, a number or "all".
        allocator: "pinned", to avoid page faults, or "default".
        time_budget: Seconds for all timings together, warm-up included.
        why: Whether to account for the times of the convolutions that differ.
        every: Whether the printed table, a notebook and the frame have the layers that are the same too.
        sort: Their order, the largest difference first: "macs", "params", "traffic" or "time"; by default that of the
            forward pass.
        top: Their maximum number of rows.
        columns: Their fields, as "change,name_b,macs_delta" or a list; by default those that fit, in the frame all.

    Returns:
        All layers as `.layers`, the difference of each total as `.delta`, the counts as `.a` and `.b` (as of `count`),
        with `.to_dict()`, `.to_frame()` and a notebook view.

    Raises:
        ConvcostError: As `count`, or an illegal option.

    >>> import convcost, torch
    >>> before, after = (torch.nn.Sequential(torch.nn.Conv2d(8, 16, k, bias=False)) for k in (3, 5))
    >>> result = convcost.diff(before, after, torch.zeros(1, 8, 9, 9))
    >>> [row.what for row in result.rows], result.delta["params"] == 8 * 16 * (25 - 9)
    (['kernel 3x3 → 5x5'], True)
    """
    from convcost.changes.columns import DIFF_COLUMNS
    from convcost.models.report import require_arrangement
    from convcost.timing.conditions import TimingOptions
    from convcost.workflows.diff import DiffOptions, diff_modules

    fields = choose_columns(DIFF_COLUMNS, columns)
    require_arrangement(None, sort, top, timed=time)
    if why and not time:
        raise ConvcostError("why must have times to account for; turn time on.")
    timing = TimingOptions((time_device,), threads, allocator, time_budget, why=why) if time else None
    result = diff_modules(a, b, inputs, kwargs, DiffOptions((), cross_check, device, timing))
    return dataclasses.replace(result.arranged(every=every, sort=sort, top=top), columns=fields)


def check(
    config: Path | str | None = None,
    *,
    only: str | Sequence[str] = (),
    base: str | None = None,
    strict: bool = False,
    update: bool = False,
    time_budget: float = 8.0,
    store: bool = True,
    device: str | None = None,
    columns: str | Sequence[str] | None = None,
) -> CheckResult:
    """Check the budgets of a configuration, as `convcost check` does, each in a process of its own.

    Args:
        config: Path of the configuration; None for the nearest convcost.toml, else the nearest [tool.convcost].
        only: Names of the budgets to check; all by default.
        base: Git revision to compare with; None for convcost.lock.
        strict: Whether undecided limits, and improvements that are not in the lock, fail; each model is then counted
            once more, on the CPU with random inputs.
        update: Whether to write the current figures to convcost.lock.
        time_budget: Seconds for the timing of each budget that limits latency.
        store: Whether to store the timings in the history (`convcost.history`).
        device: Device to count on, in place of the budgets' own: "meta", "cpu", or "auto", which is meta, and the CPU
            for models that depend on the values of their tensors.
        columns: Fields in the printed table, a notebook and the frame, as "budget,metric,actual" or a list; by default
            those that fit, and in the frame all.

    Returns:
        The verdicts, with `.passed`, `.to_dict()`, `.to_frame()` and a notebook view.

    Raises:
        ConvcostError: No configuration, or one with mistakes, each with line and column; an unknown budget or revision;
            or both `base` and `update`.
    """
    from convcost.budgets.columns import CHECK_COLUMNS
    from convcost.budgets.config_files import load_configuration
    from convcost.workflows.check import CheckOptions, check_configuration, choose_budgets

    fields = choose_columns(CHECK_COLUMNS, columns)
    options = CheckOptions(base, strict, update, time_budget, store=store, device=device)
    configuration = choose_budgets(load_configuration(None if config is None else Path(config)), _names(only))
    return dataclasses.replace(check_configuration(configuration, options)[0], columns=fields)


@_with_short_names
def history(
    *,
    block: str | Sequence[str] = (),
    target: str | Sequence[str] = (),
    name: str | Sequence[str] = (),
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
    columns: str | Sequence[str] | None = None,
) -> History:
    """The stored timings, newest first; all filters that are set must hold.

    Args:
        block: Names of blocks; any of them may match.
        target: Targets of models; any of them may match.
        name: Names of layers, kernels or blocks; any of them may match, and "forward" matches whole models.
        command: "check", "compare", "kernel" or "model".
        device: Names of devices; any of them may match, and "cuda" matches all of its devices.
        dtype: Data type of the elements.
        memory_format: "contiguous" or "channels_last".
        threads: Threads of torch.
        in_channels: C: requested input channels.
        out_channels: O: requested output channels.
        kernel_size: K: requested kernel size.
        since: Oldest date, such as 2026-07-01 or 2026-07-01T12:30, or age, such as 12h or 7d.
        until: Newest date or age, in the same form.
        limit: Maximum number of rows; None for all.
        columns: Fields in the printed table, a notebook and the frame, as "name,time_s,speedup" or a list; by default
            those that fit, and in the frame all.

    Returns:
        One row for each timed layer, with `.to_dict()`, `.to_frame()` and a notebook view.

    Raises:
        ConvcostError: A filter that no row could match, or a database that cannot be read.
    """
    from convcost.archive.filters import Filters
    from convcost.archive.listing import HISTORY_COLUMNS, list_history

    size = None if kernel_size is None else pair(kernel_size)
    filters = Filters(
        _names(block), _names(target), _names(name), command, _names(device), dtype, memory_format, threads,
        in_channels, out_channels, size, since, until,
    )  # fmt: skip
    fields = choose_columns(HISTORY_COLUMNS, columns)
    return dataclasses.replace(list_history(filters, limit), columns=fields)


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)


def register(op: Any) -> Callable[[Callable[..., int]], Callable[..., int]]:  # noqa: ANN401 - torch's operators have no public type
    """Give a custom operator a formula: a decorator for a function of its arguments and `out` that returns MACs.

    `out` is the operator's result, or its own argument of that name. The MACs are a whole number of at least 0.
    Anything else, and whatever the function raises, is a ConvcostError when a model that runs the operator is counted.

    Args:
        op: Operator such as `torch.ops.mylib.myop`.

    Raises:
        ConvcostError: `op` is no operator, or has a formula already; or the formula is no function.
    """
    from convcost.nn.count.operators import register as remember

    return remember(op)


def separate(kernel: object) -> Factors:
    """The column and the row whose outer product is the kernel, or comes closest to it in the Frobenius norm.

    Needs NumPy only.

    Args:
        kernel: Array or nested sequences of shape (k_h, k_w), not 1×1 and at most 127 on a side, with integers of any
            size, Fractions or floats.

    Returns:
        The column (k_h), the row (k_w) and the error ‖kernel - column × row‖ / ‖kernel‖, which is 0.0 for a kernel that
        is separable exactly. Whole numbers that fit are int64, all others float64. A kernel of floats is separable up
        to the rounding of its dtype: its error is near 1e-16 in float64, 1e-8 in float32, 1e-4 in float16. No other
        pair has a smaller error (Eckart, Young 1936).

    Raises:
        ConvcostError: Rows of different lengths, an empty, 1×1 or too large matrix, or an entry that is not finite.

    >>> import convcost
    >>> column, row, error = convcost.separate([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    >>> column, row, error
    (array([1, 2, 1]), array([ 1,  0, -1]), 0.0)
    >>> round(convcost.separate([[0, 1, 0], [1, -4, 1], [0, 1, 0]]).error, 3)  # (√6 - 2) / √20
    0.101
    """
    from convcost.kernels.separability import best_factors

    return best_factors(kernel)


@overload
def sweep(
    source: Path | str | Mapping[str, object], out: Path | str | None = ..., *, pareto: str | Sequence[str] = ...,
    top: int | None = ..., sort: str | None = ..., group_by: str | Sequence[str] = ..., dry_run: Literal[False] = ...,
    time: bool = ..., device: str = ..., threads: int | Literal["all"] = ..., memory_format: str = ...,
    allocator: str = ..., time_budget: float = ..., store: bool = ...,
    workers: int | None = ..., scheduler: str | None = ...,
) -> GridResult: ...  # fmt: skip


@overload
def sweep(
    source: Path | str | Mapping[str, object], out: Path | str | None = ..., *, pareto: str | Sequence[str] = ...,
    top: int | None = ..., sort: str | None = ..., group_by: str | Sequence[str] = ..., dry_run: Literal[True],
    time: bool = ..., device: str = ..., threads: int | Literal["all"] = ..., memory_format: str = ...,
    allocator: str = ..., time_budget: float = ..., store: bool = ...,
    workers: int | None = ..., scheduler: str | None = ...,
) -> Plan: ...  # fmt: skip


def sweep(
    source: Path | str | Mapping[str, object],
    out: Path | str | None = None,
    *,
    pareto: str | Sequence[str] = (),
    top: int | None = None,
    sort: str | None = None,
    group_by: str | Sequence[str] = (),
    dry_run: bool = False,
    time: bool = False,
    device: str = "auto",
    threads: int | Literal["all"] = 1,
    memory_format: str = "contiguous",
    allocator: str = "pinned",
    time_budget: float = 60.0,
    store: bool = True,
    workers: int | None = None,
    scheduler: str | None = None,
) -> GridResult | Plan:
    """Predict a grid of layer shapes: every combination of sizes, parameters and blocks; or time it.

    With a folder, the rows are written to Parquet files there, each whole or not at all; the same call goes on where an
    earlier one stopped. The memory that it takes does not depend on the number of rows.

    Args:
        source: Path of a TOML file, or a mapping with its keys: axes, blocks, where, illegal, columns and baseline.
        out: Folder of the files; None for a sweep of at most 100,000 rows, or one of which little is kept.
        pareto: Columns, as "macs,params" or a list; only the rows that no other row beats in them are kept.
        top: Number of rows that are kept, the best ones of `sort`.
        sort: Column of `top`, as "macs_ratio"; smaller costs and larger ratios are better.
        group_by: Columns whose equal values make a group, of which each has its own best rows; without `pareto` and
            `top` the number of rows, and the least, mean and greatest of each column, are kept of it.
        dry_run: Whether to return only how many rows, how large and how long, and to write nothing.
        time: Whether to time the real layers, each next to its baseline, instead of predicting all rows. What does not
            fit into the time budget is left out: the rows are then a sample that fills the space of the grid. With
            `out` they are in `measured.parquet` there, and the same call goes on where an earlier one stopped.
        device: Device to time on: "cpu", "cuda", "cuda:1", "mps" or "auto".
        threads: Threads of torch on the CPU, a number or "all".
        memory_format: "contiguous" or "channels_last".
        allocator: "pinned" keeps freed memory, to avoid page faults; "default" is as in your own program.
        time_budget: Seconds for the whole sweep, all calls of a folder together.
        store: Whether to store the timings in the history (`convcost.history`).
        workers: Number of worker processes on this machine, with Dask; None to work in this process.
        scheduler: Address of the scheduler of a Dask cluster, as "tcp://10.0.0.1:8786", whose workers share the folder.

    Returns:
        What is kept, with `.to_frame()`, `.scan()` (a pyarrow dataset), `.to_dict()` and a notebook view.

    Raises:
        ConvcostError: A mistake in the source, with its line and column in a file; a folder that cannot be written, or
            that another sweep has; a cluster that cannot be reached; a missing device, or times of another machine or
            of other conditions in the folder.

    >>> import convcost
    >>> grid = {"axes": {"c": [8, 16], "o": [32], "k": [3], "h": [56]}, "blocks": ["standard"]}
    >>> convcost.sweep(grid).to_frame()["macs"].tolist() == [56 * 56 * 3 * 3 * 8 * 32, 56 * 56 * 3 * 3 * 16 * 32]
    True
    """
    from convcost.workflows.sweep import SweepOptions, column_names, configuration_of, folder_of, plan
    from convcost.workflows.sweep import sweep as run

    goals, groups = column_names("pareto", pareto), column_names("group_by", group_by)
    options = SweepOptions(folder_of(out), goals, plain(top), sort, groups, workers=plain(workers), scheduler=scheduler)
    configuration = configuration_of(source)
    if dry_run:
        return plan(configuration, options)
    if not time:
        return run(configuration, options)
    from convcost.timing.conditions import TimingOptions
    from convcost.workflows.sweep_timing import time_sweep

    clock = TimingOptions((device,), threads, allocator, time_budget, memory_format=memory_format, store=store)
    *_, timed = time_sweep(configuration, options, clock)
    return timed
