"""Named kernels, each with its source.

Entries are exact where the source gives integers or fractions. Kernels are not flipped, as in torch: a derivative is
positive where the image rises to the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, comb, cos, exp, isfinite, pi, radians, sin, sqrt
from typing import TYPE_CHECKING, Final, TypeAlias

from convcost.kernels.matrix import DOUBLE_EPS, MAX_SIDE, Matrix
from convcost.kernels.text import parse_matrix
from convcost.text.errors import ConvcostError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from convcost.kernels.matrix import Entry

Rows: TypeAlias = "Sequence[Sequence[Entry]]"

MIN_SIZE: Final = 2
MIN_SIGMA: Final = 0.05
"""Smallest sigma; a narrower gaussian has only one entry that is not negligible."""
NEGLIGIBLE: Final = 1e-99
"""Size up to which an entry becomes 0: `Matrix` refuses entries below 1e-100."""


@dataclass(frozen=True, slots=True)
class NamedKernel:
    """A kernel of the collection.

    Attributes:
        name: Name on the command line.
        summary: Description in one line.
        source: Paper or book that defines it.
        make: Function that makes the rows from the parameters.
        defaults: Parameters with their defaults; None for a default that follows from the others.
    """

    name: str
    summary: str
    source: str
    make: Callable[..., Rows]
    defaults: Mapping[str, float | None]

    @property
    def parameters(self) -> str:
        """The parameters with their defaults, such as `size=3`."""
        return " ".join(name if value is None else f"{name}={value:g}" for name, value in self.defaults.items())


KERNELS: Final[dict[str, NamedKernel]] = {}
"""All named kernels, by name."""


def named_kernel(name: str, **given: float) -> Matrix:
    """The kernel of this name.

    Args:
        name: Name such as `sobel`, in upper or lower case.
        **given: Size (pixels), sigma (pixels), theta (degrees), wavelength (pixels) or gamma.

    Raises:
        ConvcostError: The kernel is unknown, lacks a parameter, or a value is outside its range.

    >>> named_kernel("sobel").entries
    ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))
    """
    kernel = KERNELS.get(name.lower())
    if kernel is None:
        raise unknown_kernel(name)
    for parameter, value in given.items():
        if parameter not in kernel.defaults:
            has = ", ".join(kernel.defaults) or "none"
            msg = f"{parameter} (={value}) must be a parameter of {kernel.name}, which has {has}; leave it out."
            raise ConvcostError(msg)
        _require(parameter, value)
    rows = kernel.make(**{**kernel.defaults, **given})
    is_float = any(isinstance(entry, float) for row in rows for entry in row)
    return Matrix(kernel.name, tuple(map(tuple, rows)), DOUBLE_EPS if is_float else 0.0)


def unknown_kernel(name: str) -> ConvcostError:
    """The error for an unknown name, with the nearest known one."""
    hint = did_you_mean(name, KERNELS, f"known: {', '.join(KERNELS)}; or numbers, as '1 0 -1; 2 0 -2'.")
    return ConvcostError(f"kernel (={name}) must be a named kernel, a file or a matrix; {hint}")


def _require(name: str, value: float) -> None:
    if name == "size" and (not isinstance(value, int) or not MIN_SIZE <= value <= MAX_SIDE):
        raise ConvcostError(f"size (={value}) must be a whole number from {MIN_SIZE} to {MAX_SIDE}; 3 is a usual one.")
    low = float("-inf") if name == "theta" else 0.0
    if not isfinite(value) or value <= low:
        rule = "a finite number of degrees" if name == "theta" else "a finite number above 0"
        raise ConvcostError(f"{name} (={value}) must be {rule}; leave it out for the default.")
    if name == "sigma" and not MIN_SIGMA <= value <= MAX_SIDE:
        raise ConvcostError(f"sigma (={value}) must be from {MIN_SIGMA} to {MAX_SIDE} pixels; 1 is a usual one.")


def _register(name: str, source: str, **defaults: float | None) -> Callable[[Callable[..., Rows]], Callable[..., Rows]]:
    def register(make: Callable[..., Rows]) -> Callable[..., Rows]:
        KERNELS[name] = NamedKernel(name, make.__doc__ or "", source, make, defaults)
        return make

    return register


def _fixed(name: str, text: str, summary: str, source: str) -> None:
    KERNELS[name] = NamedKernel(name, summary, source, lambda: parse_matrix(text).entries, {})


_SOBEL = "Sobel, Feldman 1968, A 3x3 Isotropic Gradient Operator for Image Processing"
_SCHARR = "Scharr 2000, Optimale Operatoren in der Digitalen Bildverarbeitung"
_PREWITT = "Prewitt 1970, Object Enhancement and Extraction"
_GONZALEZ = "Gonzalez, Woods 2008, Digital Image Processing, 3rd edition, section 3.6"
_GIMP = "the convolution matrices of the GIMP manual"
_fixed("identity", "0 0 0; 0 1 0; 0 0 0", "The image itself.", _GIMP)
_fixed("sobel", "-1 0 1; -2 0 2; -1 0 1", "Horizontal derivative, smoothed vertically.", _SOBEL)
_fixed("sobel-y", "-1 -2 -1; 0 0 0; 1 2 1", "Vertical derivative, smoothed horizontally.", _SOBEL)
_fixed("scharr", "-3 0 3; -10 0 10; -3 0 3", "Horizontal derivative with better rotation symmetry.", _SCHARR)
_fixed("scharr-y", "-3 -10 -3; 0 0 0; 3 10 3", "Vertical derivative with better rotation symmetry.", _SCHARR)
_fixed("prewitt", "-1 0 1; -1 0 1; -1 0 1", "Horizontal derivative, averaged vertically.", _PREWITT)
_fixed("prewitt-y", "-1 -1 -1; 0 0 0; 1 1 1", "Vertical derivative, averaged horizontally.", _PREWITT)
_fixed("roberts", "1 0; 0 -1", "Diagonal difference.", "Roberts 1963, Machine Perception of Three-Dimensional Solids")
_fixed("kirsch", "5 5 5; -3 0 -3; -3 -3 -3", "Compass edge, north.", "Kirsch 1971, Computer Determination of Structure")
_fixed("laplacian", "0 1 0; 1 -4 1; 0 1 0", "Second derivatives along both axes (4 neighbours).", _GONZALEZ)
_fixed("laplacian8", "1 1 1; 1 -8 1; 1 1 1", "Second derivatives with the diagonals (8 neighbours).", _GONZALEZ)
_fixed("sharpen", "0 -1 0; -1 5 -1; 0 -1 0", "The image minus its laplacian.", _GONZALEZ)
_fixed("emboss", "-2 -1 0; -1 1 1; 0 1 2", "Relief lit from a corner.", _GIMP)


@_register("box", "Gonzalez, Woods 2008, Digital Image Processing, 3rd edition, section 3.5", size=3)
def _box(size: int) -> Rows:
    """The mean of size × size pixels."""
    return [[Fraction(1, size * size)] * size for _ in range(size)]


@_register("binomial", "Burt, Adelson 1983, The Laplacian Pyramid as a Compact Image Code", size=3)
def _binomial(size: int) -> Rows:
    """Pascal's triangle on both axes, an integer approximation of the gaussian."""
    line = [comb(size - 1, i) for i in range(size)]
    return [[Fraction(a * b, 4 ** (size - 1)) for b in line] for a in line]


