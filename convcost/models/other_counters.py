"""What other counters print for a model, worked out from its calls by the rules of their sources.

Each rule says what one call is worth to a counter, in its own unit; None where its rule is not known here, and then
the counter has no figure for the model. Read in fvcore 0.1.5, ptflops 0.7.5 (pytorch backend), thop 0.1.1, torchinfo
1.8.0, torchprofile 0.1.0, DeepSpeed 0.19 and torch's FlopCounterMode 2.13; docs/counting.md has the main differences.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import TYPE_CHECKING, Final

from convcost.convolution.cost import FLOPS_PER_MAC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from convcost.models.call import Call

NORMALISATIONS: Final = (
    *("batchnorm", "syncbatchnorm", "lazybatchnorm", "instancenorm", "lazyinstancenorm", "nativebatchnorm"),
    *("layernorm", "nativelayernorm", "groupnorm", "rmsnorm", "localresponsenorm"),
)
"""How the names of normalisations begin."""
ACTIVATIONS: Final = frozenset({
    *("relu", "relu6", "leakyrelu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "glu", "hardtanh"),
    *("hardswish", "hardsigmoid", "sigmoid", "tanh", "softplus", "softsign", "logsigmoid", "threshold"),
    *("softmax", "softmax2d", "softmin", "logsoftmax", "hardshrink", "softshrink", "tanhshrink"),
})  # fmt: skip
"""Names of activations; softmax is one, as in torch.nn.modules.activation."""


def plain_name(call: Call) -> str:
    """The name of torch's class or function in one form: `max_pool2d` and `MaxPool2d` are `maxpool2d`."""
    return call.torch_name.replace("_", "").lower()


def is_normalisation(call: Call) -> bool:
    """Whether the call normalises, and does nothing else."""
    return not call.macs and plain_name(call).startswith(NORMALISATIONS)


def is_activation(call: Call) -> bool:
    """Whether the call is an elementwise activation or a softmax."""
    return plain_name(call) in ACTIVATIONS


def is_pooling(call: Call) -> bool:
    """Whether the call pools over windows."""
    return "pool" in plain_name(call)


def inputs_of(call: Call) -> int:
    """Elements of the first input."""
    return prod(call.input_shape)


def outputs_of(call: Call) -> int:
    """Elements of the first output."""
    return prod(call.output_shape)


def bias_of(call: Call) -> int:
    """Additions of a bias: one for each output of a convolution or linear layer that has one."""
    return outputs_of(call) if call.has_bias else 0


