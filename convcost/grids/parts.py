"""The folder of a sweep: what it holds, its parts, each whole or not there, and what is done of it."""

from __future__ import annotations

import json
import platform
import re
import zlib
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from convcost._version import __version__
from convcost.grids.encoding import file_options
from convcost.grids.grid import Grid
from convcost.grids.prediction import predict
from convcost.system.ownership import locked
from convcost.system.processor import pin_allocator
from convcost.system.whole_files import PREFIX, remove_leftovers, require_writable, write_whole
from convcost.text.errors import ConvcostError, as_text, encodable, first_line
from convcost.text.export import json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping

    import pyarrow as pa

    from convcost.grids.configuration import Configuration
    from convcost.grids.grid import Part
    from convcost.grids.prediction import Prediction

    Write: TypeAlias = Callable[[Mapping[str, Any]], None]

HEAD: Final = "sweep.json"
SCHEMA: Final = "convcost.sweep-folder/1"
_ABOUT: Final = b"convcost"
"""Key of what is known about a file, in its metadata."""
_CHECKSUM: Final = b"crc32="
"""What stands before the checksum of a file, in its metadata."""
_ZEROS: Final = b"00000000"
FILES: Final = frozenset(f"{name}.parquet" for name in ("pareto", "top", "groups", "state", "measured"))
"""The names of the files of what is kept of a sweep, of the state of its reduction, and of its measured rows."""
_PART: Final = re.compile(r"part-([0-9]+)-[0-9]+\.parquet")
_MAKE_ROOM: Final = "make room or choose another folder; what is written stays, and the same command goes on from there"
_ANOTHER: Final = "give another folder, or remove this one"


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the combinations of some parts.

    Attributes:
        rows: Number of rows that were kept.
        refused: Number of combinations that a block does not allow, by the rule that they break.
        excluded: Number of combinations that a condition dropped.
    """

    rows: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    excluded: int = 0

    @classmethod
    def of(cls, prediction: Prediction) -> Counts:
        """The counts of a part."""
        return cls(prediction.table.num_rows, dict(sorted(prediction.refused.items())), prediction.excluded)

    def __add__(self, other: Counts) -> Counts:
        """The counts of both."""
        refused = Counter(self.refused) + Counter(other.refused)
        return Counts(self.rows + other.rows, dict(sorted(refused.items())), self.excluded + other.excluded)


def part_path(folder: Path, part: Part, size: int) -> Path:
    """The path of a part in the folder of a sweep with so many rows."""
    digits = len(str(size - 1))
    return folder / f"part-{part.first:0{digits}}-{part.last:0{digits}}.parquet"


@dataclass(frozen=True, slots=True)
class FolderNames:
    """The names that Parquet files in the folder of a sweep have.

    Attributes:
        grid: Grid of the sweep.
        rows: Most rows of a part.
    """

    grid: Grid
    rows: int

    def __contains__(self, name: object) -> bool:
        """Whether a file has the name of a part, or one of `FILES`."""
        if name in FILES:
            return True
        match = _PART.fullmatch(str(name))
        if match is None or int(match[1]) >= self.grid.size:
            return False
        return part_path(Path(), self.grid.part_at(int(match[1]), self.rows), self.grid.size).name == name


def write_part(configuration: Configuration, part: Part, folder: Path) -> Counts:
    """Predict a part and write its file, whole or not at all; parts do not depend on each other.

    Raises:
        ConvcostError: The file could not be written.
    """
    prediction = predict(configuration, part)
    counts = Counts.of(prediction)
    write_table(part_path(folder, part, Grid(configuration).size), prediction.table, asdict(counts))
    return counts


def write_shared_part(configuration: Configuration, part: Part, folder: Path, contents: Mapping[str, Any]) -> Counts:
    """`write_part` in another process, perhaps on another machine, which must see the folder of the sweep.

    Raises:
        ConvcostError: It does not, or the file could not be written.
    """
    if not _has_head(folder, contents):
        raise ConvcostError(
            f"out (={folder}) must be a folder that all workers share, and the one on {platform.node()} has no sweep "
            "there; give such a folder."
        )
    pin_allocator()
    return write_part(configuration, part, folder)


def write_table(path: Path, table: pa.Table, about: Mapping[str, object]) -> None:
    """Write a Parquet file with what is known about it, whole or not at all.

    Raises:
        ConvcostError: The file could not be written.
    """
    content = parquet(table, about)
    write_whole(path, lambda temporary: temporary.write_bytes(content), "out", _MAKE_ROOM)


def parquet(table: pa.Table, about: Mapping[str, object]) -> bytearray:
    """The bytes of a Parquet file, with what is known about it and a checksum; the same for the same values."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, store_schema=False, **file_options(table)) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_ABOUT.decode(): json.dumps(about), "checksum": (_CHECKSUM + _ZEROS).decode()})
    content = bytearray(sink.getvalue())
    content[_checksum_place(content)] = b"%08x" % zlib.crc32(content)
    return content


def _checksum_place(content: bytearray) -> slice:
    """The place of the checksum of a file, which is that of its bytes with zeros there."""
    start = content.rfind(_CHECKSUM) + len(_CHECKSUM)
    return slice(start, start + len(_ZEROS))


def _is_whole(content: bytearray) -> bool:
    """Whether the bytes of a file have their checksum, in whose place they have zeros afterwards."""
    place = _checksum_place(content)
    checksum = content[place]
    content[place] = _ZEROS
    return checksum == b"%08x" % zlib.crc32(content)


