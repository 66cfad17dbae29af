"""Writes the pictures of the documentation: what commands print, and their figures. `--check` only compares.

A terminal without times must be what its command prints today. One with times is compared as far as its command prints
the same without a clock. Figures are compared by their texts, since their layout depends on the machine's fonts; those
with times by their texts without digits. Names as arguments write these alone: `python docs/pictures.py compare`.
"""

from __future__ import annotations

import html
import json
import os
import pty
import re
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import vl_convert
from rich.console import Console
from rich.text import Text

FOLDER: Final = Path(__file__).with_name("pictures")
ERASE: Final = b"\x1b[2K"
"""What a live table sends before it draws itself again."""
FONTS: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""Fonts from elsewhere: a picture requests nothing."""
LINE: Final = re.compile(r'-line-(\d+)\)">(.*?)</text>')
TOML: Final = re.compile(r"```toml\n# (\S+)\n(.*?)```", re.DOTALL)
DATA: Final = re.compile(r'id="data">(.*?)</script>')
LABEL: Final = re.compile(r"<text[^>]*>([^<]+)</text>")


@dataclass(frozen=True, slots=True)
class Terminal:
    """What a command leaves on a terminal.

    Attributes:
        name: Name of the file, without its suffix.
        command: Command in the words of a shell.
        width: Width of the terminal in characters.
        without_clock: Command that prints the same rows without their times, for one that measures.
    """

    name: str
    command: str
    width: int = 100
    without_clock: str = ""

    def draw(self) -> str:
        """Run the command, and draw what it leaves on the terminal."""
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            console = Console(record=True, width=self.width, file=nowhere)
            console.print(Text(f"$ {self.command}", "bold green"))
            console.print(Text.from_ansi(_on_a_terminal(self.command, self.width)))
        drawing = FONTS.sub("", console.export_svg(title="convcost", unique_id=self.name))
        return drawing.replace("Fira Code, monospace", "monospace")

    def is_current(self, drawn: str) -> bool:
        """Whether a picture shows what the command prints today."""
        if not self.without_clock:
            return drawn == self.draw()
        today = _on_a_terminal(self.without_clock, self.width)
        rows = [line.split() for line in Text.from_ansi(today).plain.splitlines() if "✓" in line]
        shown = [line.split() for line in _lines(drawn)]
        return bool(rows) and all(any(line[: len(row)] == row for line in shown) for row in rows)


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure of a command's result.

    Attributes:
        name: Name of the file, without its suffix.
        command: Command in the words of a shell; `--export` is added.
        is_timed: Whether it measures.
        page: Page of the documentation whose first TOML file the command reads; empty for none.
        place: Place of the figure in the command's page, counted from 1; 0 for the one that `--export` writes as SVG.
    """

    name: str
    command: str
    is_timed: bool = False
    page: str = ""
    place: int = 0

    def draw(self, *more: str) -> str:
        """Run the command, with more options, and let it export its figure."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "page.html" if self.place else "figure.svg")
            words = [sys.executable, "-m", *shlex.split(self.command), "--export", str(path), *more]
            if self.page:
                name, content = TOML.findall((FOLDER.parent / self.page).read_text(encoding="utf-8"))[0]
                Path(folder, name).write_text(content, encoding="utf-8")
            subprocess.run(words, cwd=folder, env=_environment(folder), capture_output=True, check=True)
            text = path.read_text(encoding="utf-8")
        return (_from_page(text, self.place) if self.place else text) + "\n"

    def is_current(self, drawn: str) -> bool:
        """Whether a picture has the texts of the figure of today."""
        texts = LABEL.findall(drawn), LABEL.findall(self.draw(*["--time-budget", "0.5"] * self.is_timed))
        if self.is_timed:
            before, today = ({text for text in one if not re.search(r"\d", text)} for one in texts)
            return before == today
        return texts[0] == texts[1]


LAYER: Final = "--c 3 --o 64 --k 3"
CHOSEN: Final = "--columns block,params,macs,macs_ratio"
SOME: Final = "--block depthwise-separable --block spatially-separable --block grouped --block bottleneck"
PICTURES: Final = (
    Terminal("explain", f"convcost explain depthwise-separable {LAYER}", 120),
    Terminal("counted", f"convcost compare {LAYER} --no-time"),
    Terminal(
        "compare",
        f"convcost compare {LAYER} {CHOSEN},time_s,speedup",
        110,
        f"convcost compare {LAYER} {CHOSEN} --no-time",
    ),
    Terminal("model", "convcost model network:mobilenet_v1 --sort macs --top 5", 120),
    Terminal("diff", "convcost diff network:mobilenet_v1_full network:mobilenet_v1 --sort macs --top 5", 120),
    Terminal("kernel", 'convcost kernel "-1 0 1; -2 0 2; -1 0 1" --no-time'),
    Chart("promise", f"convcost compare --c 64 --o 128 --k 3 --h 56 --no-count {SOME}", is_timed=True),
    Chart("replaced", "convcost replace network:resnet18 --to depthwise-separable"),
    Chart("front", "convcost sweep grid.toml --pareto params,macs_ratio", page="sweep.md"),
    Chart("memory", "convcost model network:resnet50", place=2),
    Chart("kernels", "convcost kernel sobel laplacian --no-time"),
)


def _from_page(page: str, place: int) -> str:
    """A figure of a page as SVG, on white."""
    (data,) = DATA.findall(page)
    spec = json.loads(data)["specs"][place - 1]
    spec["config"]["background"] = "white"
    return str(vl_convert.vegalite_to_svg(spec))


def _environment(folder: str) -> dict[str, str]:
    """This environment with other folders for cache and data: no calibration, no history."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONVCOST_")}
    return kept | {"HOME": folder, "XDG_CACHE_HOME": folder, "XDG_DATA_HOME": folder}


