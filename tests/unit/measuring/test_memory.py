from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from dualclip_lightning.measuring import memory


@pytest.mark.skipif(not memory.CLEAR.exists(), reason="only Linux forgets a peak")
def test_the_peak_is_that_since_it_was_reset():
    cpu = torch.device("cpu")
    gc.collect()  # or garbage of other tests could be freed during the measurement
    memory.reset_peak(cpu)
    small = memory.peak_megabytes(cpu)
    filled = np.ones(80_000_000, np.uint8)
    large = memory.peak_megabytes(cpu)
    assert 70 < large - small < 120
    del filled
    memory.reset_peak(cpu)
    assert memory.peak_megabytes(cpu) < large - 40
