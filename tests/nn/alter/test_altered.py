"""The altered copy: what it keeps of each convolution, and that the model it was made from is not touched."""

from __future__ import annotations

import copy
import threading
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from zoo import Lambda

import convcost
from convcost import BLOCKS, ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable

conv = partial(nn.Conv2d, 8, 8, 3, padding=1)
IMAGE = torch.zeros(1, 8, 9, 9)


def replaced(layer: nn.Module, image: torch.Tensor = IMAGE, to: str = "depthwise-separable", **rules: Any) -> Any:
    """The block in the place of a layer that is alone in a model."""
    new, _ = convcost.replace(nn.Sequential(layer), image, to=to, **rules)
    return new[0]  # type: ignore[index]  # an nn.Sequential


def state_of(model: nn.Module) -> list[Any]:
    """Everything about a model that must stay: values, gradients, modes, hooks, attributes and their order."""
    tensors = [
        (name, id(one), one.data_ptr(), one.clone(), one.grad) for name, one in model.state_dict(keep_vars=True).items()
    ]
    return [
        [(name, key, pointer, value.tolist(), grad) for name, key, pointer, value, grad in tensors],
        [(name, id(part), type(part), part.training, list(vars(part))) for name, part in model.named_modules()],
        [dict(part._forward_hooks) for part in model.modules()],
        [one.requires_grad for one in model.parameters()],
    ]  # fmt: skip


def test_the_model_and_the_random_state_stay_as_they_are() -> None:
    torch.manual_seed(5)
    model = nn.Sequential(conv(), nn.BatchNorm2d(8), nn.ReLU(), conv())
    model[1].eval()
    model[3].requires_grad_(requires_grad=False)
    model[2].register_forward_hook(lambda *_: None)
    model(torch.rand(2, 8, 9, 9)).sum().backward()
    image = torch.rand(2, 8, 9, 9)
    before, random_state = state_of(model), torch.get_rng_state()
    given = image.clone()
    new, _ = convcost.replace(model, image, to="depthwise-separable", cross_check=True)
    assert state_of(model) == before
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.equal(image, given)
    shared = {one.data_ptr() for one in model.parameters()} & {one.data_ptr() for one in new.parameters()}
    assert not shared


def changes_its_input(model: Any, image: torch.Tensor) -> torch.Tensor:
    image -= 1
    image.mul_(2)
    output: torch.Tensor = model.c(image)
    return output


def reads_and_changes_its_input(model: Any, image: torch.Tensor) -> torch.Tensor:
    assert image.isfinite().all()
    return changes_its_input(model, image)


@pytest.mark.parametrize("forward", [changes_its_input, reads_and_changes_its_input])
@pytest.mark.parametrize("rules", [{}, {"device": "cpu"}, {"to": "low-rank", "keep_weights": True, "rank": 1}], ids=str)
def test_the_given_input_stays_as_it_is(forward: Callable[..., torch.Tensor], rules: dict[str, Any]) -> None:
    image = torch.rand(1, 8, 9, 9)
    given = image.clone()
    convcost.replace(Lambda(forward, c=conv()), image, **{"to": "ghost", **rules})
    assert torch.equal(image, given)


def test_an_output_of_a_class_of_the_users_has_shapes_too() -> None:
    def forward(model: Any, image: torch.Tensor) -> Any:
        return SimpleNamespace(image=model.c(image), parts=torch.zeros(len(list(model.modules()))))

    with pytest.raises(ConvcostError, match="the model's output differs: 4, not 2"):
        convcost.replace(Lambda(forward, c=conv()), IMAGE, to="depthwise-separable")