def _on_a_terminal(command: str, width: int) -> str:
    """The output of a command on a terminal: what it leaves there, without notes and progress."""
    words = [sys.executable, "-m", *shlex.split(command)]
    with tempfile.TemporaryDirectory() as folder:
        process, terminal = pty.fork()
        if process == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
            own = {"TERM": "xterm-256color", "COLUMNS": str(width), "LINES": "60", "NO_COLOR": ""}
            os.execve(words[0], words, _environment(folder) | own)
        output = bytearray()
        while chunk := _read(terminal):
            output += chunk
        os.close(terminal)
        if code := os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]):
            raise SystemExit(f"{command} must succeed; it ended with {code}.")
    left = bytes(output).rsplit(ERASE, 1)[-1].decode()
    return re.sub(r"\x1b\[\?25[hl]", "", left).replace("\r\n", "\n").strip("\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux reports the end of a terminal as an error
        return b""


def _lines(drawing: str) -> list[str]:
    """The lines of text in a picture."""
    lines: dict[str, list[str]] = {}
    for number, text in LINE.findall(drawing):
        lines.setdefault(number, []).append(html.unescape(text).replace("\xa0", " "))
    return ["".join(parts) for parts in lines.values()]


def _path(picture: Terminal | Chart) -> Path:
    return FOLDER / f"{picture.name}.svg"


def _is_current(picture: Terminal | Chart) -> bool:
    path = _path(picture)
    return path.exists() and picture.is_current(path.read_text(encoding="utf-8"))


def main(arguments: list[str]) -> int:
    """Write or check the pictures."""
    if "--check" not in arguments:
        FOLDER.mkdir(exist_ok=True)
        for picture in PICTURES:
            if not arguments or picture.name in arguments:
                _path(picture).write_text(picture.draw(), encoding="utf-8")
        return 0
    with ProcessPoolExecutor() as pool:
        current = pool.map(_is_current, PICTURES)
        stale = [picture.name for picture, is_current in zip(PICTURES, current, strict=True) if not is_current]
    if stale:
        print(f"Pictures must show what commands print: {', '.join(stale)}; run make pictures.", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
