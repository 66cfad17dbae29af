"""The pytest plugin: a fixture `assert_cost`, and a marker `cost` that holds the limits of a test.

Loading it loads neither torch nor anything else of convcost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from convcost.report import ModelReport

__all__ = ["assert_cost", "pytest_configure"]

MARKER = "cost(max_params=..., max_macs=..., ...): limits of the models that this test gives to assert_cost"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def assert_cost(request: pytest.FixtureRequest) -> Iterator[Callable[..., ModelReport]]:
    """`convcost.pytest.assert_cost` with the limits of the test's marker; a call's own limits win.

    A test with limits that never calls it fails: its models were not checked.
    """
    from convcost.pytest import assert_cost as check  # noqa: PLC0415 - loads torch when a test asks for it

    limits: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("cost"))):
        limits |= marker.kwargs
    called = False

    def bound(model: Any, inputs: Any, kwargs: Any = None, **own: Any) -> ModelReport:  # noqa: ANN401 - as the function
        nonlocal called
        called = True
        return check(model, inputs, kwargs, **{**limits, **own})

    yield bound
    if limits and not called:
        pytest.fail("the test has limits (@pytest.mark.cost) and never called assert_cost: nothing was checked.")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A marker without the fixture checks nothing: say so before anything runs."""
    for item in items:
        if item.get_closest_marker("cost") and "assert_cost" not in getattr(item, "fixturenames", ()):
            msg = f"{item.nodeid} is marked with cost and must ask for the fixture assert_cost; add it as an argument."
            raise pytest.UsageError(msg)