def test_a_seed_decides_the_weights() -> None:
    def made(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        return list(replaced(conv()).parameters())

    torch.manual_seed(0)
    first, again, other = made(1), made(1), made(2)
    assert all(map(torch.equal, first, again))
    assert not any(map(torch.equal, first, other))


def test_the_weights_are_those_that_torch_draws() -> None:
    torch.manual_seed(7)
    model = nn.Sequential(conv())
    block = convcost.replace(model, IMAGE, to="depthwise-separable")[0][0]  # type: ignore[index]  # an nn.Sequential
    depthwise, pointwise = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 1)
    assert torch.equal(block.depthwise.weight, depthwise.weight)
    assert torch.equal(block.pointwise.bias.detach(), pointwise.get_parameter("bias"))


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_mode_dtype_and_requires_grad_are_kept(dtype: torch.dtype, *, trained: bool, mode: bool) -> None:
    layer = nn.Sequential(conv(dtype=dtype), nn.BatchNorm2d(8, dtype=dtype)).requires_grad_(trained).train(mode)
    block = replaced(layer, IMAGE.to(dtype))[0]
    assert {one.dtype for one in block.parameters()} == {dtype}
    assert {one.requires_grad for one in block.parameters()} == {trained}
    assert {part.training for part in block.modules()} == {mode}


def test_the_device_is_kept() -> None:
    assert {one.device.type for one in replaced(conv(device="meta")).parameters()} == {"meta"}


def test_a_layer_in_channels_last_has_a_block_in_channels_last() -> None:
    layer = nn.Conv2d(8, 16, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's annotation lacks it
    block = replaced(layer, to="low-rank")
    assert block.reduced.weight.is_contiguous(memory_format=torch.channels_last)
    out = block(IMAGE.to(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2},
        {"stride": (1, 2), "padding": (0, 2)},
        {"padding": "same"},
        {"padding": "valid"},
        {"padding": "same", "dilation": (2, 1), "kernel_size": (3, 5)},
        {"padding": "same", "kernel_size": (2, 4)},
        {"dilation": 3, "padding": 2},
        {"bias": False},
        {"kernel_size": (1, 7), "padding": (0, 3)},
    ],
    ids=str,
)
@pytest.mark.parametrize("block", ["depthwise-separable", "spatially-separable", "low-rank", "grouped", "ghost"])
def test_stride_padding_dilation_and_bias_are_kept(block: str, options: dict[str, Any]) -> None:
    layer = nn.Conv2d(8, 16, **{"kernel_size": 3, "padding": 1} | options)
    image = torch.rand(2, 8, 13, 11)
    new = replaced(layer, image, block)
    assert new(image).shape == layer(image).shape
    biases = [name for name, _ in new.named_parameters() if name.endswith("bias")]
    convolutions = [part for part in new.modules() if isinstance(part, nn.Conv2d)]
    assert len(biases) == len(convolutions) * options.get("bias", True)


@pytest.mark.parametrize("size", [8, 15, 16])
def test_a_block_takes_other_sizes_than_the_one_it_was_made_for(size: int) -> None:
    layer = nn.Conv2d(8, 16, 3, stride=2, padding=1)
    image = torch.rand(2, 8, size, size)
    assert replaced(layer)(image).shape == layer(image).shape


@pytest.mark.parametrize("block", [name for name in BLOCKS if name != "standard"])
def test_every_block_stands_in_for_a_layer_or_says_why_not(block: str) -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
    new, result = convcost.replace(model, IMAGE, to=block)
    assert convcost.count(new, IMAGE).totals == result.after.totals
    assert result.adds_up
    assert new(torch.rand(2, 8, 9, 9)).shape == (2, 8, 9, 9)


def test_a_copy_can_be_trained_and_copied() -> None:
    new, _ = convcost.replace(nn.Sequential(conv(), nn.BatchNorm2d(8), nn.ReLU(), conv()), IMAGE, to="ghost")
    new(torch.rand(2, 8, 9, 9)).sum().backward()
    assert all(one.grad is not None for one in new.parameters())
    assert copy.deepcopy(new).state_dict().keys() == new.state_dict().keys()


def test_layers_in_every_kind_of_container_are_replaced() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.listed = nn.ModuleList([conv(), conv()])
            self.named = nn.ModuleDict({"a": conv()})
            self.alone = conv()
            self.plain = [self.alone]  # which torch does not see
            self.run = self.alone.forward

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.plain[0](self.listed[1](self.listed[0](x)))
            out: torch.Tensor = self.named["a"](x)
            return out

    new, result = convcost.replace(Net(), IMAGE, to="depthwise-separable")
    assert [row.after for row in result.layers] == ["depthwise-separable"] * 4
    assert new.plain[0] is new.alone  # type: ignore[index]  # a list


