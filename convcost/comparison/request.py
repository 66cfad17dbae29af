"""What a comparison was asked for, checked, and its predicted view: pure, and all that the first table needs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal

from convcost.comparison.rows import Placed, Row, place_block
from convcost.convolution.blocks import BLOCKS, DEFAULT_BLOCKS, PARAMETERS, find_block
from convcost.convolution.cost import ITEMSIZE
from convcost.convolution.spec import Spec
from convcost.text.errors import ConvcostError, ShapeError
from convcost.text.sizes import format_sizes, pair, plain
from convcost.timing.options import MEMORY_FORMATS, require_one_of, require_timing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from convcost.convolution.spec import Value


__all__ = ["Prediction", "Request", "predict"]


def catalogue(names: Sequence[str] | None) -> tuple[str, ...]:
    """Block names with `all` written out, each once; the six usual ones for None."""
    wanted = [BLOCKS if name == "all" else (name,) for name in names or DEFAULT_BLOCKS]
    return tuple(dict.fromkeys(name for group in wanted for name in group))


def make_spec(  # noqa: PLR0913, PLR0917 - the shape options, one by one
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    height: int,
    width: int | None,
    batch: int,
    stride: int | tuple[int, int],
    dilation: int | tuple[int, int],
    padding: int | tuple[int, int] | Literal["same", "valid"],
    *,
    bias: bool,
) -> Spec:
    """The layer shape of the options, single numbers spread over both axes."""
    return Spec(
        plain(in_channels),
        plain(out_channels),
        pair(kernel_size),
        plain(height),
        plain(height if width is None else width),
        plain(batch),
        pair(stride),
        pair(dilation),
        padding if isinstance(padding, str) else pair(padding),
        bool(bias),
    )


OPTION_NAMES: Final = {"depth_multiplier": "m", "mid_channels": "mid", "ghost_ratio": "ghost-ratio"}
"""Options of the command line whose names are not those of the block parameters."""


@dataclass(frozen=True, slots=True)
class Request:
    """A comparison that was asked for.

    Attributes:
        spec: the layer shape.
        given: parameters of single blocks that were set.
        blocks: names, in the order of the rows.
        baseline: the block that ratios and speed-ups are relative to.
        count: whether the real modules are counted.
        time: whether they are timed.
        devices: to time on.
        dtype: of every element.
        memory_format: contiguous or channels_last.
        threads: of torch on the CPU, a number or "all".
        compiled: whether torch.compile is used.
        allocator: pinned or default.
        time_budget: seconds for all timing together.
        why: whether the times are accounted for.
        store: whether timings go into the history.
        reuse: whether a run of the history may stand for the timing.
        roofline: whether the rows are drawn under the roofs of the machine, which then must be calibrated.

    Raises:
        ConvcostError: an unknown block, dtype, memory format or allocator, threads or a budget below their least.
    """

    spec: Spec
    given: Mapping[str, Value]
    blocks: tuple[str, ...] = DEFAULT_BLOCKS
    baseline: str = "standard"
    count: bool = True
    time: bool = True
    devices: tuple[str, ...] = ("auto",)
    dtype: str = "float32"
    memory_format: str = "contiguous"
    threads: int | Literal["all"] = 1
    compiled: bool = False
    allocator: str = "pinned"
    time_budget: float = 8.0
    why: bool = False
    store: bool = True
    reuse: bool = False
    roofline: bool = False

    def __post_init__(self) -> None:
        """Refuse what no block could make good."""
        for name in (*self.blocks, self.baseline):
            find_block(name)
        for name, value in self.given.items():
            PARAMETERS[name].require(value)
        require_one_of("dtype", self.dtype, tuple(ITEMSIZE))
        require_one_of("memory_format", self.memory_format, MEMORY_FORMATS)
        require_timing(self.allocator, self.threads, self.time_budget)
        if self.why and (not self.time or self.compiled):
            option = "--compile" if self.time else "--no-time"
            msg = f"--why (={option}) must have eager timings to account for; leave out {option}."
            raise ConvcostError(msg)
        if self.roofline and not self.time:
            msg = "--roofline must have times; leave out --no-time."
            raise ConvcostError(msg)

    @property
    def command(self) -> str:
        """The command line that asks for the same."""
        spec = self.spec
        words = [f"--c {spec.in_channels}", f"--o {spec.out_channels}", f"--k {format_sizes(spec.kernel_size)}"]
        words += [f"--h {spec.height}", f"--w {spec.width}"]
        words += [f"--bs {spec.batch}"] if spec.batch != 1 else []
        words += [f"--{name} {format_sizes(getattr(spec, name))}" for name in ("stride", "dilation")
                  if getattr(spec, name) != (1, 1)]  # fmt: skip
        padding = spec.padding if isinstance(spec.padding, str) else format_sizes(spec.padding)
        words += [f"--padding {padding}"] if padding != "same" else []
        words += ["--bias"] if spec.bias else []
        words += [f"--{OPTION_NAMES.get(name, name)} {value}" for name, value in self.given.items()]
        words += [f"--block {name}" for name in self.blocks] if self.blocks != DEFAULT_BLOCKS else []
        words += self._changed_options()
        return " ".join(["convcost compare", *words])

    def _changed_options(self) -> list[str]:
        words = [word for word, wanted in (("--no-count", self.count), ("--no-time", self.time),
                                       ("--no-store", self.store)) if not wanted]  # fmt: skip
        words += ["--reuse"] if self.reuse else []
        words += ["--compile"] if self.compiled else []
        words += [word for word, wanted in (("--why", self.why), ("--roofline", self.roofline)) if wanted]
        words += [f"--device {name}" for name in self.devices] if self.devices != ("auto",) else []
        defaults = {field.name: field.default for field in fields(self)}
        options = ("baseline", "dtype", "memory_format", "threads", "allocator", "time_budget")
        changed = [(name, getattr(self, name)) for name in options if getattr(self, name) != defaults[name]]
        return words + [f"--{name.replace('_', '-')} {value}" for name, value in changed]

    @property
    def settings(self) -> dict[str, Any]:
        """The conditions that were asked for, for the JSON object."""
        return {
            "devices": list(self.devices),
            "dtype": self.dtype,
            "threads": self.threads,
            "memory_format": self.memory_format,
            "compiled": self.compiled,
            "allocator": self.allocator,
            "time_budget_s": self.time_budget,
            "counted": self.count,
            "timed": self.time,
        }


@dataclass(frozen=True, slots=True)
class Prediction:
    """The predicted view of a request.

    Attributes:
        rows: one a block that the shape allows.
        baseline: what ratios are relative to; None where the shape does not allow it.
        notes: blocks that are left out and why, options without effect.
    """

    rows: tuple[Row, ...]
    baseline: Placed | None
    notes: tuple[str, ...]


def predict(request: Request) -> Prediction:
    """Place every block of a request and work out its costs.

    Raises:
        ShapeError: the shape allows none of the blocks.
    """
    notes = list(_options_without_effect(request))
    baseline: Placed | None = None
    try:
        baseline = place_block(request.baseline, request.spec, request.given, request.dtype)
    except ShapeError as error:
        notes.append(f"no ratios: the baseline {request.baseline} does not fit this shape: {error}")
    placed, refused = [], []
    for name in request.blocks:
        try:
            placed.append(place_block(name, request.spec, request.given, request.dtype))
        except ShapeError as error:
            refused.append((name, error))
    if not placed:
        reasons = "; ".join(str(error) if len(refused) == 1 else f"{name}: {error}" for name, error in refused)
        raise ShapeError(reasons)
    notes += [f"{name} is left out: {error}" for name, error in refused]
    rows = tuple(Row(block, request.dtype, baseline) for block in placed)
    return Prediction(rows, baseline, tuple(notes))


def _options_without_effect(request: Request) -> Sequence[str]:
    shown = {parameter for name in (*request.blocks, request.baseline) for parameter in BLOCKS[name].defaults}
    notes = []
    for name in request.given:
        if name not in shown:
            owners = ", ".join(block.name for block in BLOCKS.values() if name in block.defaults)
            option = OPTION_NAMES.get(name, name)
            notes.append(f"--{option} has no effect here: it sets {PARAMETERS[name].help} of {owners}.")
    if request.reuse and not request.time:
        notes.append("--reuse has no effect here: nothing is to be timed.")
    return notes
