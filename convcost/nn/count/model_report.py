"""The report of a module's forward pass, traced on meta tensors without weights or arithmetic."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from operator import is_not
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import torch

from convcost.models.report import COUNT_DEVICES, INTERRUPTED, NOT_REQUESTED, CrossCheck, ModelReport, Totals
from convcost.nn.count.counted_call import (
    Arguments,
    PlacedCall,
    call_of,
    kind_without_meta,
    leaves_of,
    mapped,
    module_of,
)
from convcost.nn.count.cpu_trial import ForwardError, is_compiled, is_small, require_values, runs_on_cpu, with_values
from convcost.nn.count.forward_pass import ready, recorded, require_no_other_threads, run_again, same_conditions
from convcost.nn.count.isolation import run_isolated, same_random_numbers
from convcost.nn.count.outer_observers import unobserved
from convcost.nn.count.recorded_report import report_of
from convcost.nn.count.recount import (
    METRICS,
    RECOUNT_SECONDS,
    SEED,
    attributes_of,
    doubts_between,
    random_like,
    too_large,
)
from convcost.nn.count.shown_device import doubts_of_device
from convcost.nn.count.tensors import tensor_text
from convcost.nn.load.meta_device import is_fake, knows_flex_attention, require_memory
from convcost.nn.load.user_code import own_fault
from convcost.system.processor import collection_paused
from convcost.system.signals import InterruptsPostponed
from convcost.system.threads import quiet
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import nn

    from convcost.nn.count.trace import Recorder
    from convcost.nn.count.unused_results import Operation

    _Check: TypeAlias = Callable[[], dict[str, CrossCheck]]


def report(
    model: nn.Module | Callable[..., Any],
    inputs: object,
    kwargs: Mapping[str, Any] | None = None,
    *,
    device: str = "meta",
    cross_check: bool = False,
) -> ModelReport:
    """The last of `reports`, with the same arguments."""
    paused = collection_paused() if device == "meta" and not cross_check else nullcontext()
    with InterruptsPostponed(), paused:  # until the rows are gone too, none of which is garbage
        *_, last = reports(model, inputs, kwargs, device=device, cross_check=cross_check)
    return last


def reports(  # noqa: PLR0913 - the arguments of `convcost.count`, and how the model is loaded anew
    model: nn.Module | Callable[..., Any],
    inputs: object,
    kwargs: Mapping[str, Any] | None = None,
    *,
    device: str = "meta",
    cross_check: bool = False,
    load_real: Callable[[], nn.Module] | None = None,
    recount: bool = False,
) -> Iterator[ModelReport]:
    """Count a module's forward pass, and then, if requested, run torch's FlopCounterMode and fvcore too.

    Args:
        model: Any module, which is left exactly as it was, or a function.
        inputs: Positional arguments, real or meta tensors; or a single tensor.
        kwargs: Keyword arguments.
        device: "meta" allocates nothing; "cpu" runs the model, for one that depends on the values of its tensors;
            "auto" is meta, and the CPU for such a model.
        cross_check: Whether to run the other counters; before they have run, they count as interrupted.
        load_real: Loads the model on the CPU, where `model` is made for the meta device.
        recount: Whether to count a second call, and once more on the CPU with other inputs, and to report doubts.

    Raises:
        ConvcostError: The module refuses its input, or needs the values of a tensor; the message says where.
    """
    if device not in COUNT_DEVICES:
        raise ConvcostError(f"device (={device}) must be auto, meta or cpu.")
    before = dict.fromkeys(("fvcore", "torch"), INTERRUPTED if cross_check else NOT_REQUESTED)
    with _own_run():
        module, call = module_of(model), call_of(inputs, kwargs)
        try:
            counted, check = _on_device(module, call, device, load_real, twice=recount)
        except _InterruptedCount as interrupt:
            yield replace(interrupt.report, cross_check=before)
            raise
        if recount:
            counted = _recounted(counted, load_real or (lambda: module), call)
    yield replace(counted, cross_check=before)
    if cross_check:
        with _own_run():
            checks = check()
        yield replace(counted, cross_check=checks)


class _InterruptedCount(KeyboardInterrupt):
    """Ctrl-C in a forward pass.

    Attributes:
        report: Report of what ran before.
    """

    def __init__(self, counted: ModelReport) -> None:
        super().__init__()
        doubt = "the forward pass was interrupted: what it had not run yet is not counted"
        self.report = replace(counted, doubts={**dict.fromkeys(METRICS, doubt), **counted.doubts})


@contextmanager
def _own_run() -> Iterator[None]:
    """Report what is raised as a fault of convcost, unless it is a ConvcostError; what runs around sees nothing."""
    try:
        with unobserved():
            yield
    except ConvcostError:
        raise
    except Exception as error:
        raise own_fault(error) from error


def _on_device(
    model: nn.Module, call: Arguments, device: str, load_real: Callable[[], nn.Module] | None, *, twice: bool
) -> tuple[ModelReport, _Check]:
    """The report of a device; for auto, and for compiled parts, that of the CPU if the model does not run on meta."""
    special = next((kind for leaf in leaves_of(call) if (kind := kind_without_meta(leaf))), None)
    if device == "cpu":
        require_values(model)
        counted, check, _ = _counted(with_values(model), with_zeros(call), "cpu", twice=twice)
        return counted, check

    def on_cpu(note: str = "") -> tuple[ModelReport, _Check]:
        real = with_values(model if load_real is None else load_real())
        counted, check, _ = _counted(real, with_zeros(call), "cpu", twice=twice)
        return replace(counted, notes=(*counted.notes, note)), check

    if special is not None:
        return on_cpu(f"{special} inputs do {_NOT_ON_META}")
    try:
        counted, check, recorder = _counted_on_meta(model, call, twice=twice)
    except ForwardError as error:
        failure = error
    else:
        doubts, is_decided = doubts_of_device(
            counted, recorder, partial(_shown_cpu, model, call), lambda: on_cpu()[0], partial(is_small, model, call)
        )
        if is_decided and doubts and device == "auto":
            return on_cpu("forward goes another way on meta tensors: the model was run once on the CPU to be counted.")
        return replace(counted, doubts={**doubts, **counted.doubts}), check
    if is_compiled(model):
        return on_cpu(f"a scripted or quantised part does {_NOT_ON_META}")
    if not runs_on_cpu(on_cpu, failure, small=is_small(model, call)):
        raise failure
    if device == "meta":
        raise failure.needs_values() from failure
    return on_cpu(f"{failure.need[0]}: the model was run once on the CPU to be counted.")


_NOT_ON_META: Final = "not run on meta tensors: the model was run once on the CPU."


def with_zeros(call: Arguments) -> Arguments:
    """The inputs with zeros in place of meta tensors and fake ones."""

    def has_no_values(value: Any) -> bool:
        return isinstance(value, torch.Tensor) and (value.device.type == "meta" or is_fake(value))

    def placed(value: Any) -> Any:
        return torch.zeros(value.shape, dtype=value.dtype) if has_no_values(value) else value

    require_memory(sum(leaf.numel() * leaf.itemsize for leaf in filter(has_no_values, leaves_of(call))))
    made: Arguments = mapped(placed, call)
    return made


def _recounted(counted: ModelReport, load: Callable[[], nn.Module], call: Arguments) -> ModelReport:
    """The report, with doubts where another count on the CPU differs, whose inputs are random.

    Values that were read are a doubt where there is no such count.
    """

    def differences() -> dict[str, str]:
        with same_random_numbers():
            torch.manual_seed(SEED)
            anew, *_ = _counted(with_values(load()), mapped(random_like, call), "cpu")
        return doubts_between(counted, anew, "on the CPU with random inputs")

    from convcost.system.child_process import ProcessEndedError
    from convcost.system.terminal import show_progress

    reason = too_large(counted.totals)
    if reason is None:
        show_progress("counting once more on the CPU, with other inputs ...")
        try:
            doubts = run_isolated(differences, RECOUNT_SECONDS)
        except ProcessEndedError as error:
            reason = f"the process {error}"
        except ConvcostError as error:
            reason = str(error).rstrip(".")
        else:
            return replace(counted, doubts={**counted.doubts, **doubts})
    if not counted.values_read:
        return replace(counted, notes=(*counted.notes, f"not counted once more on the CPU: {reason}."))
    doubt = f"the forward pass reads values of tensors, and could not be counted with others: {reason}"
    return replace(counted, doubts={**dict.fromkeys(METRICS, doubt), **counted.doubts})


def _counted_on_meta(model: nn.Module, call: Arguments, *, twice: bool) -> tuple[ModelReport, _Check, Recorder]:
    """What `_counted` returns; once more where forward imported flex attention, which refuses meta tensors at first."""
    knew_it = knows_flex_attention()
    try:
        return _counted(model, call, "meta", twice=twice)
    except ForwardError:
        if knew_it or not knows_flex_attention():
            raise
        return _counted(model, call, "meta", twice=twice)


def _shown_cpu(model: nn.Module, inputs: Arguments) -> ModelReport:
    """The count on meta tensors that give their device as the CPU."""
    placed = PlacedCall(inputs, "meta")
    with (
        ready(model, "meta", placed.placement) as parts,
        recorded(model, parts, placed.arguments, "meta", shows_cpu=True) as recorder,
    ):
        return report_of(recorder, model, _input_texts(*inputs), "meta")


def _counted(
    model: nn.Module, inputs: Arguments, device: str, *, twice: bool = False
) -> tuple[ModelReport, _Check, Recorder]:
    """The count, with doubts where a second call counts otherwise, a function for the other counters, and the record.

    The second call is made where `twice` says so, or on the meta device after a first one that changed the model.
    """
    placed = PlacedCall(inputs, device)
    with ready(model, device, placed.placement) as parts:
        before = attributes_of(parts.values())
        started = perf_counter()
        with recorded(model, parts, placed.arguments, device) as recorder:
            seconds = perf_counter() - started
            counted = report_of(recorder, model, _input_texts(*inputs), device)
            if recorder.is_interrupted:
                raise _InterruptedCount(counted)
            after = attributes_of(parts.values())
            changed = len(before) != len(after) or any(map(is_not, before, after))
            if twice or (changed and device == "meta"):
                doubts = _doubts_of_second_call(counted, model, parts, placed.arguments)
                counted = replace(counted, doubts={**doubts, **counted.doubts})
    if recorder.suspicion is not None:
        require_no_other_threads(recorder.suspicion, partial(run_again, model, placed, device), seconds)
    return counted, partial(_cross_checked, model, placed, recorder, counted.totals), recorder


def _cross_checked(model: nn.Module, inputs: PlacedCall, recorder: Recorder, totals: Totals) -> dict[str, CrossCheck]:
    """The results of the other counters.

    Args:
        model: Counted module.
        inputs: Inputs of the model.
        recorder: Record of the count.
        totals: Totals of the count.
    """
    from convcost.nn.count.cross_check import Observed, check_with_fvcore, check_with_torch
    from convcost.nn.count.unused_results import operations_of

    device = str(recorder.device)
    anew = partial(ready, model, device, inputs.placement)

    def observe() -> tuple[list[Operation], frozenset[int]]:
        with (
            InterruptsPostponed(),
            quiet(),
            recorder.kept.restored(),
            anew(),
            torch.device(device),
        ):
            return operations_of(model, *inputs.arguments)

    observed = Observed(observe)
    with InterruptsPostponed(), quiet(), recorder.kept.restored(), anew():
        by_torch = check_with_torch(model, inputs.arguments, recorder.rows, device)
    with InterruptsPostponed(), quiet(), same_conditions():
        by_fvcore = check_with_fvcore(model, inputs.given, recorder.rows, totals, observed)
    return {"fvcore": by_fvcore, "torch": by_torch}


def _doubts_of_second_call(
    counted: ModelReport, model: nn.Module, parts: Mapping[str, nn.Module], placed: Arguments
) -> dict[str, str]:
    device = str(counted.conditions["device"])
    try:
        with recorded(model, parts, placed, device) as recorder:
            again = report_of(recorder, model, counted.inputs, device)
    except ConvcostError as error:
        return dict.fromkeys(METRICS, f"a second call of the model fails: {str(error).rstrip('.')}")
    return doubts_between(counted, again, "in a second call")


def _input_texts(inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    def text(value: object) -> str:
        return tensor_text(value) if isinstance(value, torch.Tensor) else type(value).__name__

    return (*map(text, inputs), *(f"{name}={text(value)}" for name, value in kwargs.items()))
