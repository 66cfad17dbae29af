import subprocess
from dataclasses import replace

import pytest
import torch
from fork_server import fast_python
from torch import nn
from torch.utils import flop_counter

from convcost.comparison.rows import Counts, Difference
from convcost.convolution.blocks import BLOCKS
from convcost.convolution.conv import Conv
from convcost.convolution.shape import Shape
from convcost.convolution.spec import Spec
from convcost.convolution.tree import Stage, chain
from convcost.nn.count.block_count import count_each
from convcost.nn.count.counters import COUNTERS, CounterError, count_with_fvcore, count_with_torch


def count(*args):
    return dict(count_each(*args))


def node_of(name, spec):
    block = BLOCKS[name]
    return block.make(spec, **block.parameters(spec, {}))


PLAIN = Spec(8, 16, (3, 3), 12, 12)
SEPARABLE = (node_of("depthwise-separable", PLAIN), PLAIN.input)
DEPTHWISE_MACS, POINTWISE_MACS = 12 * 12 * 8 * 9, 12 * 12 * 8 * 16


def test_one_conv_by_hand():
    conv = Stage("conv", Conv(3, 64, (3, 3), padding="same"))
    counts = count({"conv": (conv, Shape(1, 3, (20, 10)))})["conv"]
    assert counts.fvcore_macs == 20 * 10 * 64 * 3 * 9
    assert counts.torch_flops == 2 * (20 * 10 * 64 * 3 * 9)  # torch counts the multiplication and the addition
    assert counts.fvcore_params == 64 * 3 * 9


def test_each_block_comes_as_soon_as_it_is_counted():
    asked = []

    def watching(module, inputs):
        asked.append(module)
        return count_with_torch(module, inputs)

    results = count_each({"first": SEPARABLE, "second": SEPARABLE}, {"torch": watching})
    assert (next(results)[0], len(asked)) == ("first", 1)
    assert (next(results)[0], len(asked)) == ("second", 2)


def lying(counter, **lies):
    """The counter, but with these dicts of its tally changed at the path."""

    def liar(module, inputs):
        tally = counter(module, inputs)
        return replace(tally, **{field: {**getattr(tally, field), **lie} for field, lie in lies.items()})

    return liar


@pytest.mark.parametrize("who", COUNTERS)
@pytest.mark.parametrize(
    ("lie", "difference"),
    [
        ({"macs": {"pointwise": 1}}, ("pointwise", "MACs", POINTWISE_MACS, 1)),
        ({"macs": {"depthwise": DEPTHWISE_MACS + 1}}, ("depthwise", "MACs", DEPTHWISE_MACS, DEPTHWISE_MACS + 1)),
        ({"params": {"depthwise": 0}}, ("depthwise", "parameters", 8 * 9, 0)),
        ({"macs": {"": 5}}, ("all stages", "MACs", DEPTHWISE_MACS + POINTWISE_MACS, 5)),
        ({"params": {"": 5}}, ("all stages", "parameters", 8 * 9 + 8 * 16, 5)),
    ],
    ids=["one stage", "one MAC", "parameters", "outside the stages", "parameters outside the stages"],
)
def test_a_counter_that_lies_is_named_with_the_place_and_the_amount(who, lie, difference):
    counts = count({"block": SEPARABLE}, {**COUNTERS, who: lying(COUNTERS[who], **lie)})["block"]
    assert counts.agree is False
    assert counts.differences == (Difference(who, *difference),)


def test_two_lies_that_cancel_in_the_total_are_found():
    lie = {"depthwise": POINTWISE_MACS, "pointwise": DEPTHWISE_MACS}
    counts = count({"block": SEPARABLE}, {"fvcore": lying(count_with_fvcore, macs=lie)})["block"]
    assert counts.agree is False
    assert [difference.stage for difference in counts.differences] == ["depthwise", "pointwise"]


def failing(_module, _inputs):
    msg = "out of patience\nwith a long explanation"
    raise RuntimeError(msg)


def test_a_counter_that_fails_is_no_disagreement_and_no_agreement():
    counts = count({"block": SEPARABLE}, {**COUNTERS, "fvcore": failing})["block"]
    assert counts.agree is None
    assert (counts.fvcore_macs, counts.fvcore_params) == (None, None)
    assert counts.torch_flops == 2 * (DEPTHWISE_MACS + POINTWISE_MACS)
    assert counts.note == "fvcore unavailable: out of patience"


def test_a_real_disagreement_is_not_hidden_by_a_counter_that_fails():
    counters = {"fvcore": failing, "torch": lying(count_with_torch, macs={"depthwise": 7})}
    counts = count({"block": SEPARABLE}, counters)["block"]
    assert counts.agree is False
    assert [str(difference) for difference in counts.differences] == [
        "torch counts 7 MACs in depthwise, the formula 10368 (10361 fewer)"  # 12 · 12 · 8 · 9 = 10368
    ]


