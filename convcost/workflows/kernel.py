"""`convcost kernel`: kernels with their factors, or the spectra of a network's convolutions."""

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

    from convcost.timing.conditions import TimingOptions


def separate_kernels(
    words: Sequence[str],
    parameters: Mapping[str, float | None],
    tolerance: float | None,
    input_size: tuple[int, int, int],
) -> KernelReport:
    """Rank, factors and costs of kernels, and the outputs of kernel and factors compared with NumPy.

    Args:
        words: Kernels as names, files or matrices.
        parameters: Size, sigma, theta, wavelength and gamma of named kernels.
        tolerance: Share of the largest singular value up to which others count as 0; None for the default of the dtype.
        input_size: Channels, height and width of the layers' input.

    Raises:
        ConvcostError: A word that is no kernel, or a value outside its range.
    """
    _require_tolerance(tolerance)
    require_at_least(1, in_channels=input_size[0])
    matrices = [find_kernel(word, parameters) for word in words]
    channels, height, width = input_size
    rows = []
    for matrix in matrices:
        spec = Spec(channels, channels, (matrix.height, matrix.width), height, width)
        parts = separate_matrix(matrix, tolerance)
        rows.append(KernelRow(matrix, parts, *as_layers(parts, spec), agreement(matrix, parts, height, width)))
    integers = [matrix.name for matrix in matrices if matrix.whole] if tolerance is not None else []
    notes = [f"{name} holds integers: its rank is exact, whatever the tolerance." for name in integers]
    zeros = [row.matrix.name for row in rows if row.separation.rank == 0]
    notes += [f"{name} is all zeros and needs no products; the layers are still built, as of rank 1." for name in zeros]
    return KernelReport(tuple(rows), tuple(notes))


def time_kernels(report: KernelReport, options: TimingOptions, watch: Callable[[str], None]) -> Iterator[KernelReport]:
    """The report after each timed kernel; the kernels share the time budget.

    Args:
        report: Report of `separate_kernels`.
        options: Device, threads and time budget.
        watch: Called with a line of progress.

    Raises:
        ConvcostError: A device or a number of threads that this machine does not have.
    """
    watch("importing torch ...")
    from convcost.nn.measure.device import resolve_device
    from convcost.nn.measure.kernels import measure_kernel
    from convcost.nn.measure.this_machine import fingerprint

    where = resolve_device(options.devices[0])
    options = replace(options, time_budget=options.time_budget / len(report.rows))
    rows, notes = list(report.rows), report.notes
    for i, row in enumerate(rows):
        timing, new = measure_kernel(row, options, watch)
        rows[i] = replace(row, timing=timing)
        kept = keep_kernel(rows[i], options.time_budget, new, fingerprint(str(where))) if options.store else ()
        notes = tuple(dict.fromkeys((*notes, *new, *kept)))
        yield replace(report, rows=tuple(rows), notes=notes)


def separate_model(
    target: str, args: Sequence[str], tolerance: float | None, watch: Callable[[str], None]
) -> Iterator[WeightsReport]:
    """The report on a network's convolutions with K > 1, first without spectra, then after each spectrum.

    Args:
        target: Target as for `convcost model`, or a file of weights.
        args: Arguments of the callable, as key=value.
        tolerance: Share of the largest singular value up to which others count as 0; None for the default of the dtype.
        watch: Called with a line of progress.

    Raises:
        ConvcostError: A target that does not load, or one without a convolution with K > 1.
    """
    _require_tolerance(tolerance)
    arguments = dict(map(parse_arg, args))
    watch("importing torch ...")
    from convcost.nn.load.spectrum import layer_row
    from convcost.nn.load.weights import convolutions_of
    from convcost.system.processor import return_freed_memory

    return_freed_memory()
    layers, notes = convolutions_of(target, arguments)
    rows = [layer.row for layer in layers]
    yield WeightsReport(target, tuple(rows), notes)
    for index, layer in enumerate(layers):
        watch(f"singular values of {layer.name} ({index + 1} of {len(layers)}) ...")
        rows[index] = layer_row(layer, tolerance)
        yield WeightsReport(target, tuple(rows), notes)


def _require_tolerance(tolerance: float | None) -> None:
    if tolerance is not None and not 0 <= tolerance < 1:
        msg = f"tolerance (={tolerance}) must be a share of the largest singular value, from 0 to below 1; 1e-6 is one."
        raise ConvcostError(msg)
