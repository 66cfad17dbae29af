import pytest

from convcost.comparison.rows import Difference


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (
            Difference("fvcore", "depthwise", "MACs", 576, 0),
            "fvcore counts 0 MACs in depthwise, the formula 576 (576 fewer)",
        ),
        (
            Difference("torch", "all stages", "parameters", 10, 12),
            "torch counts 12 parameters in all stages, the formula 10 (2 more)",
        ),
    ],
)
def test_a_difference_says_who_where_and_how_much_on_one_line(difference, text):
    assert str(difference) == text
