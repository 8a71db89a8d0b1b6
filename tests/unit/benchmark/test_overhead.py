from __future__ import annotations

import re

from dualclip_lightning.benchmark import overhead


def test_a_run_is_divided_into_the_image_tower_and_the_rest(tiny_folder, capsys, monkeypatch):
    seconds = []
    original = overhead.time_run
    monkeypatch.setattr(overhead, "time_run", lambda *a, **k: seconds.append(original(*a, **k)) or seconds[-1])
    overhead.main(["--pretrained", str(tiny_folder), "--images", "6", "--size", "40", "--num-workers", "0"])
    assert len(seconds) == 2  # one to warm up
    assert seconds[1]["whole run"] > seconds[1]["forward"] > 0
    assert seconds[1]["whole run"] == seconds[1]["forward"] + seconds[1]["everything else"]
    printed = capsys.readouterr().out
    assert "6 images of 40x40" in printed
    assert re.search(r"everything else\s+\d", printed)


def test_images_half_of_them_with_a_mask_of_their_size(tmp_path):
    overhead.write_images(tmp_path, 5, 32)
    names = {part: sorted(path.name for path in (tmp_path / part).iterdir()) for part in ("good", "bad", "mask")}
    assert names["good"] == ["0001.png", "0003.png"]
    assert names["bad"] == names["mask"] == ["0000.png", "0002.png", "0004.png"]
