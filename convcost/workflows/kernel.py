"""What `convcost kernel` names becomes a report: kernels with their factors, or the convolutions of a network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from convcost.archive.storing import keep_kernel
from convcost.convolution.shape import require_at_least
from convcost.convolution.spec import Spec
from convcost.kernels.demonstration import agreement, as_layers
from convcost.kernels.kernel_file import find_kernel
from convcost.kernels.report import KernelReport, WeightsReport
from convcost.kernels.row import KernelRow
from convcost.kernels.separability import separate_matrix
from convcost.text.errors import ConvcostError
from convcost.text.sizes import parse_arg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from convcost.timing.options import TimingOptions

__all__ = ["separate_kernels", "separate_model", "time_kernels"]


def separate_kernels(
    words: Sequence[str],
    parameters: Mapping[str, float | None],
    tolerance: float | None,
    input_size: tuple[int, int, int],
) -> KernelReport:
    """Rank, factors and costs of kernels, and that the factors do the same; NumPy only.

    Args:
        words: a name, a file or a matrix each.
        parameters: size, sigma, theta, wavelength and gamma of named kernels.
        tolerance: of floating point kernels; that of their precision by default.
        input_size: channels, height and width of the input of the layers.

    Raises:
        ConvcostError: a word that is no kernel, or a value outside its range.
    """
    _require_tolerance(tolerance)
    require_at_least(1, in_channels=input_size[0])
    matrices = [find_kernel(word, parameters) for word in words]
    channels, height, width = input_size
    rows = []
    for matrix in matrices:
        spec = Spec(channels, channels, (matrix.height, matrix.width), height, width)
        found = separate_matrix(matrix, tolerance)
        rows.append(KernelRow(matrix, found, *as_layers(found, spec), agreement(matrix, found, height, width)))
    whole = [matrix.name for matrix in matrices if matrix.whole] if tolerance is not None else []
    notes = [f"{name} holds integers: its rank is exact, whatever the tolerance." for name in whole]
    zeros = [row.matrix.name for row in rows if row.separation.rank == 0]
    notes += [f"{name} is all zeros and needs no products; the layers are still built, as of rank 1." for name in zeros]
    return KernelReport(tuple(rows), tuple(notes))


def time_kernels(report: KernelReport, options: TimingOptions, watch: Callable[[str], None]) -> Iterator[KernelReport]:
    """The report with times, after each kernel that was timed; the kernels share the budget.

    Args:
        report: from `separate_kernels`.
        options: where and how long to time.
        watch: is called with a line of progress.

    Raises:
        ConvcostError: a device or a number of threads that this machine does not have.
    """
    watch("importing torch ...")
    from convcost.nn.measure.device import resolve_device
    from convcost.nn.measure.kernels import measure_kernel
    from convcost.nn.measure.this_machine import fingerprint

    where = resolve_device(options.devices[0])
    options = replace(options, time_budget=options.time_budget / len(report.rows))
    rows, said = list(report.rows), report.notes
    for i, row in enumerate(rows):
        timing, notes = measure_kernel(row, options, watch)
        rows[i] = replace(row, timing=timing)
        kept = keep_kernel(rows[i], options.time_budget, notes, fingerprint(str(where))) if options.store else ()
        said = tuple(dict.fromkeys((*said, *notes, *kept)))
        yield replace(report, rows=tuple(rows), notes=said)


def separate_model(
    target: str, args: Sequence[str], tolerance: float | None, watch: Callable[[str], None]
) -> Iterator[WeightsReport]:
    """The convolutions of a network with K > 1: once they are known, and after each that was decomposed.

    Args:
        target: as for `convcost model`, or a file of weights.
        args: key=value, for the callable.
        tolerance: singular values up to this share of a kernel's largest count as 0; that of the dtype by default.
        watch: is called with a line of progress.

    Raises:
        ConvcostError: a target that does not load, or one without a convolution with K > 1.
    """
    _require_tolerance(tolerance)
    arguments = dict(map(parse_arg, args))
    watch("importing torch ...")
    from convcost.nn.load.spectrum import layer_row
    from convcost.nn.load.weights import convolutions_of
    from convcost.system.processor import return_freed_memory

    return_freed_memory()
    found, notes = convolutions_of(target, arguments)
    rows = [layer.row for layer in found]
    yield WeightsReport(target, tuple(rows), notes)
    for index, layer in enumerate(found):
        watch(f"singular values of {layer.name} ({index + 1} of {len(found)}) ...")
        rows[index] = layer_row(layer, tolerance)
        yield WeightsReport(target, tuple(rows), notes)


def _require_tolerance(tolerance: float | None) -> None:
    if tolerance is not None and not 0 <= tolerance < 1:
        msg = f"tolerance (={tolerance}) must be a share of the largest singular value, from 0 to below 1; 1e-6 is one."
        raise ConvcostError(msg)