def read_table(path: Path) -> pa.Table:
    """The table of a Parquet file, without what is known about it."""
    import pyarrow.parquet as pq

    return pq.read_table(path.absolute()).replace_schema_metadata()


def read_about(path: Path) -> dict[str, Any] | None:
    """What is known about a Parquet file of a sweep; None for one that is missing or damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = bytearray(path.read_bytes())
        if not _is_whole(content):
            return None
        about = json.loads((pq.read_metadata(pa.BufferReader(content)).metadata or {})[_ABOUT])
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return None
    return dict(about)


def read_counts(path: Path) -> Counts | None:
    """The counts in a file that is there and whole; None for one that is still to be written."""
    about = read_about(path)
    return None if about is None else Counts(**about)


@contextmanager
def opened(folder: Path, contents: Mapping[str, Any], files: Container[str] = ()) -> Iterator[Write]:
    """Take a folder for a sweep, which no other process writes to until the end.

    Args:
        folder: Folder, made if it is missing.
        contents: What makes the bytes of its files: a sweep with other contents is refused.
        files: Names that its Parquet files may have: a folder with others is refused, since readers take all of them.

    Yields:
        A function that writes `sweep.json` with the progress.

    Raises:
        ConvcostError: The folder cannot be written, holds another sweep, or is in use.
    """
    head = folder / HEAD
    if encodable(str(folder)) != str(folder):
        raise ConvcostError(f"out (={as_text(folder)}) must be in UTF-8, for the libraries that read it; rename it.")
    require_writable(head, what="out", make_folder=True)

    def write(progress: Mapping[str, Any]) -> None:
        text = json_text({"schema": SCHEMA, **contents, "progress": progress})
        write_whole(head, lambda path: path.write_text(text, encoding="utf-8", newline="\n"), "out", _MAKE_ROOM)

    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder))
        except BlockingIOError:
            msg = f"out (={folder}) must not be in use, and another sweep writes to it; wait for its end."
            raise ConvcostError(msg) from None
        if not holds(folder, contents, files):
            write({"parts": 0, **asdict(Counts())})
        yield write
        remove_leftovers(folder)


def contents(configuration: Configuration, kept: Mapping[str, object] | None, rows: int) -> dict[str, Any]:
    """What makes the bytes of a sweep's files.

    Args:
        configuration: Configuration of the sweep.
        kept: What is kept of its rows; None for all of them.
        rows: Most rows of a part.
    """
    import pyarrow as pa

    grid = Grid(configuration)
    return {
        "versions": {"convcost": __version__, "pyarrow": pa.__version__},
        "configuration": configuration.to_dict(),
        "kept": None if kept is None else dict(kept),
        "combinations": grid.size,
        "parts": grid.part_count(rows),
        "part_rows": rows,
    }


def holds(folder: Path, contents: Mapping[str, Any], files: Container[str]) -> bool:
    """Whether a folder has this sweep already; arguments as of `opened`.

    Raises:
        ConvcostError: It has another one, or Parquet files of something else.
    """
    is_there = _has_head(folder, contents)
    names = {path.name for path in folder.glob("*.parquet") if not path.name.startswith(PREFIX)}
    foreign = sorted(name for name in names if name not in files)
    if foreign:
        raise ConvcostError(
            f"out (={folder}) must have no Parquet files but those of the sweep, and {as_text(foreign[0])} is another; "
            "move it away, or give another folder."
        )
    return is_there


def _has_head(folder: Path, contents: Mapping[str, Any]) -> bool:
    """Whether a folder has the head of this sweep.

    Raises:
        ConvcostError: It has another one, or Parquet files of something else.
    """
    head = folder / HEAD
    try:
        there = json.loads(head.read_text(encoding="utf-8"))
        found = _pinned(there)
    except FileNotFoundError:
        if next(folder.glob("*.parquet"), None) is not None:
            raise ConvcostError(
                f"out (={folder}) must be a sweep's folder, and has Parquet files without {HEAD}; {_ANOTHER}."
            ) from None
        return False
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        why = first_line(error) if isinstance(error, (OSError, ValueError)) else "it has other keys"
        msg = f"out (={head}) must be the file of a sweep, and is not ({why}); {_ANOTHER}."
        raise ConvcostError(msg) from None
    other = difference(found, _pinned(json.loads(json.dumps({"schema": SCHEMA, **contents}))), "")
    if other:
        raise ConvcostError(f"out (={folder}) must hold the same sweep, and {other}; {_ANOTHER}.")
    return True


def _pinned(contents: Mapping[str, Any]) -> dict[str, Any]:
    """What must not change between two runs: all but the progress, and the version of the library that writes files."""
    versions = {"convcost": contents["versions"]["convcost"]}
    return {**{key: value for key, value in contents.items() if key != "progress"}, "versions": versions}


def difference(there: Any, here: Any, name: str) -> str | None:  # noqa: ANN401 - values of JSON
    """The first difference of two JSON values."""
    if isinstance(there, dict) and isinstance(here, dict):
        if list(there) != list(here) and set(there) == set(here):
            there, here = ", ".join(there), ", ".join(here)
            return f"the order of {name.removeprefix('configuration.')} is {as_text(there)} there, {as_text(here)} here"
        for key in {**here, **there}:
            inner = difference(there.get(key), here.get(key), f"{name}.{key}".lstrip("."))
            if inner:
                return inner
        return None
    if there == here:
        return None
    return f"{name.removeprefix('configuration.')} is {as_text(there)} there, {as_text(here)} here"
