"""What a convolution really costs: the formula, the count and the clock, side by side."""

__all__ = [
    "BLOCKS",
    "Conv",
    "ConvcostError",
    "Cost",
    "Layer",
    "Shape",
    "__version__",
    "check",
    "compare",
    "cost",
    "count",
    "count_many",
    "diff",
    "explain",
    "history",
    "macs",
    "params",
    "register",
    "replace",
    "separate",
    "sweep",
]

TYPE_CHECKING = False  # as typing has it, which takes milliseconds to import

if TYPE_CHECKING:
    from convcost._version import __version__
    from convcost.api import (
        check,
        compare,
        count,
        count_many,
        diff,
        explain,
        history,
        register,
        replace,
        separate,
        sweep,
    )
    from convcost.convolution.blocks import BLOCKS
    from convcost.convolution.conv import Conv
    from convcost.convolution.cost import Cost, cost, macs, params
    from convcost.convolution.layer import Layer
    from convcost.convolution.shape import Shape
    from convcost.text.errors import ConvcostError
else:
    _MODULES = {
        "__version__": "_version",
        "BLOCKS": "convolution.blocks",
        "Conv": "convolution.conv",
        **dict.fromkeys(("Cost", "cost", "macs", "params"), "convolution.cost"),
        "Layer": "convolution.layer",
        "Shape": "convolution.shape",
        "ConvcostError": "text.errors",
    }
    """The modules of the names that are not in `api`."""

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used: the command line handles Ctrl-C before it imports the rest."""
        if name not in __all__:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'api')}"), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
