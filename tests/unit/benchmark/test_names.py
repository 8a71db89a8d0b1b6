from __future__ import annotations

from dualclip_lightning.benchmark.names import short_revision


def test_a_shortened_revision_keeps_the_mark_of_changed_files():
    assert short_revision("0123456789abcdef") == "0123456789ab"
    assert short_revision("0123456789abcdef-dirty") == "0123456789ab-dirty"
