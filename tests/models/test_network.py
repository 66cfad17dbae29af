"""Networks as data: every mistake in a file has its line, its column, its rule and the next step."""

from __future__ import annotations

import pytest

from convcost.models.network import parse_network
from convcost.text.errors import ConvcostError

HEAD = 'name = "x"\nresolution = 8\n'
HUGE = f"0x{'f' * 5000}"


def refused(text: str, args: dict[str, object] | None = None) -> list[str]:
    with pytest.raises(ConvcostError) as caught:
        parse_network(text.encode(), "net.toml", args)
    return str(caught.value).split("\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1:1: layers (=missing) must be a list of tables; write layers"),
        ("layers = 3", "3:10: layers (=3) must be a list; write layers = [...]."),
        ("layers = [3]", "3:11: layers.0 (=3) must be a table; write { ... }."),
        ("layers = [{}]", "3:11: layers.0 (={}) must have exactly one of the keys block, blocks, pool, classifier; name"),
        ('layers = [{ block = "pointwise", pool = "max" }]', "3:41: layers.0.pool (=max) must have exactly one of the keys"),
        ('layers = [{ block = "standrad" }]', "3:21: block: block (=standrad) must be a name of the catalogue; did you mean standard?"),
        ('layers = [{ blocks = ["pointwise", 3] }]', "3:36: blocks.1 (=3) must be a name of the catalogue; write"),
        ("layers = [{ blocks = [] }]", "3:22: layers.0.blocks (=[]) must not be empty; write blocks"),
        ('layers = [{ block = "pointwise", strid = 2 }]', "3:34: strid is no key of this table; did you mean stride?"),
        ('layers = [{ block = "standard", expansion = 3 }]', "3:45: layers.0.expansion (=3) must not be there, for standard has no such key"),
        ('layers = [{ pool = "global-average", stride = 3 }]', "3:47: layers.0.stride (=3) must not be there, for global-average has"),
        ('layers = [{ pool = "mean" }]', "3:20: pool (=mean) must be 'global-average' or 'max'; write one of them."),
        ("layers = [{ classifier = 10 }]", "3:26: layers.0.classifier (=10) must follow a map of 1x1; put { pool"),
        ('[[layers]]\nblock = "standard"\nstride = [1, 0]', "5:10: stride (=[1, 0]) must be a whole number of at least 1, or [height, width]; write 1."),
        ('[[layers]]\nblock = "standard"\nrepeat = 1001', "5:10: repeat (=1001) must be a whole number from 1 to 1000; write 1."),
        ('[[layers]]\nblock = "ghost"\nghost_ratio = 1', "5:15: ghost_ratio (=1) must be a whole number of at least 2; write 2."),
        ('[[layers]]\nblock = "pointwise"\nlinear = "no"', "5:10: linear (=no) must be true or false; write true."),
        ('[[layers]]\nblock = "grouped"\ngroups = 2', "3:3: in_channels (=3) must be divisible by groups (=2)."),
        ("in_channels = true", "3:15: in_channels (=true) must be a whole number of at least 1; write 1."),
        (f"divisor = 1{'0' * 5000}", "3:11: a number must have at most 4300 digits; correct"),
        (f"alpha = {HUGE}", "3:9: alpha (=a number of 20000 bits) must be a number above 0; write"),
        ("alpha = nan", "3:9: alpha (=nan) must be a number above 0; write"),
        ('alpha = "1/0"', "3:9: alpha (=1/0) must be a number above 0; write"),
        ("padding = -1", "3:11: padding (=-1) must be half, same, valid, a whole number of at least 0, or [height, width]"),
        ('padding = "full"', "3:11: padding (=full) must be half, same, valid, a whole"),
        ("bias = 1", "3:8: bias (=1) must be true or false; write true."),
        ("activation = 3", "3:14: activation (=3) must be 'relu', "),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_where_it_stands(text: str, said: str) -> None:
    (line,) = refused(HEAD + text)
    assert line.startswith(f"net.toml:{said}")


def test_all_wrong_values_above_the_layers_are_refused_at_once() -> None:
    lines = refused("norm = 'x'\nbias = 3\ncolour = 1\n")
    assert [line.split(" ")[:2] for line in lines] == [
        ["net.toml:1:1:", "resolution"],
        ["net.toml:1:8:", "norm"],
        ["net.toml:2:8:", "bias"],
        ["net.toml:3:1:", "colour"],
    ]


def test_a_name_is_used_once() -> None:
    layer = '[[layers]]\nblock = "pointwise"\nname = "a"\n'
    (line,) = refused(HEAD + layer + layer)
    assert line == "net.toml:8:8: layers.1.name (=a) must be unique and without a dot; write another name."


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"alpha": -1}, 'net.toml: argument alpha (=-1) must be a number above 0; write 0.5 or "1/2".'),
        ({"resolution": "big"}, "net.toml: argument resolution (=big) must be a whole number of at least 1, or [height,"),
        ({"depth": 2}, "net.toml: argument depth (=2) is none of a network; known: alpha, resolution."),
    ],
)  # fmt: skip
def test_an_argument_is_refused_without_a_line_for_it_is_not_in_the_file(args: dict[str, object], said: str) -> None:
    (line,) = refused(HEAD, args)
    assert line.startswith(said)


def test_an_argument_stands_for_a_key_of_the_file() -> None:
    layer = '[[layers]]\nblock = "pointwise"\nout_channels = 8\n'
    network = parse_network(f'name = "x"\n{layer}'.encode(), "net.toml", {"alpha": "1/2", "resolution": [4, 6]})
    assert network.input.sizes == (1, 3, 4, 6)
    assert network.layers[0].output.sizes == (1, 4, 4, 6)
