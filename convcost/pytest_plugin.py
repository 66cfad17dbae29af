"""The pytest plugin: a fixture `assert_cost`, and a marker `cost` that holds the limits of a test.

Loading it loads neither torch nor anything else of convcost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from convcost.models.report import ModelReport

__all__ = ["assert_cost", "pytest_collection_modifyitems", "pytest_configure", "pytest_runtest_call"]

MARKER = "cost(max_params=..., max_macs=..., ...): limits of the models that this test gives to assert_cost"

CHECKED = pytest.StashKey[bool]()
"""Of a test with limits: whether it has called assert_cost."""


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def assert_cost(request: pytest.FixtureRequest) -> Callable[..., ModelReport]:
    """`convcost.pytest.assert_cost` with the limits of the test's marker; a call's own limits win.

    A test with limits that passes and never called it fails: its models were not checked.
    """
    from convcost.pytest import assert_cost as check

    limits: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("cost"))):
        limits |= marker.kwargs
    request.node.stash[CHECKED] = not limits

    def bound(model: Any, inputs: Any, kwargs: Any = None, **own: Any) -> ModelReport:  # noqa: ANN401 - as the function
        __tracebackhide__ = True
        request.node.stash[CHECKED] = True
        return check(model, inputs, kwargs, **{**limits, **own})

    return bound


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that passed and checked nothing; one that was skipped or raised has said what there is to say."""
    yield
    if not item.stash.get(CHECKED, True):
        msg = "the test has limits (@pytest.mark.cost) and never called assert_cost: nothing was checked."
        pytest.fail(msg, pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A marker that limits nothing, or without the fixture, checks nothing: say so before anything runs."""
    for item in items:
        markers = list(item.iter_markers("cost"))
        if any(marker.args or not marker.kwargs for marker in markers):
            msg = f"{item.nodeid} is marked with cost and must name its limits; write @pytest.mark.cost(max_macs=...)."
            raise pytest.UsageError(msg)
        if markers and "assert_cost" not in getattr(item, "fixturenames", ()):
            msg = f"{item.nodeid} is marked with cost and must ask for the fixture assert_cost; add it as an argument."
            raise pytest.UsageError(msg)
