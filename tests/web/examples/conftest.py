"""Fixtures for the examples in a browser: each module starts the one that it names, by the lines of its README."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.examples import Example, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.conftest import Watch


@pytest.fixture(scope="module")
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """The example whose folder the module names in `EXAMPLE`, with the variables that it may have in `ENVIRON`."""
    module = request.module
    with started(module.EXAMPLE, tmp_path_factory.mktemp("examples"), getattr(module, "ENVIRON", {})) as example:
        yield example


@pytest.fixture(autouse=True)
def _example_may_be_asked(example: Example, watch: Watch) -> None:
    watch.hosts |= example.addresses
