"""The report of a recorded forward pass: its rows under unique names, each parameter in one, and their totals."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import torch

from convcost.models.call import Call
from convcost.models.peak import MODEL_INPUT, Kept, Peak
from convcost.models.report import ModelReport, Totals, Uncounted
from convcost.nn.count.moved_bytes import numel, total_bytes
from convcost.nn.count.packed_weights import packed_note, packed_weights, plain_weights
from convcost.nn.count.tensors import dtype_text
from convcost.nn.load.meta_device import parts_of
from convcost.text.errors import encodable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from torch import nn

    from convcost.nn.count.memory import Memory
    from convcost.nn.count.row import Row
    from convcost.nn.count.trace import Recorder


GIVEN_AWAY: Final = ("numpy in ", "array in ", "dlpack in ")
"""What reads the values of a whole tensor for another library."""


def report_of(recorder: Recorder, model: nn.Module, inputs: tuple[str, ...], device: str) -> ModelReport:
    """The report of what was recorded.

    Args:
        recorder: Record of a forward pass.
        model: Module that ran, still on the device of the count.
        inputs: Texts of its inputs.
        device: Device of the count.
    """
    parts = parts_of(model)
    multiplied = {tensor: path for one, path in recorder.memory.multiplied.items() if (tensor := one()) is not None}
    packed, plain = packed_weights(parts, multiplied), plain_weights(parts, multiplied)
    notes = packed_note(packed, type(model).__name__)
    doubt = notes[0].rstrip(".") if packed else plain
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
    calls = tuple(_calls(rows, weights, totals.macs, packed))
    mode = "mixed" if recorder.training else "eval"
    conditions = {"device": device, "torch_version": str(torch.__version__), "mode": mode}
    return ModelReport(
        encodable(type(model).__name__),
        inputs,
        conditions,
        totals,
        calls,
        dict(kinds),
        _uncounted(rows),
        {},
        notes=(
            *notes,
            *_outside(recorder),
            *_note_on_buffers(rows),
            *_note_on_mode(recorder.training),
            *_note_on_values(recorder.values_read),
        ),
        values_read=tuple(recorder.values_read),
        doubts={
            **(dict.fromkeys(("params", "weight_bytes"), doubt) if doubt else {}),
            **_doubt_on_numpy(recorder.values_read),
        },
        peak=_peak(recorder.memory, rows, calls),
    )


def _peak(memory: Memory, rows: Sequence[Row], calls: Sequence[Call]) -> Peak | None:
    """The call during which most was alive; None if that was outside any call."""
    top = memory.at_peak
    if top is None or top.row.alive_bytes < memory.peak:
        return None
    names = {id(row): call.name for row, call in zip(rows, calls, strict=False)}  # parameters may follow the calls
    inputs = outputs = 0
    kept: dict[str, int] = {}
    for key, size, born in memory.sizes_at_peak():
        if key in top.inputs:
            inputs += size
        elif key in top.outputs and born == top.number:
            outputs += size
        else:
            name = names[id(memory.ended[born])] if born >= 0 else MODEL_INPUT
            kept[name] = kept.get(name, 0) + size
    inside = top.row.alive_bytes - inputs - outputs - sum(kept.values())
    largest = sorted(kept.items(), key=lambda one: one[1], reverse=True)
    return Peak(names[id(top.row)], top.row.alive_bytes, inputs, outputs, inside, tuple(Kept(*one) for one in largest))


def _outside(recorder: Recorder) -> tuple[str, ...]:
    """A note on parameters that the module does not hold; empty where there are none."""
    amount = sum(map(numel, recorder.memory.outside))
    note = (
        f"{amount:,} of the parameters are used by forward but held by no module of the model, as in a plain list or a "
        "closure: torch neither trains nor moves them with it."
    )
    return (note,) if amount else ()


def _note_on_buffers(rows: Sequence[Row]) -> tuple[str, ...]:
    """A note on calls that multiply by buffers of floats; empty where there are none."""
    names = {encodable(row.name): None for row in rows if row.multiplies_buffers}
    verb = "multiplies" if len(names) == 1 else "multiply"
    note = f"{_few(names)} {verb} by buffers, which are no parameters: params and weight_bytes leave them out."
    return (note,) if names else ()


def _note_on_mode(kinds: Collection[str]) -> tuple[str, ...]:
    """A note on modules that `eval` of the model does not reach; empty where there are none."""
    note = (
        f"modules that forward uses and no module of the model holds are counted in training mode ({_few(kinds)}): "
        "call eval() on them before, or make them modules of the model."
    )
    return (note,) if kinds else ()


def _few(names: Collection[str]) -> str:
    return f"{', '.join([*names][:3])}{', ...' if len(names) > 3 else ''}"  # noqa: PLR2004 - as many as are shown


def _note_on_values(places: Collection[str]) -> tuple[str, ...]:
    if not places:
        return ()
    few = _few(places)
    return (f"the forward pass reads values of tensors ({few}): the counts hold for inputs that lead it the same way.",)


def _doubt_on_numpy(places: Iterable[str]) -> dict[str, str]:
    """A doubt where forward gave tensors to another library, which may have computed with them."""
    place = next((place for place in places if place.startswith(GIVEN_AWAY)), None)
    return (
        {}
        if place is None
        else {
            "macs": f"{place} gives a tensor to NumPy or another library: what that computes is not counted; use torch"
        }
    )


def _calls(rows: Sequence[Row], weights: list[nn.Parameter], total: int, packed: Collection[str]) -> Iterable[Call]:
    """The rows under unique names, each parameter in the row that owns it.

    Args:
        rows: The recorded calls.
        weights: The parameters.
        total: MACs of all rows.
        packed: Paths of the modules that hold packed weights.
    """
    left = {id(p): p for p in weights}
    owners = _owners(rows)
    unique = _UniqueNames()
    names = [unique.of(row.name, numbered=bool(row.function)) for row in rows]
    for index, row in enumerate(rows):
        macs = sum([event.macs for event in row.events]) if row.events else 0
        params, shares = 0, None
        for weight in row.weights:
            owner = owners[id(weight)]
            if owner == index and left.pop(id(weight), None) is not None:
                params += numel(weight)
            elif owner < index and shares is None:
                shares = names[owner]
        yield Call(
            name=names[index],
            op=encodable(row.op),
            input_shape=row.input_shape,
            output_shape=row.output_shape,
            params=params,
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
            has_packed=row.path in packed and bool(row.uncounted or macs),
            alive_bytes=row.alive_bytes,
            settings=() if row.owner is None else _settings(row.owner),
        )
    if unused := sum(map(numel, left.values())):
        share, name = (0.0 if total else None), unique.of("(parameters outside any call)")
        yield Call(name, "parameters", (), (), unused, 0, 0, share, weights=_dtypes(left.values()))


def _settings(module: nn.Module) -> tuple[tuple[str, object], ...]:
    """The hyper-parameters of a module, as its class lists them for TorchScript, that are plain values."""
    held = vars(module)
    names = getattr(type(module), "__constants__", ())
    return tuple([(name, held[name]) for name in names if name in held and type(held[name]) in _PLAIN])


_PLAIN: Final = frozenset({bool, int, float, str, tuple, type(None)})


class _UniqueNames:
    """Names of calls, each once, although a module may have the name that the second call of another would get."""

    def __init__(self) -> None:
        self._calls: dict[str, int] = {}
        self._taken: set[str] = set()

    def of(self, name: str, *, numbered: bool = False) -> str:
        """The name of the next call of a module, or of a function, whose first call is numbered too."""
        name = encodable(name)
        while True:
            number = self._calls[name] = self._calls.get(name, 0) + 1
            text = f"{name}#{number}" if numbered or number > 1 else name
            if text not in self._taken:
                self._taken.add(text)
                return text


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
            names.setdefault(op, {})[encodable(row.name)] = None
    return tuple(Uncounted(op, times, tuple(names[op])) for op, times in calls.items())
