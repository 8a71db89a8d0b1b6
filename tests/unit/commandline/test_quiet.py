from __future__ import annotations

import logging
import warnings

import pytest

from dualclip_lightning.commandline.quiet import quiet

LOGGER = logging.getLogger("a library")


@pytest.fixture(params=[logging.NOTSET, logging.INFO, logging.ERROR])
def disabled(request):
    """Logging level that other code has already disabled."""
    before = logging.root.manager.disable
    logging.disable(request.param)
    yield request.param
    logging.disable(before)


def test_warnings_are_silent_and_errors_are_not(caplog, recwarn):
    with quiet():
        warnings.warn("a warning", stacklevel=1)
        LOGGER.warning("a warning")
        LOGGER.error("an error")
    assert not recwarn.list
    assert caplog.messages == ["an error"]


def test_a_level_disabled_before_stays_disabled_within_and_afterwards(disabled):
    with quiet():
        assert LOGGER.isEnabledFor(logging.ERROR) == (disabled < logging.ERROR)
        assert not LOGGER.isEnabledFor(logging.WARNING)
    assert logging.root.manager.disable == disabled


def test_an_error_leaves_nothing_silenced(disabled):
    with pytest.raises(ValueError, match="within"), quiet():
        raise ValueError("within")
    assert logging.root.manager.disable == disabled
