"""Models of torchvision and timm, when the user has them: never downloaded, always without weights."""

from __future__ import annotations

import importlib
from functools import partial
from typing import TYPE_CHECKING, Any

from convcost.text.errors import ConvcostError, MissingPackageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["zoo_factory"]


def zoo_factory(package: str, name: str) -> Callable[..., object]:
    """What makes the model of this name, without weights.

    Args:
        package: `torchvision` or `timm`.
        name: of the model, as the package's own `list_models` has it.

    Raises:
        MissingPackageError: the package is not installed, or raises when it is imported.
        ConvcostError: the package has no such model.
    """
    zoo = _import(package)
    known = zoo.list_models()
    if name not in known:
        msg = f"target (={package}:{name}) must be a model of {package}; {did_you_mean(name, known)}"
        raise ConvcostError(msg)
    if package == "timm":
        return partial(zoo.create_model, name, pretrained=False)
    return partial(zoo.get_model, name, weights=None)


def _import(package: str) -> Any:
    try:
        return importlib.import_module("torchvision.models" if package == "torchvision" else package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise _broken(package, error) from error
        msg = f"target (={package}:...) needs {package}, which is not installed; pip install 'convcost[{package}]'."
        raise MissingPackageError(msg) from error
    except Exception as error:  # a build for another torch raises RuntimeError and more
        raise _broken(package, error) from error


def _broken(package: str, error: Exception) -> MissingPackageError:
    why = " ".join(str(error).split())[:200]
    msg = (
        f"target (={package}:...) needs {package}, which raises {type(error).__name__} when imported: {why}; "
        f"install the release of {package} for this torch."
    )
    return MissingPackageError(msg)
