"""A copy of a model with blocks in the place of convolutions, whose outputs have the shapes of the model's own."""

from __future__ import annotations

import copy
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from types import CellType, FunctionType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from convcost.changes.replaced_layer import layer_of
from convcost.changes.replacement import choose_block, few, reads_image, require_layers
from convcost.nn.alter.eligibility import is_lazy_module, obstacles
from convcost.nn.alter.kept_weights import KeptWeights
from convcost.nn.alter.outputs import texts_of
from convcost.nn.alter.surroundings import Watch
from convcost.nn.build.conv_module import conv_of
from convcost.nn.build.flat_block import build_flat
from convcost.nn.count.counted_call import PlacedCall
from convcost.nn.count.forward_pass import ready, recorded
from convcost.nn.count.isolation import same_random_numbers
from convcost.nn.count.model_report import report
from convcost.nn.load.meta_device import parts_of
from convcost.nn.load.user_code import error_summary, running_user_code
from convcost.text.errors import ConvcostError, encodable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from convcost.changes.replaced_layer import ReplacedLayer
    from convcost.changes.replacement import Replacement, Rules
    from convcost.models.call import Call
    from convcost.models.report import ModelReport
    from convcost.nn.alter.factorisation import Factors
    from convcost.nn.alter.surroundings import Following
    from convcost.nn.count.counted_call import Arguments


@dataclass(frozen=True, slots=True)
class Altered:
    """A model with blocks in the place of layers.

    Attributes:
        model: The altered model.
        counted: Its count.
        layers: What became of each convolution, in the order of the forward pass; last those that it does not call.
        notes: What follows layers, and does not stand between the stages of the blocks; and ranks that layers lack.
    """

    model: nn.Module
    counted: ModelReport
    layers: tuple[ReplacedLayer, ...]
    notes: tuple[str, ...]


def alter(model: nn.Module, call: Arguments, counted: ModelReport, rules: Rules) -> Altered:
    """Replace the convolutions of a copy of a model that the rules choose.

    Args:
        model: The model, which stays as it is.
        call: Its inputs.
        counted: Its count, with the same inputs.
        rules: Which layers are replaced, and by what.

    Raises:
        ConvcostError: No layer is left to replace, or the model cannot be copied.
    """
    device = str(counted.conditions["device"])
    calls = _calls_by_path(model, counted)
    known = obstacles(model, calls)
    following, outputs = _seen_in_forward(model, call, device, [path for path, why in known.items() if why is None])
    parts = parts_of(model)
    outcomes: dict[str, Replacement | str] = {}
    kept = KeptWeights(parts, rules.keep)
    for path, obstacle in kept.largest_first(known):
        if obstacle is None:  # torch splits some paddings off, so that the operator it calls is another convolution
            calls[path] = tuple(replace(one, conv=conv_of(parts[path])) for one in calls.get(path, ()))
        reason = obstacle or _reason(path, calls[path], counted, rules)
        outcomes[path] = reason or _outcome(path, calls[path], following[path], rules, kept)
    notes, modules = kept.notes, _modules(model, outcomes, kept)
    result = _Trial(model, call, counted, outcomes, modules, outputs).settled(rules)
    if rules.between and rules.keep is None:
        others = {path: one.other for path, one in following.items() if not isinstance(outcomes[path], str)}
        notes = tuple(_notes(others))
    order = {one.name: index for index, one in enumerate(counted.layers)}
    paths = sorted(outcomes, key=lambda path: order[calls[path][0].name] if calls.get(path) else len(order))
    rows = tuple(_row(path, parts.get(path), calls.get(path, ()), outcomes[path]) for path in paths)
    return Altered(*result, rows, notes)


def _notes(others: Mapping[str, str | None]) -> Iterator[str]:
    """Notes on operations after replaced layers that no block has between its stages."""
    for kind in dict.fromkeys(filter(None, others.values())):
        names = few([path or "the model" for path, one in others.items() if one == kind])
        yield f"{kind} follows {names}, and does not stand between the stages of the block there: no block has one."


def _row(path: str, part: nn.Module | None, calls: Sequence[Call], outcome: Replacement | str) -> ReplacedLayer:
    """The row of a convolution; a module that is not called is described too."""
    if calls:
        return layer_of(path or calls[0].name, calls[0].op, calls[0].conv, calls, outcome)
    conv = None if part is None or is_lazy_module(part) else conv_of(part)
    return layer_of(path, type(part).__name__, conv, (), outcome)


def _reason(path: str, calls: Sequence[Call], counted: ModelReport, rules: Rules) -> str | None:
    """The reason why a layer stays as it is, whatever the block; None without one."""
    if not calls:
        return "the forward pass does not call it"
    reason = rules.reason_for_kind(calls[0].conv) or rules.reason_for_name(path or calls[0].name)
    if reason is None and rules.only is None and reads_image(calls[0], counted):
        return "reads the image, whose few channels leave little to save; name it with only to replace it"
    return reason


