"""The report of a module's forward pass, traced on meta tensors without weights or arithmetic."""

from __future__ import annotations

import warnings
from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from operator import is_not
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import torch

from convcost.models.call import Call
from convcost.models.report import (
    COUNT_DEVICES,
    INTERRUPTED,
    NOT_REQUESTED,
    CrossCheck,
    ModelReport,
    Totals,
    Uncounted,
)
from convcost.nn.count.counted_call import call_of, kind_without_meta, leaves_of, mapped, module_of
from convcost.nn.count.cpu_trial import ForwardError, is_compiled, is_small, runs_on_cpu, with_values
from convcost.nn.count.isolation import (
    can_isolate,
    compiled_functions_run_as_they_are,
    run_isolated,
    same_random_numbers,
)
from convcost.nn.count.memory import numel, total_bytes
from convcost.nn.count.other_threads import Suspicion, ends_only_with_others
from convcost.nn.count.packed_weights import packed_weights
from convcost.nn.count.recount import (
    METRICS,
    RECOUNT_SECONDS,
    SEED,
    attributes_of,
    doubts_between,
    random_like,
    too_large,
)
from convcost.nn.count.tensors import dtype_text, shape_of, tensor_text, tensors_in
from convcost.nn.count.trace import Recorder
from convcost.nn.load.meta_device import (
    any_device_allowed,
    on_device,
    parts_of,
    require_memory,
    restored_after,
    switch_to_eval,
)
from convcost.nn.load.user_code import forward_failure, is_own_fault, own_fault, running_user_code, user_line
from convcost.system.child_process import ProcessEndedError
from convcost.system.processor import collection_paused
from convcost.system.streams import quiet_stdout
from convcost.system.terminal import show_progress
from convcost.text.errors import ConvcostError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from torch import nn

    from convcost.nn.count.row import Row
    from convcost.nn.count.unused_results import Operation

    _Call: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
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
    with _own_faults():
        module, call = module_of(model), call_of(inputs, kwargs)
        counted, check = _on_device(module, call, device, load_real, twice=recount)
        if recount:
            counted = _recounted(counted, load_real or (lambda: module), call)
    before = INTERRUPTED if cross_check else NOT_REQUESTED
    yield replace(counted, cross_check={"fvcore": before, "torch": before})
    if cross_check:
        with _own_faults():
            checks = check()
        yield replace(counted, cross_check=checks)


@contextmanager
def _own_faults() -> Iterator[None]:
    """Report what is raised as a fault of convcost, unless it is a ConvcostError."""
    try:
        yield
    except ConvcostError:
        raise
    except Exception as error:
        raise own_fault(error) from error


def _on_device(
    model: nn.Module, call: _Call, device: str, load_real: Callable[[], nn.Module] | None, *, twice: bool
) -> tuple[ModelReport, _Check]:
    """The report of a device; for auto, and for compiled parts, that of the CPU if the model does not run on meta."""
    special = next((kind for leaf in leaves_of(call) if (kind := kind_without_meta(leaf))), None)
    if device == "cpu":
        return _counted(model, _with_zeros(call), "cpu", twice=twice)

    def on_cpu(note: str = "") -> tuple[ModelReport, _Check]:
        real = with_values(model if load_real is None else load_real())
        counted, check = _counted(real, _with_zeros(call), "cpu", twice=twice)
        return replace(counted, notes=(*counted.notes, note)), check

    if special is not None:
        return on_cpu(f"{special} inputs do {_NOT_ON_META}")
    try:
        return _counted(model, call, "meta", twice=twice)
    except ForwardError as error:
        failure = error
    if is_compiled(model):
        return on_cpu(f"a scripted or quantised part does {_NOT_ON_META}")
    if not runs_on_cpu(on_cpu, failure, small=is_small(model, call)):
        raise failure
    if device == "meta":
        raise failure.needs_values() from failure
    return on_cpu(f"{failure.where} needs the values of a tensor: the model was run once on the CPU to be counted.")


_NOT_ON_META: Final = "not run on meta tensors: the model was run once on the CPU."


