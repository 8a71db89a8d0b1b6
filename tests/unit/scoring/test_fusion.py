from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dualclip_lightning.scoring import image_score, joint_score

UNIT = st.floats(0, 1, width=32)
MAPS = arrays(np.float32, (2, 3, 4), elements=UNIT)


@pytest.mark.slow
@given(MAPS, MAPS, st.floats(0, 1))
def test_the_joint_map_is_the_weighted_mean_and_stays_between_its_parts(text, visual, alpha):
    joint = joint_score(torch.from_numpy(text), torch.from_numpy(visual), alpha).numpy()
    np.testing.assert_allclose(joint, alpha * text.astype(float) + (1 - alpha) * visual.astype(float), atol=1e-6)
    assert (joint >= 0).all()
    assert (joint <= 1).all()


@given(MAPS, MAPS)
def test_with_weight_0_or_1_the_result_is_exactly_one_part(text, visual):
    text, visual = torch.from_numpy(text), torch.from_numpy(visual)
    assert torch.equal(joint_score(text, visual, 1), text)
    assert torch.equal(joint_score(text, visual, 0), visual)


@given(arrays(np.float32, 2, elements=UNIT), MAPS, st.floats(0, 1))
def test_the_image_score_joins_the_class_score_with_the_maximum_of_the_map(class_score, score_map, weight):
    scores = image_score(torch.from_numpy(class_score), torch.from_numpy(score_map), weight)
    assert scores.shape == (2,)
    for score, own, patches in zip(scores.tolist(), class_score.tolist(), score_map.tolist(), strict=True):
        largest = max(max(row) for row in patches)
        assert score == pytest.approx(weight * own + (1 - weight) * largest, abs=1e-6)
        assert 0 <= score <= 1