def test_a_convolution_that_fvcore_skips_is_an_error_and_not_zero():
    with pytest.raises(CounterError, match=r"^it does not know the operator aten::_convolution_mode and would count"):
        count_with_fvcore(nn.Conv2d(3, 3, 3, padding="same"), (torch.zeros(1, 3, 8, 8),))


def test_a_skipped_convolution_makes_fvcore_unavailable():
    def skipping(_, inputs):
        return count_with_fvcore(nn.Conv2d(8, 3, 3, padding="same"), inputs)

    counts = count({"block": SEPARABLE}, {**COUNTERS, "fvcore": skipping})["block"]
    assert counts.agree is None
    assert counts.note == (
        "fvcore unavailable: it does not know the operator aten::_convolution_mode and would count it 0"
    )


def test_a_large_block_is_judged_at_a_smaller_size_and_has_no_counts_of_its_own():
    node = Stage("conv", Conv(256, 256, 3, padding="same"))
    counts = count({"block": (node, Shape(1, 256, (512, 512)))})["block"]
    assert counts == Counts(None, 256 * 256 * 9, None, agree=True, differences=(), note="counted at 1x256x16x16")


def test_a_disagreement_at_a_smaller_size_is_a_disagreement():
    node = Stage("conv", Conv(256, 256, 3, padding="same"))
    blocks = {"block": (node, Shape(1, 256, (512, 512)))}
    counts = count(blocks, {**COUNTERS, "fvcore": lying(count_with_fvcore, macs={"": 1})})["block"]
    assert counts.agree is False
    assert counts.differences == (Difference("fvcore", "conv", "MACs", 16 * 16 * 256 * 256 * 9, 1),)


def test_a_block_of_ten_to_the_twenty_macs_is_never_allocated():
    node = Stage("conv", Conv(10**7, 10**7, 1))
    counts = count({"block": (node, Shape(1, 10**7, (1000, 1000)))}, {"fvcore": failing, "torch": failing})["block"]
    assert counts == Counts(
        None,
        None,
        None,
        agree=None,
        differences=(),
        note="unavailable: counting it takes 1e+05 GMACs and 3.73e+05 GiB even at 1x10000000x1x1, too much to run",
    )


def test_a_block_without_a_convolution_counts_nothing():
    assert count({"nothing": (chain(), Shape(1, 3, (4, 4)))})["nothing"] == Counts(
        0, 0, 0, agree=True, differences=(), note=None
    )


@pytest.fixture
def unusual_settings():
    before = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(3)
    yield
    torch.set_default_dtype(before[0])
    torch.set_num_threads(before[1])


@pytest.mark.usefixtures("unusual_settings")
def test_the_callers_settings_and_random_state_stay_as_they_are():
    mode, random_state = flop_counter._FlopCounterMode, torch.get_rng_state()
    assert count({"block": SEPARABLE})["block"].agree is True
    assert (torch.get_default_dtype(), torch.get_num_threads()) == (torch.float64, 3)
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), random_state)
    assert flop_counter._FlopCounterMode is mode


def test_torchs_counter_is_put_back_when_the_module_fails():
    mode = flop_counter._FlopCounterMode
    with pytest.raises(RuntimeError):
        count_with_torch(nn.Conv2d(3, 3, 3), (torch.zeros(1, 4, 8, 8),))
    assert flop_counter._FlopCounterMode is mode


def test_counting_works_where_gradients_are_off_for_good():
    with torch.inference_mode():
        assert count({"block": SEPARABLE})["block"].agree is True


def test_counting_says_nothing_of_its_own(capfd, caplog):
    spec = Spec(8, 8, (4, 4), 9)  # a pad and an addition, which fvcore likes to remark on
    count({"block": (node_of("inverted-residual", spec), spec.input)})
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@pytest.mark.slow
def test_counting_does_not_import_dynamo_and_torchs_counter_alone_does():
    ours = "from convcost.nn.count.counters import count_with_torch as c; c(m, (x,))"
    theirs = "from torch.utils.flop_counter import FlopCounterMode as F\nwith F(display=False): m(x)"
    for text, expected in ((ours, "False"), (theirs, "True")):
        script = f"import sys, torch\nm, x = torch.nn.Conv2d(3, 3, 1), torch.zeros(1, 3, 4, 4)\n{text}\n"
        script += "print('torch._dynamo' in sys.modules)"
        run = subprocess.run([fast_python(), "-c", script], capture_output=True, text=True, check=True)
        assert run.stdout.strip() == expected


@pytest.mark.slow
def test_a_torch_whose_insides_look_different_is_asked_the_plain_way(monkeypatch):
    hook = vars(flop_counter._FlopCounterMode)["__torch_dispatch__"]
    monkeypatch.delattr(hook, "__wrapped__")
    assert count({"block": SEPARABLE})["block"].agree is True
