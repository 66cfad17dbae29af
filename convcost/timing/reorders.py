"""What each primitive of a call is for: a convolution, a reorder of its input, weights or output, or something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convcost.timing.onednn_problem import parse_problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.timing.onednn_lines import Primitive
    from convcost.timing.onednn_problem import Problem

__all__ = ["reorder_sizes", "roles"]


def reorder_sizes(text: str) -> tuple[int, ...]:
    """The sizes of a reorder, `1x64x56x56`; none where the text is something else."""
    words = text.split("x")
    return tuple(map(int, words)) if all(word.isdecimal() for word in words) else ()


def roles(primitives: Sequence[Primitive]) -> tuple[str, ...]:
    """The part of a call's time that each primitive belongs to.

    A reorder that begins in the layout and the shape of the output of the convolution before it belongs to that one;
    else it is the input or the weights of the one after it, by the layout and the shape that it ends in. What is none
    of these is native.

    Args:
        primitives: of one call, in the order they ran.
    """
    found: list[str] = []
    since: list[str] = []
    before: Primitive | None = None
    for index, one in enumerate(primitives):
        if one.is_convolution:
            found.append("convolution")
            before, since = one, []
            continue
        after = next((later for later in primitives[index + 1 :] if later.is_convolution), None)
        role = _role(one, before if not since else None, after, since)
        found.append(role)
        since.append(role)
    return tuple(found)


def _role(one: Primitive, before: Primitive | None, after: Primitive | None, since: Sequence[str]) -> str:
    """Of one primitive between two convolutions, knowing the roles that were given between them already."""
    if one.kind != "reorder":
        return "native"
    sizes = reorder_sizes(one.problem)
    if before is not None and one.layouts.get("src") == before.layouts.get("dst"):
        problem = parse_problem(before.problem)
        if problem is None or sizes == _activation_sizes(problem, len(sizes), output=True):
            return "reorder_output"
    if after is not None:
        problem = parse_problem(after.problem)
        inputs = sizes if problem is None else _activation_sizes(problem, len(sizes), output=False)
        weights = sizes if problem is None else _weight_sizes(problem, len(sizes))
        for role, memory, expected in (("reorder_input", "src", inputs), ("reorder_weights", "wei", weights)):
            if role not in since and one.layouts.get("dst") == after.layouts.get(memory) and sizes == expected:
                return role
    return "native"


def _activation_sizes(problem: Problem, rank: int, *, output: bool) -> tuple[int, ...]:
    """N x C and as many spatial axes as the rank has room for; those left out have size 1."""
    channels, spatial = (problem.out_channels, problem.out_size) if output else (problem.in_channels, problem.in_size)
    return (problem.batch, channels, *spatial[len(spatial) - max(0, rank - 2) :])


def _weight_sizes(problem: Problem, rank: int) -> tuple[int, ...]:
    """O x C x kernel of a group, with the groups in front where there are any."""
    o, c = problem.out_channels // problem.groups, problem.in_channels // problem.groups
    front = (problem.groups, o, c) if problem.groups > 1 else (o, c)
    return (*front, *problem.kernel_size[len(problem.kernel_size) - max(0, rank - len(front)) :])