def _with_zeros(call: _Call) -> _Call:
    """The inputs with zeros in place of meta tensors."""

    def placed(value: Any) -> Any:
        is_meta = isinstance(value, torch.Tensor) and value.device.type == "meta"
        return torch.zeros(value.shape, dtype=value.dtype) if is_meta else value

    tensors = (leaf for leaf in leaves_of(call) if isinstance(leaf, torch.Tensor))
    require_memory(sum(leaf.numel() * leaf.itemsize for leaf in tensors if leaf.device.type == "meta"))
    made: _Call = mapped(placed, call)
    return made


def _recounted(counted: ModelReport, load: Callable[[], nn.Module], call: _Call) -> ModelReport:
    """The report, with doubts where another count on the CPU differs, whose inputs are random.

    Values that were read are a doubt where there is no such count.
    """

    def differences() -> dict[str, str]:
        with same_random_numbers():
            torch.manual_seed(SEED)
            anew, _ = _counted(with_values(load()), mapped(random_like, call), "cpu")
        return doubts_between(counted, anew, "on the CPU with random inputs")

    reason = too_large(counted.totals)
    if reason is None:
        show_progress("counting once more on the CPU, with other inputs ...")
        try:
            doubts = run_isolated(differences, RECOUNT_SECONDS, quiet=True)
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


def _counted(model: nn.Module, inputs: _Call, device: str, *, twice: bool = False) -> tuple[ModelReport, _Check]:
    """The count, with doubts where a second call counts otherwise, and a function that runs the other counters.

    The second call is made where `twice` says so, or on the meta device after a first one that changed the model.
    """
    placed = mapped(lambda value: on_device(value, device), inputs)
    with _ready(model, device) as parts:
        before = attributes_of(parts.values())
        started = perf_counter()
        with _run(model, parts, placed, device) as recorder:
            seconds = perf_counter() - started
            counted = _report(recorder, model, _input_texts(*inputs), device)
            after = attributes_of(parts.values())
            changed = len(before) != len(after) or any(map(is_not, before, after))
            if twice or (changed and device == "meta"):
                doubts = _doubts_of_second_call(counted, model, parts, placed)
                counted = replace(counted, doubts={**doubts, **counted.doubts})
    if recorder.suspicion is not None:
        _require_no_other_threads(recorder.suspicion, partial(_run_again, model, placed, device), seconds)
    return counted, partial(_cross_checked, model, inputs, placed, recorder, counted.totals)


def _cross_checked(
    model: nn.Module, inputs: _Call, placed: _Call, recorder: Recorder, totals: Totals
) -> dict[str, CrossCheck]:
    """The results of the other counters.

    Args:
        model: Counted module.
        inputs: Inputs of the model.
        placed: The same inputs on the device of the count.
        recorder: Record of the count.
        totals: Totals of the count.
    """
    from convcost.nn.count.cross_check import Observed, check_with_fvcore, check_with_torch
    from convcost.nn.count.unused_results import operations_of

    device = str(recorder.device)

    def observe() -> tuple[list[Operation], frozenset[int]]:
        with quiet_stdout(), recorder.kept.restored(), _ready(model, device), torch.device(device):
            return operations_of(model, *placed)

    observed = Observed(observe)
    with quiet_stdout(), recorder.kept.restored(), _ready(model, device):
        by_torch = check_with_torch(model, placed, recorder.rows, device)
    with quiet_stdout(), _same_conditions():
        by_fvcore = check_with_fvcore(model, inputs, recorder.rows, totals, observed)
    return {"fvcore": by_fvcore, "torch": by_torch}


def _doubts_of_second_call(
    counted: ModelReport, model: nn.Module, parts: Mapping[str, nn.Module], placed: _Call
) -> dict[str, str]:
    device = str(counted.conditions["device"])
    try:
        with _run(model, parts, placed, device) as recorder:
            again = _report(recorder, model, counted.inputs, device)
    except ConvcostError as error:
        return dict.fromkeys(METRICS, f"a second call of the model fails: {str(error).rstrip('.')}")
    return doubts_between(counted, again, "in a second call")


@contextmanager
def _same_conditions() -> Iterator[None]:
    """What each run of a model begins with; compiled functions run as they are."""
    with same_random_numbers(), torch.no_grad(), compiled_functions_run_as_they_are():
        yield