@_register(
    "gaussian", "Marr, Hildreth 1980, Theory of Edge Detection; default sigma: OpenCV's formula", size=None, sigma=None
)
def _gaussian(size: int | None, sigma: float | None) -> Rows:
    """The normal distribution on both axes, sum 1; default size 5, or 3 sigma to each side."""
    if size is None:
        size = 5 if sigma is None else _span(sigma)
    if sigma is None:
        sigma = 0.3 * ((size - 1) * 0.5 - 1) + 0.8
    line = [exp(-((x / sigma) ** 2) / 2) for x in _offsets(size)]
    return [[_normal(a * b / sum(line) ** 2) for b in line] for a in line]


@_register("log", "Marr, Hildreth 1980, Theory of Edge Detection", size=None, sigma=1.4)
def _log(size: int | None, sigma: float) -> Rows:
    """Laplacian of a gaussian, sampled (its mean is not taken out); default size 3 sigma to each side."""

    def value(x: float, y: float) -> float:
        square = (x * x + y * y) / (2 * sigma**2)
        return _normal((square - 1) * exp(-square) / (pi * sigma**4))

    offsets = _offsets(_span(sigma) if size is None else size)
    return [[value(x, y) for x in offsets] for y in offsets]


@_register("gabor", "Daugman 1985, Uncertainty Relation for Resolution in Space, Spatial Frequency, and Orientation",
           size=9, sigma=2.0, theta=0.0, wavelength=4.0, gamma=1.0)  # fmt: skip
def _gabor(size: int, sigma: float, theta: float, wavelength: float, gamma: float) -> Rows:
    """A cosine wave along theta degrees under a gaussian; gamma is its height over its width."""
    along, across = cos(radians(theta)), sin(radians(theta))

    def value(x: float, y: float) -> float:
        u, v = x * along + y * across, y * along - x * across
        return _normal(exp(-(u * u + (gamma * v) ** 2) / (2 * sigma**2)) * cos(2 * pi * u / wavelength))

    return [[value(x, y) for x in _offsets(size)] for y in _offsets(size)]


@_register("frei-chen", "Frei, Chen 1977, Fast Boundary Detection: A Generalization and a New Algorithm")
def _frei_chen() -> Rows:
    """Horizontal derivative with the isotropic weight sqrt(2)."""
    return [[-a, 0.0, a] for a in (1.0, sqrt(2.0), 1.0)]


def _offsets(size: int) -> list[float]:
    """The positions of the pixels, from the middle of the kernel."""
    return [i - (size - 1) / 2 for i in range(size)]


def _span(sigma: float) -> int:
    """The odd size that reaches 3 sigma to each side."""
    size = 2 * ceil(3 * sigma) + 1
    if size > MAX_SIDE:
        msg = f"sigma (={sigma:g}) must leave room for 3 sigma to each side, {size} of {MAX_SIDE} pixels; give size."
        raise ConvcostError(msg)
    return size


def _normal(value: float) -> float:
    return value if abs(value) > NEGLIGIBLE else 0.0
