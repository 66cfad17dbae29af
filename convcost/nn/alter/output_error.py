"""How far the outputs of a model and of its altered copy differ: with all blocks, and with each of them alone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch

from convcost.nn.count.counted_call import leaves_of, mapped
from convcost.nn.count.forward_pass import ready
from convcost.nn.count.isolation import same_random_numbers
from convcost.nn.count.tensors import tensors_in
from convcost.nn.load.meta_device import parts_of, tensors_of
from convcost.nn.load.user_code import forward_failure, running_user_code
from convcost.system.signals import interruptible
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor, nn

    from convcost.nn.count.counted_call import Arguments

SEED: Final = 0
"""Seed of random inputs."""


def output_errors(
    model: nn.Module, altered: nn.Module, paths: Iterable[str], call: Arguments
) -> Iterator[tuple[str | None, float | None]]:
    """The relative error of the altered model's output in the Frobenius norm, then with each block alone.

    Both run in eval mode with the same inputs and the same random numbers, and are then as they were.

    Args:
        model: The model, with weights.
        altered: Its copy with blocks in the place of layers.
        paths: Paths of the blocks.
        call: Inputs; those without values get `random_inputs`.

    Yields:
        The path of the block, None for all blocks together; and the error, None where it is no finite number.

    Raises:
        ConvcostError: A forward pass raises.
    """
    layers, paths = parts_of(model), list(paths)
    inputs = random_inputs(call, model)

    def run() -> list[Tensor]:
        with running_user_code(_failure), same_random_numbers():
            outputs = tensors_in(interruptible(lambda: altered(*inputs[0], **inputs[1])))
        return [output.clone() for output in outputs if output.is_floating_point()]

    with ready(altered, "cpu") as parts:
        blocks = [parts[path] for path in paths]
        whole = run()
        for path, block in zip(paths, blocks, strict=True):
            vars(block)["forward"] = layers[path].__call__  # the layer itself, whatever holds the block
        expected = run()
        yield None, relative_error(whole, expected)
        for path, block in zip(paths, blocks, strict=True):
            layer = vars(block).pop("forward")
            yield path, relative_error(run(), expected)
            vars(block)["forward"] = layer


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


def relative_error(outputs: Iterable[Tensor], expected: Iterable[Tensor]) -> float | None:
    """The norm of the difference ÷ the norm of what is expected, over all tensors; None if it is no finite number."""
    lost = total = 0.0
    for output, other in zip(outputs, expected, strict=True):
        reference = other.double()
        lost += float((output.double() - reference).square().sum())
        total += float(reference.square().sum())
    error = (lost / total) ** 0.5 if total else float("nan")
    return error if error < float("inf") else None


def _failure(error: BaseException) -> ConvcostError:
    return ConvcostError(f"the model could not run to compare its output: {forward_failure(error)}")
