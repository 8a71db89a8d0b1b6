from __future__ import annotations

import pandas as pd
import pytest

from dualclip_lightning.data.demo import MATERIALS
from dualclip_lightning.demo import ablation
from dualclip_lightning.demo.evaluate import DemoRun


def test_every_variant_meets_every_material_with_every_seed(monkeypatch, tmp_path):
    def run_once(category, variant, seed, arguments, folder):
        return DemoRun("pair", category, variant, seed, {"image_AUROC": 0.5}, None, {})

    monkeypatch.setattr(ablation, "run_once", run_once)
    frame = ablation.run_ablation("references", 2, tmp_path)
    assert len(frame.drop_duplicates(["category", "variant", "seed"])) == len(frame) == 4 * len(MATERIALS) * 2


def test_the_spread_is_that_of_the_means_over_categories():
    values = {("a", 0): 0.5, ("b", 0): 0.7, ("a", 1): 0.6, ("b", 1): 0.8}
    rows = [
        {"category": category, "variant": "joint", "kind": "pair", "seed": seed}
        | dict.fromkeys(ablation.METRICS, value)
        for (category, seed), value in values.items()
    ]
    table = ablation.summarise(pd.DataFrame(rows))
    # Means 60 and 70 by hand, their mean and their standard deviation with n - 1.
    assert table.loc[("joint", "pair"), "image_AUROC"] == "65.0 ± 7.1"


def test_an_unknown_ablation_is_refused(capsys):
    with pytest.raises(SystemExit):
        ablation.main(["--only", "nothing"])
    assert "invalid choice" in capsys.readouterr().err
