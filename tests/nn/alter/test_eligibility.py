"""Every convolution that a block cannot stand in for is a row with its reason; the others are replaced."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune
from zoo import Lambda

import convcost
from convcost import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable

conv = partial(nn.Conv2d, padding=1)


def outcomes(model: nn.Module, *inputs: torch.Tensor, **rules: Any) -> dict[str, str]:
    """The block in the place of each convolution, or the reason why it stays as it is."""
    _, result = convcost.replace(model, inputs or (torch.zeros(1, 8, 9, 9),), to="depthwise-separable", **rules)
    return {row.name: row.skipped or row.after or "" for row in result.layers}


def beside(one: nn.Module) -> nn.Module:
    """A module before a convolution that can be replaced."""
    return nn.Sequential(one, conv(8, 8, 3))


def hooked(register: str) -> nn.Module:
    one = conv(8, 8, 3)
    getattr(one, register)(lambda *_: None)
    return one


def weight_norm_before_parametrizations() -> nn.Module:
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(conv(8, 8, 3))


def with_forward_of_its_own() -> nn.Module:
    one = conv(8, 8, 3)
    one.forward = lambda x: functional.conv2d(x, one.weight, padding=1)  # type: ignore[method-assign, assignment]  # as some tools do
    return one


def with_hook_of_its_weight() -> nn.Module:
    one = conv(8, 8, 3)
    one.weight.register_hook(lambda gradient: 0 * gradient)
    return one


def holding(add: Callable[[nn.Module], None]) -> nn.Module:
    one = conv(8, 8, 3)
    add(one)
    return one


class Own(nn.Conv2d):
    pass


class OwnParameter(nn.Parameter):
    pass


def with_own_parameter() -> nn.Module:
    one = conv(8, 8, 3)
    one.weight = OwnParameter(one.weight.data)
    return one


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: nn.Conv2d(8, 8, 1), "pointwise, not standard"),
        (lambda: conv(8, 8, 3, groups=4), "grouped, not standard"),
        (lambda: conv(8, 8, 3, groups=8), "depthwise, not standard"),
        (lambda: nn.ConvTranspose2d(8, 8, 3, padding=1), "transposed: the blocks of the catalogue are not"),
        (lambda: conv(8, 8, 3, padding_mode="reflect"), "its padding_mode is reflect: the blocks of the catalogue pad zeros"),
        (lambda: Own(8, 8, 3, padding=1), "Own is a subclass, which may do more than convolve"),
        (with_own_parameter, "its weight is a OwnParameter, no plain parameter"),
        (with_forward_of_its_own, "its forward was replaced"),
        (
            lambda: nn.LazyConv2d(8, 3, padding=1),
            "lazy: it has no weight before its first call; run the model once",
        ),
        *(
            (make, "its weight is computed by a parametrisation, weight_norm or pruning; remove that first")
            for make in (
                lambda: parametrizations.weight_norm(conv(8, 8, 3)),
                lambda: parametrizations.spectral_norm(conv(8, 8, 3)),
                lambda: prune.l1_unstructured(conv(8, 8, 3), "weight", 0.5),
                weight_norm_before_parametrizations,
            )
        ),
        *(
            (partial(hooked, name), "it has hooks, which a block would lose; remove them first")
            for name in (
                "register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook",
                "register_state_dict_post_hook", "register_load_state_dict_pre_hook",
            )
        ),
        (with_hook_of_its_weight, "it has hooks, which a block would lose; remove them first"),
        (
            lambda: holding(lambda one: one.register_buffer("mask", torch.ones(1))),
            "it holds mask too, which a block would lose",
        ),
        (
            lambda: holding(lambda one: one.register_parameter("scale", nn.Parameter(torch.ones(1)))),
            "it holds scale too, which a block would lose",
        ),
        (lambda: holding(lambda one: one.add_module("x", nn.ReLU())), "it holds x too, which a block would lose"),
    ],
)  # fmt: skip
def test_a_convolution_that_cannot_be_replaced_says_why(make: Callable[[], nn.Module], reason: str) -> None:
    assert outcomes(beside(make())) == {"0": reason, "1": "depthwise-separable"}


@pytest.mark.parametrize(("axes", "kind"), [(1, nn.Conv1d), (3, nn.Conv3d)])
def test_only_images_have_blocks(axes: int, kind: Any) -> None:
    model = Lambda(lambda m, x, y: (m.a(x), m.b(y)), a=kind(8, 8, 3), b=conv(8, 8, 3))
    found = outcomes(model, torch.zeros(1, 8, *(9,) * axes), torch.zeros(1, 8, 9, 9))
    assert found == {"a": f"{axes}-D: the blocks of the catalogue are 2-D", "b": "depthwise-separable"}


def test_weights_of_two_modules_are_not_torn_apart() -> None:
    model = nn.Sequential(conv(8, 8, 3), conv(8, 8, 3), conv(8, 8, 3))
    model[1].weight = model[0].weight
    assert outcomes(model) == {
        "0": "it shares weights with 1",
        "1": "it shares weights with 0",
        "2": "depthwise-separable",
    }


def test_a_module_in_two_places_is_not_torn_apart() -> None:
    one = conv(8, 8, 3)
    model = nn.ModuleDict({"a": nn.Sequential(one), "b": nn.Sequential(one, conv(8, 8, 3))})
    both = Lambda(lambda m, x: m.d["b"](m.d["a"](x)), d=model)
    assert outcomes(both) == {
        "d.a.0": "it shares weights with d.b.0",
        "d.b.1": "depthwise-separable",
    }


def test_a_module_under_two_names_that_runs_once_is_replaced_under_both() -> None:
    one = conv(8, 8, 3)
    model = Lambda(lambda m, x: m.all[0](x), a=one, all=nn.ModuleList([one]))
    new, result = convcost.replace(model, torch.zeros(1, 8, 9, 9), to="depthwise-separable")
    assert [row.after for row in result.layers] == ["depthwise-separable"]
    assert new.a is new.all[0]  # type: ignore[index]  # a list of modules


def test_a_convolution_in_a_shared_container_is_replaced_once() -> None:
    inner = nn.Sequential(conv(8, 8, 3), nn.ReLU())
    model = nn.Sequential(inner, inner)
    new, result = convcost.replace(model, torch.zeros(1, 8, 9, 9), to="depthwise-separable")
    (row,) = result.layers
    assert (row.calls, row.params_after, row.macs_after) == (2, 8 * 9 + 8 + 8 * 8 + 8, 2 * 81 * (8 * 9 + 8 * 8))
    assert new[0] is new[1]  # type: ignore[index]  # an nn.Sequential


def test_a_convolution_of_inputs_of_several_sizes_stays() -> None:
    model = Lambda(lambda m, x: m.b(m.a(m.a(x)[..., :7])), a=conv(8, 8, 3), b=conv(8, 8, 3))
    assert outcomes(model) == {
        "a": "called with inputs of different sizes: 1x8x9x9 and 1x8x9x7",
        "b": "depthwise-separable",
    }


def test_a_convolution_that_is_not_called_stays_and_is_described() -> None:
    model = Lambda(lambda m, x: m.b(x), a=conv(8, 16, 3, stride=2), b=conv(8, 8, 3))
    _, result = convcost.replace(model, torch.zeros(1, 8, 9, 9), to="depthwise-separable")
    row = result.layers[-1]
    assert (row.name, row.skipped) == ("a", "the forward pass does not call it")
    assert (row.before, row.params_before, row.macs_before) == ("Conv2d 8→16, 3×3, stride 2", 8 * 16 * 9 + 16, 0)


def test_a_functional_convolution_is_a_row_too() -> None:
    model = Lambda(
        lambda m, x: functional.conv2d(m.b(x), m.w, padding=1), b=conv(8, 8, 3), w=nn.Parameter(torch.zeros(8, 8, 3, 3))
    )
    assert outcomes(model) == {
        "b": "depthwise-separable",
        "conv2d#1": "a call of a function: there is no module to replace",
    }


def test_a_complex_convolution_stays() -> None:
    model = Lambda(lambda m, x: m.b(x) + m.a(x * 1j).abs(), a=conv(8, 8, 3, dtype=torch.complex64), b=conv(8, 8, 3))
    assert outcomes(model) == {"a": "its weights are complex numbers", "b": "depthwise-separable"}


def test_a_convolution_that_forward_makes_stays() -> None:
    model = Lambda(lambda m, x: conv(8, 8, 3)(m.b(x)), b=conv(8, 8, 3))
    assert outcomes(model) == {
        "b": "depthwise-separable",
        "Conv2d": "made by forward: there is no module to replace",
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit.script
def test_a_scripted_part_is_left_alone() -> None:
    scripted = torch.jit.script(nn.Sequential(conv(8, 8, 3)))
    found = outcomes(nn.Sequential(scripted, conv(8, 8, 3)))
    assert found["1"] == "depthwise-separable"
    assert [why for name, why in found.items() if name != "1"] == ["inside 0, which is scripted; replace layers first"]


@pytest.mark.parametrize("make", [torch.compile, lambda one: one.compile() or one])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, about its own compiler
def test_a_compiled_part_is_left_alone(make: Callable[[nn.Module], Any]) -> None:
    model = nn.Sequential(make(nn.Sequential(conv(8, 8, 3))), conv(8, 8, 3))
    found = outcomes(model)
    assert found.pop("1") == "depthwise-separable"
    assert set(found.values()) == {"inside 0, which is compiled; replace layers first"}


def test_a_layer_whose_weight_forward_reads_is_refused_and_not_the_others() -> None:
    def run(m: Any, x: torch.Tensor) -> torch.Tensor:
        return m.c(functional.conv2d(m.a(x), m.b.weight, padding=1))

    found = outcomes(Lambda(run, a=conv(8, 8, 3), b=conv(8, 8, 3), c=conv(8, 8, 3)))
    assert found["a"] == found["c"] == "depthwise-separable"
    assert found["b"] == "the forward pass does not call it"


def test_a_layer_whose_attributes_forward_reads_is_refused_and_not_the_others() -> None:
    def run(m: Any, x: torch.Tensor) -> torch.Tensor:
        return m.c(m.b(m.a(x))) * m.b.out_channels

    found = outcomes(Lambda(run, a=conv(8, 8, 3), b=conv(8, 8, 3), c=conv(8, 8, 3)))
    assert found["a"] == found["c"] == "depthwise-separable"
    assert found["b"].startswith(
        "forward fails with the block in its place: AttributeError: 'Sequential' object has no "
    )


def test_a_layer_that_a_closure_holds_is_replaced_there_too() -> None:
    hidden = conv(8, 8, 3)
    model = Lambda(lambda m, x: m.c(hidden(m.a(x))), a=conv(8, 8, 3), b=hidden, c=conv(8, 8, 3))
    assert outcomes(model) == {
        "a": "depthwise-separable",
        "b": "depthwise-separable",
        "c": "depthwise-separable",
    }


def test_a_layer_that_chooses_the_way_of_forward_is_refused_and_not_the_others() -> None:
    def run(m: Any, x: torch.Tensor) -> torch.Tensor:
        return m.c(m.b(m.a(x))) if isinstance(m.b, nn.Conv2d) else m.a(x)[:, :1]

    found = outcomes(Lambda(run, a=conv(8, 8, 3), b=conv(8, 8, 3), c=conv(8, 8, 3)))
    assert found["a"] == found["c"] == "depthwise-separable"
    assert found["b"] == "the model's output differs: 1x1x9x9, not 1x8x9x9"


def test_no_layer_that_is_left_is_an_error_with_the_reasons() -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1), conv(8, 8, 3, groups=2))
    with pytest.raises(ConvcostError) as caught:
        outcomes(model)
    assert str(caught.value) == (
        "no convolution may be replaced (0 and 1 more: pointwise, not standard; 2: grouped, not standard); change the rules."
    )


def test_a_model_without_convolutions_has_nothing_to_replace() -> None:
    with pytest.raises(ConvcostError, match=r"^model must have a module that is a convolution"):
        outcomes(nn.Linear(9, 9))


def test_weights_that_are_used_outside_their_module_stay() -> None:
    first = conv(8, 8, 3)
    model = Lambda(lambda m, x: m.b(functional.conv2d(m.a(x), m.weights[0], padding=1)), a=first, b=conv(8, 8, 3))
    model.weights = [first.weight]  # type: ignore[assignment]  # a plain list
    found = outcomes(model)
    assert (found["a"], found["b"]) == ("its parameters are used outside it too", "depthwise-separable")


def test_names_may_hold_the_sign_that_numbers_calls() -> None:
    model = Lambda(lambda m, x: m.d["#1"](m.d["#"](x)), d=nn.ModuleDict({"#": conv(8, 8, 3), "#1": conv(8, 8, 3)}))
    assert outcomes(model) == {"d.#": "depthwise-separable", "d.#1": "depthwise-separable"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit.script
def test_a_scripted_model_says_that_it_is() -> None:
    model = torch.jit.script(nn.Sequential(conv(8, 8, 3), nn.BatchNorm2d(8), conv(8, 8, 3)))
    with pytest.raises(ConvcostError, match="inside the model, which is scripted; replace layers first"):
        outcomes(model)


def test_an_empty_input_is_a_reason() -> None:
    with pytest.raises(ConvcostError, match="0: its input is empty"):
        outcomes(nn.Sequential(conv(8, 8, 3)), torch.zeros(0, 8, 9, 9))
