"""`convcost.count_many`: one count for each configuration of a model, in one process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from convcost.models.sweep import Sweep, Variant
from convcost.system.terminal import ProgressLine
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable


def count_configurations(
    factory: Callable[..., object],
    configurations: Iterable[Mapping[str, Any]],
    inputs: object,
    *,
    device: str,
) -> Sweep:
    """Make and count the model of each configuration; one that fails has its reason in its row.

    An interrupt ends it, with the rows so far.

    Raises:
        ConvcostError: The configurations are no sequence of mappings.
    """
    chosen = list(configurations) if isinstance(configurations, Iterable) else [configurations]
    if not all(isinstance(one, Mapping) for one in chosen):
        raise ConvcostError("configurations must be a list of dicts, each with arguments of the factory by name.")
    rows: list[Variant] = []
    with ProgressLine() as progress:
        try:
            for number, arguments in enumerate(chosen, 1):
                words = ", ".join(f"{name}={value}" for name, value in arguments.items())
                progress(f"{number} of {len(chosen)}: {words}")
                rows.append(_variant(factory, arguments, inputs, device))
        except KeyboardInterrupt:
            pass
    return Sweep(factory_name(factory), tuple(rows), len(chosen))


def _variant(factory: Callable[..., object], arguments: Mapping[str, Any], inputs: object, device: str) -> Variant:
    from convcost.nn.count.model_report import report
    from convcost.nn.load.target import from_factory

    name = factory_name(factory)
    try:
        loaded = from_factory(name, factory, arguments, "cpu" if device == "cpu" else "meta")
        counted = report(loaded.module, inputs, device=device)
    except ConvcostError as error:
        return Variant(dict(arguments), None, str(error))
    return Variant(dict(arguments), replace(counted, target=name))


def factory_name(factory: Callable[..., object]) -> str:
    """The name of a function or class."""
    return getattr(factory, "__name__", type(factory).__name__)
