"""One recorded forward pass of a model, which is left as it was."""

from __future__ import annotations

import re
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Final

import torch

from convcost.nn.count.cpu_trial import ForwardError
from convcost.nn.count.isolation import alone, can_isolate, compiled_functions_run_as_they_are, same_random_numbers
from convcost.nn.count.other_threads import Suspicion, ends_only_with_others
from convcost.nn.count.tensors import shape_of, tensors_in
from convcost.nn.count.trace import Recorder
from convcost.nn.load.gradients import gradients_restored
from convcost.nn.load.meta_device import any_device_allowed, parts_of, restored_after, switch_to_eval, tensors_of
from convcost.nn.load.user_code import forward_failure, is_own_fault, own_fault, running_user_code, user_line
from convcost.system.processor import collection_paused
from convcost.system.signals import InterruptsPostponed, interruptible
from convcost.system.threads import without_warnings
from convcost.text.errors import ConvcostError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import nn

    from convcost.nn.count.counted_call import Arguments, PlacedCall
    from convcost.nn.load.placement import Placement


@contextmanager
def same_conditions() -> Iterator[None]:
    """What each run of a model begins with; compiled functions run as they are."""
    with same_random_numbers(), torch.no_grad(), compiled_functions_run_as_they_are():
        yield


@contextmanager
def ready(model: nn.Module, device: str, inputs: Placement | None = None) -> Iterator[dict[str, nn.Module]]:
    """The model ready for one forward pass, from the same random numbers each time, and its parts by path.

    Ctrl-C waits until the model is as it was, except where it is `interruptible`.

    Args:
        model: The model.
        device: "meta" to run with meta tensors in place of its own; anything else to leave those.
        inputs: Where its inputs were put, some of which may be its own tensors.
    """
    paused = collection_paused() if device == "meta" else nullcontext()
    with (
        InterruptsPostponed(),
        alone(model) as parts,
        paused,
        same_conditions(),
        gradients_restored(tensors_of(parts.values())),
        restored_after(parts.values(), device, inputs),
    ):
        with running_user_code(partial(_eval_error, model)):
            ready = switch_to_eval(model, parts, device)
        yield ready


def _eval_error(model: nn.Module, error: BaseException) -> ConvcostError:
    where = user_line(error) or type(model).__name__
    return ForwardError(
        f"eval() of the model raises {type(error).__name__} at {where}: {first_line(error)}; "
        "call eval() before counting.",
        where,
    )


@contextmanager
def recorded(
    model: nn.Module, parts: Mapping[str, nn.Module], inputs: Arguments, device: str, *, shows_cpu: bool = False
) -> Iterator[Recorder]:
    """The record of a forward pass, or of its part before Ctrl-C; what it overwrote is restored afterwards.

    Raises:
        KeyboardInterrupt: After the use of an interrupted record.
    """
    args, kwargs = inputs
    tensors = tensors_in((args, kwargs))
    recorder = Recorder(model, parts, tensors, device, shows_cpu=shows_cpu)
    describe = partial(_forward_error, model, recorder, inputs)
    allowed = any_device_allowed() if device == "meta" else nullcontext()
    with gradients_restored(tensors), recorder.kept.restored():
        try:
            with (
                running_user_code(describe),
                without_warnings(),
                allowed,
                recorder,
            ):  # warnings belong to the model's runs
                recorder.output = out = interruptible(lambda: model(*args, **kwargs))
        except KeyboardInterrupt:
            recorder.is_interrupted = True
            yield recorder
            raise
        if recorder.suspicion is not None:
            recorder.suspicion.look_at(tensors_in(out), "")
        yield recorder


def run_again(model: nn.Module, inputs: PlacedCall, device: str) -> None:
    """Record another forward pass, whose rows nobody needs."""
    with ready(model, device, inputs.placement) as parts, recorded(model, parts, inputs.arguments, device):
        pass


def require_no_other_threads(suspicion: Suspicion, run: Callable[[], None], seconds: float) -> None:
    """Refuse a forward pass with results of threads that it did not start, whose operators have no rows."""
    if suspicion.place is None:
        return
    if ends_only_with_others(run, seconds) if can_isolate() else suspicion.is_strong:
        raise ConvcostError(
            f"a tensor in {suspicion.place or 'the model'} comes from a thread that was started before the forward "
            "pass, where operators are not seen; start the thread in forward, or call the module without one."
        )


def _forward_error(model: nn.Module, recorder: Recorder, inputs: Arguments, error: BaseException) -> ConvcostError:
    """The error for a forward pass that raised: the module, what it expects, and its input."""
    if is_own_fault(error):
        return own_fault(error)
    path = recorder.path
    part = parts_of(model).get(path, model)
    channels = (name for name in ("in_channels", "in_features") if hasattr(part, name))
    expected = next((f"expects {name} {getattr(part, name)}, " for name in channels), "")
    shape = recorder.failed_shape or next((shape_of(a) for a in inputs[0] if isinstance(a, torch.Tensor)), None)
    outcome = f"got input {'x'.join(map(str, shape))}" if shape else "could not run"
    name = f"{path or 'the model'} ({type(part).__name__})"
    where = user_line(error) or path or type(model).__name__
    return ForwardError(
        f"{name} {expected}{outcome}: {forward_failure(error, _other_dtype(inputs, shape, error))}", where
    )


def _other_dtype(inputs: Arguments, shape: tuple[int, ...] | None, error: BaseException) -> str | None:
    """The next step for an input, if possible one of this shape, whose dtype is refused; None for another error."""
    text = str(error)
    expected = re.sub(_GIVEN, "", text, flags=re.DOTALL)
    for tensor in sorted(tensors_in(inputs), key=lambda one: shape_of(one) != shape):
        if tensor.is_floating_point():
            wanted, is_refused = "int64", re.search(_WANTS_INTEGERS, expected) is not None
        else:
            kind = tensor.type().rpartition(".")[2].removesuffix("Tensor")
            wanted, is_refused = (
                "float32",
                bool(re.search(_WANTS_FLOATS, text)) or f"not implemented for '{kind}'" in text,
            )
        if is_refused:
            sizes = "x".join(map(str, tensor.shape))
            return f"write the input as {sizes}:{wanted}, in Python as a tensor of torch.{wanted}"
    return None


_GIVEN: Final = r"not implemented for '\w+'|\b([Gg]ot|found)\b.*"
"""Words of torch's messages with the dtype that an operator got."""
_WANTS_INTEGERS: Final = r"\b(Long|long|LongTensor|int32(/| or )int64|integral)\b"
_WANTS_FLOATS: Final = r"same (d|data ?)?type|should be the same|\bfloating point\b|scalar type Float"
"""Words of torch's messages about a dtype that an operator refuses."""