def _outcome(
    path: str, calls: Sequence[Call], following: Following, rules: Rules, kept: KeptWeights
) -> Replacement | str:
    """The block in the place of a layer, or the reason why there is none."""
    factorise = None if rules.keep is None else partial(kept.factorise, path)
    outcome, norm = choose_block(path, calls, following.style, rules, factorise), following.norm
    if isinstance(outcome, str):
        kept.factors.pop(path, None)
        return outcome
    if factorise is not None:
        return replace(outcome, weight_error=kept.factors[path].weight_error)
    return (
        outcome if norm is None else replace(outcome, norm={name: getattr(norm, name) for name in ("eps", "momentum")})
    )


def _calls_by_path(model: nn.Module, counted: ModelReport) -> dict[str, tuple[Call, ...]]:
    """The calls of each module by its path, and each functional call of a convolution by its name."""
    names = {encodable(path or type(model).__name__): path for path in parts_of(model)}
    calls: dict[str, tuple[Call, ...]] = {}
    for one in counted.layers:
        name = one.name if one.name in names else one.name.rpartition("#")[0]
        if not one.is_function and name in names:
            calls[names[name]] = (*calls.get(names[name], ()), one)
        elif one.conv is not None:
            calls[one.name] = (one,)
    return calls


def _seen_in_forward(
    model: nn.Module, call: Arguments, device: str, paths: Iterable[str]
) -> tuple[dict[str, Following], list[str]]:
    """What follows each convolution, and the texts of the outputs."""
    placed = PlacedCall(call, device)
    with ready(model, device, placed.placement) as parts:
        watch = Watch({path: parts[path] for path in paths}, parts)
        with watch, recorded(model, parts, placed.arguments, device) as recorder:
            return watch.following, texts_of(recorder.output)


def _modules(model: nn.Module, outcomes: Mapping[str, Replacement | str], kept: KeptWeights) -> dict[str, nn.Module]:
    """The module of each block, initialised as torch does from the caller's random state, which stays as it is."""
    parts = parts_of(model)
    with same_random_numbers():
        return {
            path: _module(one, parts[path], kept.factors.pop(path, None))
            for path, one in outcomes.items()
            if not isinstance(one, str)
        }


def _module(one: Replacement, layer: nn.Module, factors: Factors | None) -> nn.Module:
    """The module of a block, with device, dtype, memory format, mode and `requires_grad` of the layer."""
    weight = layer.get_parameter("weight")
    place = "meta" if weight.is_meta else "cpu"  # so that the same random numbers give the same weights on any device
    block = build_flat(one.placed.tree, one.placed.spec.input, device=place, dtype=weight.dtype).to(weight.device)
    if weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous():
        block = block.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's annotation lacks it
    for part in block.modules():
        if isinstance(part, nn.BatchNorm2d):
            vars(part).update(one.norm)
    if factors is not None:
        factors.fill(block, getattr(layer, "bias", None))
    return block.train(layer.training).requires_grad_(weight.requires_grad)


def replaced(model: nn.Module, modules: Mapping[str, nn.Module]) -> nn.Module:
    """A copy of a model with other modules in the place of some of its parts.

    Every attribute, list or container that holds such a part holds the other module in the copy, and so does a function
    that is an attribute and has it in its closure or defaults. What the copy keeps of the model has its own tensors,
    with equal values, on the same device.

    Args:
        model: The model, which stays as it is.
        modules: Modules by the path of the part that they replace; they are not copied.

    Raises:
        ConvcostError: A part of the model cannot be copied.
    """
    parts = parts_of(model)
    memo: dict[int, Any] = {id(parts[path]): module for path, module in modules.items()}
    functions: list[tuple[FunctionType, FunctionType]] = []
    for part in parts.values():
        for value in vars(part).values():
            if isinstance(value, FunctionType) and id(value) not in memo and any(map(_is_copied, _held(value))):
                functions.append((value, _unbound(value)))
                memo[id(value)] = functions[-1][1]
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()  # torch refuses to copy what has a gradient's graph

    def describe(error: BaseException) -> ConvcostError:
        return ConvcostError(f"model must be one that copy.deepcopy can copy: {error_summary(error)}; mend it there.")

    with running_user_code(describe):
        new = copy.deepcopy(model, memo)
        for function, other in functions:
            _bind(other, function, memo)
        return new


def _is_copied(held: object) -> bool:
    """Whether a function's copy holds a copy of this."""
    return isinstance(held, nn.Module | torch.Tensor)


def _held(function: FunctionType) -> Iterator[object]:
    """What a function has in its closure and defaults."""
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # the cell is empty
            yield cell.cell_contents


def _unbound(function: FunctionType) -> FunctionType:
    """A copy of a function with empty cells in its closure, and without defaults."""
    cells = tuple(CellType() for _ in function.__closure__ or ())
    other = FunctionType(function.__code__, function.__globals__, function.__name__, None, cells)
    other.__dict__.update(function.__dict__)
    return other