def by_output_size(call: Call) -> int:
    """MACs of a call as of the plain convolution of its output, which is too many for a transposed one."""
    if call.conv is None or not call.conv.transposed:
        return call.macs
    return outputs_of(call) * (call.conv.in_channels // call.conv.groups) * prod(call.conv.kernel_size)


def _normalised(call: Call, batch: tuple[int, int], other: tuple[int, int]) -> int:
    """Elements of a normalisation times the price without and with an affine map."""
    prices = batch if "batchnorm" in plain_name(call) else other
    return inputs_of(call) * prices[bool(call.weights)]


def _resamples(call: Call) -> bool:
    return plain_name(call).startswith(("upsampl", "interpolate", "pixel", "gridsampl"))


_HIDDEN: Final = frozenset({"MultiheadAttention", "Bilinear", "bilinear", "multi_head_attention_forward"})


def _is_hidden(call: Call) -> bool:
    """Whether a call's products are counted in part only, by most counters."""
    return bool(call.macs) and (call.torch_name in _HIDDEN or plain_name(call).startswith(("lstm", "gru", "rnn")))


def _fvcore(call: Call) -> int | None:
    if _is_hidden(call) or _resamples(call):
        return None
    if is_normalisation(call):
        known = not plain_name(call).startswith(("rmsnorm", "localresponsenorm"))
        return _normalised(call, (1, 2), (4, 5)) if known else 0
    if plain_name(call) == "adaptiveavgpool2d":
        return inputs_of(call)
    return 0 if call.torch_name == "scaled_dot_product_attention" else call.macs


def _thop(call: Call) -> int | None:
    name = plain_name(call)
    if call.is_function or call.op != call.torch_name or call.torch_name == "MultiheadAttention":
        return 0
    if _is_hidden(call) or _resamples(call):
        return None
    if is_normalisation(call):
        known = not name.startswith(("groupnorm", "rmsnorm", "localresponsenorm", "sync"))
        return _normalised(call, (2, 4), (2, 4)) if known else 0
    if name.startswith(("avgpool", "adaptiveavgpool")):
        return outputs_of(call) + (inputs_of(call) if name.startswith("adaptive") else 0)
    return inputs_of(call) if name == "prelu" else None if name == "softmax" else by_output_size(call)


def _is_unclear(call: Call) -> bool:
    """Whether it is a softmax, of which some counters see that of torch.nn.functional, and none sees torch's own."""
    return call.is_function and plain_name(call) == "softmax"


_FUNCTIONS_OF_PTFLOPS: Final = frozenset({"relu", "prelu", "elu", "relu6", "gelu", "silu", "softmax"})
_MODULES_OF_PTFLOPS: Final = frozenset({"relu", "prelu", "elu", "leakyrelu", "relu6", "gelu"})


def _ptflops(call: Call, *, patches: bool = True) -> int | None:
    """It hooks modules and patches functions, so it counts the activations and poolings of modules twice.

    Args:
        call: Call of a module or function.
        patches: Whether functions are patched, as since 0.7.
    """
    name = plain_name(call)
    is_module = not call.is_function and call.op == call.torch_name
    is_unclear = patches and (_is_unclear(call) or (call.is_function and name == "matmul" and call.macs))
    if _is_hidden(call) or _resamples(call) or is_unclear:
        return None
    if is_normalisation(call):
        has_affine = bool(call.weights) and name != "layernorm"
        return inputs_of(call) * (1 + has_affine) if is_module and not name.startswith(("rms", "local")) else 0
    if is_pooling(call) or is_activation(call):
        hooked = is_module and (is_pooling(call) or name in _MODULES_OF_PTFLOPS)
        patched = patches and (is_pooling(call) or name in _FUNCTIONS_OF_PTFLOPS - _of_hardtanh(call))
        return inputs_of(call) * (hooked + patched)
    if call.is_function:
        return call.macs if patches and name in {"bmm", "mm"} else 0
    return call.macs + bias_of(call) if is_module else 0


def _torchinfo(call: Call) -> int | None:
    """It multiplies parameters: by the output's positions for a convolution, else by the batch."""
    if call.is_function or not call.params:
        return 0
    if call.torch_name == "MultiheadAttention":
        return None
    if plain_name(call).startswith(("lstm", "gru", "rnn")):
        return prod(call.output_shape[:2]) * call.params
    positions = call.output_shape[2:] if "Conv" in call.op else ()
    return prod((*call.output_shape[:1], *positions)) * call.params


def _torchprofile(call: Call) -> int | None:
    name = plain_name(call)
    if _is_hidden(call) or _resamples(call):
        return None
    if is_normalisation(call):
        return outputs_of(call) if call.weights and not name.startswith(("rms", "local")) else 0
    if "avgpool" in name or name in {"mean", "leakyrelu"}:
        return outputs_of(call)
    return by_output_size(call)


def _of_hardtanh(call: Call) -> frozenset[str]:
    """Modules that call another function than their name says: nn.ReLU6 calls functional.hardtanh."""
    return frozenset() if call.is_function else frozenset({"relu6"})


_ACTIVATIONS_OF_DEEPSPEED: Final = frozenset({"relu", "prelu", "elu", "leakyrelu", "relu6", "silu", "gelu", "softmax"})


def _deepspeed(call: Call) -> int | None:
    name = plain_name(call)
    is_odd = call.conv is not None and call.conv.transposed and call.has_bias  # its output size is another
    if _is_hidden(call) or _resamples(call) or is_odd or _is_unclear(call) or name == "einsum":
        return None
    if is_normalisation(call):
        return 0 if name.startswith(("rms", "local")) else _normalised(call, (1, 2), (4, 5))
    if is_pooling(call) or name in _ACTIVATIONS_OF_DEEPSPEED - _of_hardtanh(call):
        return inputs_of(call)
    return FLOPS_PER_MAC * call.macs + (0 if call.conv is None else bias_of(call))


def _torch(call: Call) -> int | None:
    return None if _is_hidden(call) and call.torch_name != "MultiheadAttention" else FLOPS_PER_MAC * call.macs


_RULES: Final[Mapping[str, Callable[[Call], int | None]]] = {
    "torch's FlopCounterMode": _torch,
    "fvcore": _fvcore,
    "thop": _thop,
    "ptflops": _ptflops,
    "ptflops before 0.7": partial(_ptflops, patches=False),
    "torchinfo": _torchinfo,
    "torchprofile": _torchprofile,
    "DeepSpeed": _deepspeed,
}


def totals_of_others(calls: Iterable[Call], samples: int) -> dict[str, int]:
    """The totals that other counters print for a model, by their names; those without a rule for a call are left out.

    Args:
        calls: Calls of the model.
        samples: Samples in the batch, by which ptflops divides a part of its total.
    """
    rows = tuple(calls)
    totals = {}
    for counter, rule in _RULES.items():
        if counter.startswith("ptflops") and samples != 1:
            continue
        figures = [rule(call) for call in rows]
        known = [figure for figure in figures if figure is not None]
        if len(known) == len(figures):
            totals[counter] = sum(known)
    return totals
