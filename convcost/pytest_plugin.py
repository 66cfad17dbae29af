"""The pytest plugin: the fixture `assert_cost`, and the marker `cost` with the limits of a test.

Loading it imports neither torch nor the rest of convcost.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from convcost.models.report import ModelReport

__all__ = ["assert_cost", "pytest_configure", "pytest_runtest_call", "pytest_runtest_setup"]

MARKER = "cost(max_params=..., max_macs=..., ...): limits of the models that this test gives to assert_cost"

CHECKED = pytest.StashKey[bool]()
"""Whether a test with limits has called assert_cost."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def assert_cost(request: pytest.FixtureRequest) -> Callable[..., ModelReport]:
    """`convcost.pytest.assert_cost` with the limits of the test's marker, which a call's own limits override.

    A test with limits that passes without calling it fails, since its models were not checked. The cache of pytest
    keeps the costs of each call that passed, so that a later failure lists what grew since.
    """
    from convcost import pytest as helper

    check: Callable[..., ModelReport] = helper.assert_cost
    limits: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("cost"))):
        limits |= marker.kwargs
    request.node.stash[CHECKED] = not limits
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    calls = count()

    def check_with_limits(*args: object, **kwargs: object) -> ModelReport:
        __tracebackhide__ = True
        request.node.stash[CHECKED] = True
        if cache is None:
            return check(*args, **{**limits, **kwargs})
        key = f"convcost/{sha256(f'{request.node.nodeid} {next(calls)}'.encode()).hexdigest()[:16]}"
        token = helper.LAST_PASS.set(helper.from_json(cache.get(key, None)))
        try:
            report = check(*args, **{**limits, **kwargs})
        finally:
            helper.LAST_PASS.reset(token)
        with suppress(
            pytest.PytestCacheWarning
        ):  # where warnings are errors: a cache that cannot be written fails no test
            cache.set(key, helper.as_json(report))
        return report

    return check_with_limits


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test with limits that passed without a check."""
    yield
    if not item.stash.get(CHECKED, True):
        msg = "the test has limits (@pytest.mark.cost) and never called assert_cost: nothing was checked."
        pytest.fail(msg, pytrace=False)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose marker names no limits, or that does not use the fixture; the other tests run."""
    markers = list(item.iter_markers("cost"))
    if any(marker.args or not marker.kwargs for marker in markers):
        msg = "the test is marked with cost and must name its limits; write @pytest.mark.cost(max_macs=...)."
        pytest.fail(msg, pytrace=False)
    if markers and "assert_cost" not in getattr(item, "fixturenames", ()):
        msg = "the test is marked with cost and must use the fixture assert_cost; add it as an argument."
        pytest.fail(msg, pytrace=False)
