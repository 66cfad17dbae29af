"""The output of a model, whatever holds its tensors."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_map

from convcost.nn.count.tensors import tensor_text


def texts_of(output: Any) -> list[str]:
    """The structure, shapes and dtypes of an output."""
    leaves, structure = tree_flatten(_opened(output, frozenset()))
    texts = [tensor_text(one) if isinstance(one, torch.Tensor) else type(one).__name__ for one in leaves]
    return [*texts, str(structure)]


def numbers_of(output: Any) -> list[torch.Tensor]:
    """Copies of the tensors of real and complex numbers in an output, complex ones as pairs."""
    leaves, _ = tree_flatten(_opened(output, frozenset()))
    tensors = [one.detach() for one in leaves if isinstance(one, torch.Tensor)]
    pairs = [torch.view_as_real(one.resolve_conj()) if one.is_complex() else one for one in tensors]
    return [one.clone() for one in pairs if one.is_floating_point()]


def _opened(output: Any, holders: frozenset[int]) -> Any:
    """An output with the attributes of objects, which torch's trees do not look into, by name under their class."""

    def opened(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor) or callable(leaf) or id(leaf) in holders:
            return leaf
        held = dict(getattr(leaf, "__dict__", {}))
        if is_dataclass(leaf):
            held |= {one.name: getattr(leaf, one.name) for one in fields(leaf) if hasattr(leaf, one.name)}
        return {type(leaf).__name__: _opened(held, holders | {id(leaf)})} if held else leaf

    return tree_map(opened, output)
