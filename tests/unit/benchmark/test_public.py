from __future__ import annotations

import doctest
from types import FunctionType

import pytest

from dualclip_lightning import benchmark


def test_the_example_runs_as_it_is_printed():
    failed, attempted = doctest.testmod(benchmark)
    assert failed == 0
    assert attempted > 0


@pytest.mark.parametrize("name", benchmark.__all__)
def test_every_public_name_is_documented(name):
    offered = getattr(benchmark, name)
    assert isinstance(offered, type | FunctionType)
    assert offered.__doc__
    assert name in dir(benchmark)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = benchmark.nothing