def test_a_model_that_is_one_convolution_becomes_the_block() -> None:
    new, result = convcost.replace(conv(), IMAGE, to="depthwise-separable", only="^Conv2d$")
    assert [name for name, _ in new.named_children()] == ["depthwise", "pointwise"]
    assert [row.name for row in result.layers] == ["Conv2d"]


def test_a_tensor_with_a_graph_is_no_obstacle_to_the_copy() -> None:
    model = nn.Sequential(conv())
    model.scale = torch.ones(1, requires_grad=True) * 2
    new, _ = convcost.replace(model, IMAGE, to="depthwise-separable")
    assert new.scale.item() == 2  # type: ignore[operator]  # a tensor


def test_a_model_that_cannot_be_copied_is_refused_in_one_line() -> None:
    model = Lambda(lambda m, x: m.a(x), a=conv())
    model.lock = threading.Lock()  # type: ignore[assignment]  # a plain attribute
    with pytest.raises(
        ConvcostError, match=r"^model must be one that copy.deepcopy can copy: TypeError: cannot pickle"
    ):
        convcost.replace(model, IMAGE, to="depthwise-separable")


def test_a_model_that_needs_values_is_altered_on_the_cpu() -> None:
    model = Lambda(lambda m, x: m.a(x) if x.sum() > -1 else x, a=conv())
    new, result = convcost.replace(model, IMAGE, to="depthwise-separable")
    assert result.after.conditions["device"] == "cpu"
    assert new(torch.ones(1, 8, 9, 9)).shape == (1, 8, 9, 9)


def test_a_single_image_without_a_batch_is_taken() -> None:
    _, result = convcost.replace(nn.Sequential(conv()), torch.zeros(8, 9, 9), to="depthwise-separable")
    assert result.adds_up


OUTPUTS: dict[str, Callable[[torch.Tensor], Any]] = {
    "a tuple": lambda x: (x, [x, {"b": x}]),
    "nothing": lambda _: None,
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_a_model_may_return_anything(kind: str) -> None:
    model = Lambda(lambda m, x: OUTPUTS[kind](m.a(x)), a=conv())
    assert convcost.replace(model, IMAGE, to="depthwise-separable")[1].adds_up


def test_keyword_inputs_are_taken() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = conv()

        def forward(self, *, image: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.a(image)
            return out

    assert convcost.replace(Net(), (), {"image": IMAGE}, to="depthwise-separable")[1].adds_up


def through(hold: Callable[[nn.Module], Any]) -> nn.Module:
    """A model that calls one of its convolutions through a function."""
    layer = nn.Conv2d(8, 8, 3)
    model = Lambda(lambda m, x: m.b(m.function(x)), a=layer, b=nn.Conv2d(8, 8, 3))
    model.function = hold(layer)
    return model


@pytest.mark.parametrize(
    "hold", [lambda layer: lambda x: layer(x) + 0, lambda layer: lambda x, one=layer: one(x) + 0, lambda layer: layer]
)
def test_functions_call_the_layers_of_the_copy(hold: Any) -> None:
    model = through(hold)
    new, result = convcost.replace(model, torch.zeros(1, 8, 9, 9), to="depthwise-separable")
    assert result.adds_up
    assert not {id(one) for one in new.parameters()} & {id(one) for one in model.parameters()}
    assert [row.after for row in result.layers] == ["depthwise-separable"] * 2


def test_functions_that_hold_nothing_of_the_model_stay_the_same() -> None:
    model = Lambda(lambda m, x: m.a(x) if m.act is nn.functional.relu else x, a=nn.Conv2d(8, 8, 3))
    model.act = nn.functional.relu  # type: ignore[assignment]  # a function
    new, _ = convcost.replace(model, torch.zeros(1, 8, 9, 9), to="depthwise-separable")
    assert new.act is nn.functional.relu


def test_a_model_whose_copy_would_share_its_layers_is_refused() -> None:
    held: list[nn.Module] = []

    def hold(layer: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        held.append(layer)
        return lambda x: held[0](x) + 0

    rule = rf"model must call its layers as attributes: {8 * 8 * 9 + 8} parameters are held by a function"
    with pytest.raises(ConvcostError, match=rule):
        convcost.replace(through(hold), torch.zeros(1, 8, 9, 9), to="depthwise-separable")
