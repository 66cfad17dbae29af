"""How far the outputs of a model and of its altered copy differ: with all blocks, and with each of them alone."""

from __future__ import annotations

from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import torch

from convcost.nn.alter.outputs import numbers_of
from convcost.nn.count.counted_call import leaves_of, mapped
from convcost.nn.count.cpu_trial import ForwardError
from convcost.nn.count.forward_pass import ready, recorded
from convcost.nn.load.meta_device import parts_of, tensors_of
from convcost.nn.load.user_code import forward_failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor, nn

    from convcost.nn.count.counted_call import Arguments

SEED: Final = 0
"""Seed of random inputs."""
MAX_NOISE: Final = 1e-4
"""Largest relative error between two runs of the same model; several threads may add in another order."""


def output_errors(
    model: nn.Module, altered: nn.Module, paths: Iterable[str], call: Arguments
) -> Iterator[tuple[str | None, float | str]]:
    """The relative error of the altered model's output in the Frobenius norm, then with each block alone.

    Each run is in eval mode, with the same inputs, random numbers and state of the model. Both are then as they were.

    Args:
        model: The model, with weights.
        altered: Its copy with blocks in the place of layers.
        paths: Paths of the blocks.
        call: Inputs; those without values get `random_inputs`.

    Yields:
        The path of the block, None for all blocks together; and the error, or the reason why there is none.
    """
    layers, paths = parts_of(model), list(paths)
    inputs = random_inputs(call, model)

    def run(kept: Iterable[str]) -> list[Tensor]:
        """The outputs with the model's own layers in the place of some blocks."""
        with ready(altered, "cpu") as parts:
            for path in kept:  # the layer itself, whatever holds the block
                vars(parts[path])["forward"] = layers[path].__call__
            with recorded(altered, parts, inputs, "cpu") as recorder:
                return numbers_of(recorder.output)

    def errors() -> Iterator[tuple[str | None, float | str]]:
        expected = run(paths)
        again = relative_error(run(paths), expected)
        if isinstance(again, str) or again > MAX_NOISE:
            reason = _without_norm(expected) or "differs between two runs of the model itself"
            yield from ((path, reason) for path in (None, *paths))
            return
        yield None, relative_error(run(()), expected)
        for path in paths:
            yield path, relative_error(run([one for one in paths if one != path]), expected)

    try:
        yield from errors()
    except ForwardError as error:
        reason = f"could not be compared: {forward_failure(error.__cause__ or error).rstrip('.')}"
        yield from ((path, reason) for path in (None, *paths))


def random_inputs(call: Arguments, model: nn.Module) -> Arguments:
    """The inputs on the model's device; where they have no values, normal random numbers, and zeros if not floats."""
    device = next((tensor.device for tensor in tensors_of(parts_of(model).values())), torch.device("cpu"))
    generator = torch.Generator().manual_seed(SEED)
    made: Arguments = mapped(partial(_with_values, device=device, generator=generator), call)
    return made


def has_values(call: Arguments) -> bool:
    """Whether all tensors of the inputs have values."""
    return not any(isinstance(leaf, torch.Tensor) and leaf.is_meta for leaf in leaves_of(call))


def _with_values(value: Any, device: torch.device, generator: torch.Generator) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    if not value.is_meta:
        return value.to(device)
    if value.is_floating_point():
        return torch.randn(value.shape, generator=generator).to(device, value.dtype)
    return torch.zeros(value.shape, dtype=value.dtype, device=device)


def relative_error(outputs: Sequence[Tensor], expected: Sequence[Tensor]) -> float | str:
    """The norm of the difference ÷ the norm of what is expected, over all tensors; or the reason why there is none."""
    if [output.shape for output in outputs] != [other.shape for other in expected]:
        return "has other sizes with the block"
    lost = sum(
        float((one.double() - other.double()).square().sum()) for one, other in zip(outputs, expected, strict=True)
    )
    if reason := _without_norm(expected):
        return reason
    return (lost / _energy(expected)) ** 0.5 if isfinite(lost) else "is not finite with the block"


def _without_norm(outputs: Sequence[Tensor]) -> str | None:
    """The reason why errors cannot be relative to outputs; None if they can."""
    if not outputs:
        return "has no real or complex numbers"
    energy = _energy(outputs)
    return None if isfinite(energy) and energy else "is zero" if not energy else "is not finite"


def _energy(outputs: Iterable[Tensor]) -> float:
    return sum(float(output.double().square().sum()) for output in outputs)