@contextmanager
def _ready(model: nn.Module, device: str) -> Iterator[dict[str, nn.Module]]:
    """The model ready for one forward pass, from the same random numbers each time, and its parts by path."""
    paused = collection_paused() if device == "meta" else nullcontext()
    with paused, _same_conditions(), restored_after(model, device) as parts:
        with running_user_code(partial(_eval_error, model)):
            ready = switch_to_eval(model, parts)
        yield ready


def _eval_error(model: nn.Module, error: BaseException) -> ConvcostError:
    where = user_line(error) or type(model).__name__
    return ConvcostError(
        f"eval() of the model raises {type(error).__name__} at {where}: {first_line(error)}; "
        "call eval() before counting."
    )


@contextmanager
def _run(model: nn.Module, parts: Mapping[str, nn.Module], inputs: _Call, device: str) -> Iterator[Recorder]:
    """The record of a forward pass; what it overwrote is restored afterwards."""
    args, kwargs = inputs
    recorder = Recorder(model, parts, tensors_in((args, kwargs)), device)
    describe = partial(_forward_error, model, recorder, args)
    allowed = any_device_allowed() if device == "meta" else nullcontext()
    with recorder.kept.restored():
        with running_user_code(describe), warnings.catch_warnings(), allowed, recorder:
            warnings.simplefilter("ignore")  # the model's own warnings belong to its runs, not to its counts
            out = model(*args, **kwargs)
        if recorder.suspicion is not None:
            recorder.suspicion.look_at(tensors_in(out), "")
        yield recorder


def _run_again(model: nn.Module, inputs: _Call, device: str) -> None:
    with _ready(model, device) as parts, _run(model, parts, inputs, device):
        pass


def _require_no_other_threads(suspicion: Suspicion, run: Callable[[], None], seconds: float) -> None:
    """Refuse a forward pass with results of threads that it did not start, whose operators have no rows."""
    if suspicion.place is None:
        return
    if ends_only_with_others(run, seconds) if can_isolate() else suspicion.is_strong:
        raise ConvcostError(
            f"a tensor in {suspicion.place or 'the model'} comes from a thread that was started before the forward "
            "pass, where operators are not seen; start the thread in forward, or call the module without one."
        )


def _forward_error(model: nn.Module, recorder: Recorder, args: tuple[Any, ...], error: BaseException) -> ConvcostError:
    """The error for a forward pass that raised: the module, what it expects, and its input."""
    if is_own_fault(error):
        return own_fault(error)
    path = recorder.path
    part = parts_of(model).get(path, model)
    channels = (name for name in ("in_channels", "in_features") if hasattr(part, name))
    expected = next((f"expects {name} {getattr(part, name)}, " for name in channels), "")
    shape = recorder.failed_shape or next((shape_of(a) for a in args if isinstance(a, torch.Tensor)), None)
    outcome = f"got input {'x'.join(map(str, shape))}" if shape else "could not run"
    name = f"{path or 'the model'} ({type(part).__name__})"
    where = user_line(error) or path or type(model).__name__
    return ForwardError(f"{name} {expected}{outcome}: {forward_failure(error)}", where)