def _bind(other: FunctionType, function: FunctionType, memo: dict[int, Any]) -> None:
    """Give the copy of a function what the function holds, modules and tensors as copies."""

    def moved(held: Any) -> Any:
        return copy.deepcopy(held, memo) if _is_copied(held) else held

    other.__defaults__ = function.__defaults__ and tuple(map(moved, function.__defaults__))
    other.__kwdefaults__ = {name: moved(held) for name, held in (function.__kwdefaults__ or {}).items()}
    for cell, empty in zip(function.__closure__ or (), other.__closure__ or (), strict=True):
        with suppress(ValueError):
            empty.cell_contents = moved(cell.cell_contents)


@dataclass(frozen=True, slots=True)
class _Trial:
    """Runs a model with blocks in the place of some layers.

    Attributes:
        model: The model.
        call: Its inputs.
        before: Its count.
        outcomes: Blocks by the path of the layer, or the reason why it stays as it is, which a trial may add.
        modules: Modules of the blocks.
        outputs: Texts of the model's outputs.
    """

    model: nn.Module
    call: Arguments
    before: ModelReport
    outcomes: dict[str, Replacement | str]
    modules: Mapping[str, nn.Module]
    outputs: list[str]

    def settled(self, rules: Rules) -> tuple[nn.Module, ModelReport]:
        """The model with all layers replaced that may be, and its count.

        Raises:
            ConvcostError: No layer may be replaced.
        """
        name = type(self.model).__name__
        require_layers(rules, {path or name: one for path, one in self.outcomes.items()})
        result = self.run(list(self.modules))
        if isinstance(result, str):
            self.outcomes.update(self.refused(list(self.modules), result))
            require_layers(rules, {path or name: one for path, one in self.outcomes.items()})
            result = self.run([path for path, one in self.outcomes.items() if not isinstance(one, str)])
        if isinstance(result, str):
            raise ConvcostError(f"the altered model must run as the model does, but {result}; replace fewer layers.")
        return result

    def refused(self, paths: list[str], reason: str) -> dict[str, str]:
        """The layers with whose blocks the model does not run as before, each with the reason.

        Args:
            paths: Layers that are replaced together.
            reason: Why the model does not run as before; the layers are halved until those that fail alone are known.
        """
        if len(paths) <= 1:
            return dict.fromkeys(paths, reason)
        halves = (paths[: len(paths) // 2], paths[len(paths) // 2 :])
        refused: dict[str, str] = {}
        for half in halves:
            result = self.run(half)
            if isinstance(result, str):
                refused |= self.refused(half, result)
        return refused

    def run(self, paths: Sequence[str]) -> tuple[nn.Module, ModelReport] | str:
        """The model with these layers replaced, and its count; why it is no replacement of the model, if it is none."""
        new = replaced(self.model, {path: self.modules[path] for path in paths})
        try:
            _, outputs = _seen_in_forward(new, self.call, self.device, ())
        except ConvcostError as error:
            return f"forward fails with the block in its place: {error_summary(error.__cause__ or error)}"
        if outputs != self.outputs:
            differs = next((pair for pair in zip(self.outputs, outputs, strict=False) if pair[0] != pair[1]), None)
            return "the model's output differs" + (f": {differs[1]}, not {differs[0]}" if differs else "")
        counted = report(new, *self.call, device=self.device)
        added = 0
        for path in paths:
            block = self.outcomes[path]
            if not isinstance(block, str):
                if _macs_inside(counted, encodable(path)) != block.after.macs:
                    return f"forward does not call {path or 'it'} through its place in the model"
                added += block.after.params - block.before.params
        return self.with_other_parameters(counted, added) or (new, counted)

    @property
    def device(self) -> str:
        """Device of the count."""
        return str(self.before.conditions["device"])

    def with_other_parameters(self, counted: ModelReport, added: int) -> str | None:
        """The reason why an altered model has other parameters than its blocks make; None if it has those.

        Args:
            counted: Count of the altered model.
            added: Parameters of the blocks beyond those of the layers.

        Raises:
            ConvcostError: The copy of a model runs with parameters of the model itself.
        """
        before, after = self.before.totals.params, counted.totals.params
        if before is None or after is None or after - before == added:
            return None
        copied = report(replaced(self.model, {}), *self.call, device=self.device).totals.params
        shared = (copied or 0) - before
        if not shared:
            return "its parameters are used outside it too"
        raise ConvcostError(
            f"model must call its layers as attributes: {shared:,} parameters are held by a function or another object "
            "too, which a copy of the model would share with it; take the layers from self in forward."
        )


def _macs_inside(counted: ModelReport, path: str) -> int:
    """The MACs of all calls of a part and inside it."""
    inside = re.compile(rf"{re.escape(path)}(\.|#\d+(\.|$)|$)" if path else "")
    return sum(one.macs for one in counted.layers if inside.match(one.name))
