"""`--claim`: claimed numbers of operations, answered from the count of a model and from counts at other input sizes."""

from __future__ import annotations

from contextlib import redirect_stderr, suppress
from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING, Any

from convcost.models.conventions import answer, image_of, plausible_sizes
from convcost.system.terminal import show_progress
from convcost.text.errors import ConvcostError
from convcost.text.sizes import Input

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from convcost.models.report import ModelReport


def answer_for_target(counted: ModelReport, args: Mapping[str, object], claims: Sequence[str]) -> ModelReport:
    """The report of a target with its answers to the claims; the target is loaded again.

    Args:
        counted: Report of the target.
        args: Arguments of the callable.
        claims: Claimed numbers.

    Raises:
        ConvcostError: A claim that is no number.
    """
    from convcost.nn.load.target import load_target
    from convcost.nn.load.user_code import user_code_context

    with user_code_context(counted.target):
        return answer_for_module(counted, load_target(counted.target, args).module, claims)


def answer_for_module(counted: ModelReport, model: Any, claims: Sequence[str]) -> ModelReport:  # noqa: ANN401 - a module or a function, as `convcost.count` takes them
    """The report of a model with its answers to the claims; a model of square images is counted at other sizes too.

    Args:
        counted: Report of the model.
        model: The model.
        claims: Claimed numbers.

    Raises:
        ConvcostError: A claim that is no number.
    """
    from convcost.nn.count.model_report import report
    from convcost.nn.load.target import tensors_for

    image, others = image_of(counted), []
    if image is not None and image.height == image.width and counted.conditions["device"] == "meta":
        for size in plausible_sizes(image.height):
            show_progress(f"counting at {size}x{size} ...")
            inputs = Input((image.samples, image.channels, size, size))
            # A model of fixed size raises a ConvcostError; what it prints was printed by the count of its own size.
            with redirect_stderr(StringIO()), suppress(ConvcostError):
                others.append(report(model, *tensors_for((inputs,), "meta")))
    return replace(counted, claims=answer(claims, counted, others))