def _input_texts(inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    def text(value: object) -> str:
        return tensor_text(value) if isinstance(value, torch.Tensor) else type(value).__name__

    return (*map(text, inputs), *(f"{name}={text(value)}" for name, value in kwargs.items()))


def _report(recorder: Recorder, model: nn.Module, inputs: tuple[str, ...], device: str) -> ModelReport:
    parts = parts_of(model)
    packed = packed_weights(parts)
    rows, weights = recorder.rows, recorder.weights(parts)
    kinds: Counter[str] = Counter()
    for row in rows:
        for event in row.events:
            kinds[event.kind] += event.macs
    totals = Totals(
        params=None if packed else sum(map(numel, weights)),
        trainable_params=sum(numel(p) for p in weights if p.requires_grad),
        macs=kinds.total(),
        weight_bytes=None if packed else total_bytes(weights),
        activation_bytes=sum(row.activation_bytes for row in rows),
        peak_activation_bytes=recorder.memory.peak,
    )
    calls = tuple(_calls(rows, weights, totals.macs))
    conditions = {"device": device, "torch_version": str(torch.__version__), "mode": "eval"}
    return ModelReport(
        _writable(type(model).__name__),
        inputs,
        conditions,
        totals,
        calls,
        dict(kinds),
        _uncounted(rows),
        {},
        notes=(*packed, *_outside(recorder), *_note_on_values(recorder.values_read)),
        values_read=tuple(recorder.values_read),
        doubts=dict.fromkeys(("params", "weight_bytes"), packed[0].rstrip(".")) if packed else {},
    )


def _outside(recorder: Recorder) -> tuple[str, ...]:
    """A note on parameters that the module does not hold; empty where there are none."""
    amount = sum(map(numel, recorder.memory.outside))
    note = (
        f"{amount:,} of the parameters are used by forward but held by no module of the model, as in a plain list or a "
        "closure: torch neither trains nor moves them with it."
    )
    return (note,) if amount else ()


def _note_on_values(places: Collection[str]) -> tuple[str, ...]:
    if not places:
        return ()
    few = f"{', '.join([*places][:3])}{', ...' if len(places) > 3 else ''}"  # noqa: PLR2004 - as many as are shown
    return (f"the forward pass reads values of tensors ({few}): the counts hold for inputs that lead it the same way.",)


def _calls(rows: Sequence[Row], weights: list[nn.Parameter], total: int) -> Iterable[Call]:
    """The rows under unique names, each parameter in the row that owns it."""
    left = {id(p): p for p in weights}
    owners = _owners(rows)
    unique = _UniqueNames()
    names = [unique.of(row.name, numbered=bool(row.function)) for row in rows]
    for index, row in enumerate(rows):
        macs = sum([event.macs for event in row.events])
        before = [owners[id(tensor)] for tensor in row.weights if owners[id(tensor)] < index]
        shares = names[before[0]] if before else None
        own = [left.pop(id(p)) for p in row.weights if id(p) in left and owners[id(p)] == index]
        yield Call(
            name=names[index],
            op=_writable(row.op),
            input_shape=row.input_shape,
            output_shape=row.output_shape,
            params=sum(map(numel, own)),
            macs=macs,
            traffic_bytes=row.traffic_bytes,
            least_bytes=row.least_bytes,
            macs_share=macs / total if total else None,
            conv=row.events[0].conv if len(row.events) == 1 else None,
            inputs=row.input_texts,
            weights=_dtypes(row.weights) if row.weights else (),
            shares=shares,
            uncounted=len(row.uncounted),
            torch_name=row.torch_name,
            is_function=row.owner is None,
            has_bias=row.has_bias,
        )
    if unused := sum(map(numel, left.values())):
        share, name = (0.0 if total else None), unique.of("(parameters outside any call)")
        yield Call(name, "parameters", (), (), unused, 0, 0, share, weights=_dtypes(left.values()))


class _UniqueNames:
    """Names of calls, each once, although a module may have the name that the second call of another would get."""

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()
        self._taken: set[str] = set()

    def of(self, name: str, *, numbered: bool = False) -> str:
        """The name of the next call of a module, or of a function, whose first call is numbered too."""
        name = _writable(name)
        while True:
            self._calls[name] += 1
            number = self._calls[name]
            text = f"{name}#{number}" if numbered or number > 1 else name
            if text not in self._taken:
                self._taken.add(text)
                return text


def _writable(name: str) -> str:
    """A name as a file can hold it: half of a surrogate pair is written as its escape."""
    return name.encode("utf-8", "backslashreplace").decode()


def _owners(rows: Sequence[Row]) -> dict[int, int]:
    """The row of each parameter: the first that uses it together with activations, else the first that uses it."""
    owners: dict[int, int] = {}
    for is_preparation in (False, True):
        for index, row in enumerate(rows):
            if row.is_preparation is is_preparation:
                for tensor in row.weights:
                    owners.setdefault(id(tensor), index)
    return owners


def _dtypes(tensors: Iterable[torch.Tensor]) -> tuple[str, ...]:
    return tuple(sorted({dtype_text(tensor) for tensor in tensors}))


def _uncounted(rows: Iterable[Row]) -> tuple[Uncounted, ...]:
    """The operators without a formula, each with the rows that call it."""
    names: dict[str, dict[str, None]] = {}  # a dict keeps the order
    calls: Counter[str] = Counter()
    for row in rows:
        for op, times in row.uncounted.items():
            calls[op] += times
            names.setdefault(op, {})[_writable(row.name)] = None
    return tuple(Uncounted(op, times, tuple(names[op])) for op, times in calls.items())
