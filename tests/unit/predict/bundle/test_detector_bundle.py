"""A detector after `save` and `load` scores as before, and says what it cannot keep."""

from __future__ import annotations

import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dualclip_lightning.images.finding.listing import find_images
from dualclip_lightning.predict import Detector, Geometry, Threshold
from dualclip_lightning.predict.bundle.file import read_bundle, write_bundle
from dualclip_lightning.predict.bundle.plain import check_weights
from dualclip_lightning.testing.tiny_clip import save_folder, tiny_clip
from tests.towers import TINY_CLIP, write_image

LAYERS = {"reference_layers": [0.5, 1.0], "neighbourhood": (1, 3), "reference_fusion": "lowest"}
FORMS = {
    "text": {"compare_with": "none"},
    "given": {"reference_dir": "references"},
    "layers": {"reference_dir": "references", **LAYERS},
    "rotations": {"reference_dir": "references", "reference_rotations": True, "class_neighbours": [1, 2]},
    "window, tiles": {"reference_dir": "references", "spatial_window": 0.5, "geometry": Geometry("tiles", 40, 0.5)},
    "prompts": {"reference_dir": "references", "states": {"normal": ["good {}"], "anomalous": ["bad {}"]},
                "templates": ["a {}."], "image_size": (48, 64), "temperature": 0.2, "seed": 7},
    "adaptation": {"compare_with": "none", "tta": {"steps": 1}},
    "another method": {"method": "AnoCLIP", "views": False, "compare_with": "none"},
    "pairs": {"geometry": "squash"},
}  # fmt: skip


@pytest.fixture
def make(make_detector, tmp_path, monkeypatch):
    """Function that makes a detector in a folder with three references."""
    monkeypatch.chdir(tmp_path)
    for i in range(3):
        write_image(tmp_path / "references" / f"{i}.png", seed=50 + i, size=(50, 40 + i))
    return make_detector


def reloaded(detector: Detector, **changes) -> Detector:
    detector.save("plate.dualclip", overwrite=True)
    return Detector.load("plate.dualclip", device="cpu", **changes)


def check_same(found, expected) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.name, one.score, one.references) == (other.name, other.score, other.references)
        assert (one.decision, one.p_value, one.reason) == (other.decision, other.p_value, other.reason)
        assert one.patch_map.tobytes() == other.patch_map.tobytes()
        assert one.map.tobytes() == other.map.tobytes()


@pytest.mark.parametrize("form", FORMS)
def test_scores_maps_and_decisions_are_equal_to_the_bit(make, shots, form):
    detector = make(**FORMS[form])
    detector.calibrate(shots, false_alarm_rate=0.2)
    same = reloaded(detector)
    check_same(same.predict(shots), detector.predict(shots))
    assert same.threshold.as_facts() == detector.threshold.as_facts()
    assert same.as_bundle().facts == detector.as_bundle().facts


@pytest.mark.parametrize("threshold", ["auto", None, 0.25])
def test_a_threshold_that_was_not_measured_stays_as_it_was(make, shots, threshold):
    detector = make(compare_with="none", threshold=threshold)
    images = find_images([shots]).paths * 3  # at least twenty, for "auto"
    check_same(reloaded(detector).predict(images), detector.predict(images))


def test_a_stream_continues_with_the_images_in_its_bank(make, shots):
    detector = make(compare_with="stream", bank_size=3, threshold=None)
    first, *later = find_images([shots]).paths
    detector.predict([first, *later[:3]])
    same = reloaded(detector)
    expected = detector.predict(later[3:])
    assert [len(each.references) for each in expected] == [3] * 3
    check_same(same.predict(later[3:]), expected)


def test_it_holds_no_pictures_and_needs_none(make, shots):
    detector = make(reference_dir="references", threshold=None)
    detector.save("plate.dualclip")
    expected = detector.predict(shots)
    pixels = np.asarray(write_image_array("references/0.png"))
    shutil.rmtree("references")
    check_same(Detector.load("plate.dualclip", device="cpu").predict(shots), expected)
    content = Path("plate.dualclip").read_bytes()
    assert pixels[0].tobytes() not in content
    assert pixels[0].astype(np.float32).tobytes() not in content
    assert b"\x89PNG" not in content


def write_image_array(path):
    from PIL import Image

    return np.asarray(Image.open(path))


def test_an_image_is_not_compared_with_itself_from_another_directory_either(make, monkeypatch, tmp_path):
    detector = make(reference_dir="references", threshold=None)
    detector.save("plate.dualclip")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = Detector.load("../plate.dualclip", device="cpu").predict(tmp_path / "references" / "1.png")
    assert sorted(Path(name).name for name in found.references) == ["0.png", "2.png"]


def test_pairs_are_saved_with_a_warning_that_there_are_no_references(make, caplog):
    with caplog.at_level(logging.WARNING):
        make(threshold=None).save("plate.dualclip")
    (record,) = caplog.records
    assert "no references" in record.message
    assert "Set reference_dir" in record.message


def test_a_method_that_compares_pictures_is_refused(make):
    detector = make(method="MuSc", geometry="squash", reference_dir="references")
    with pytest.raises(ValueError, match=r"no pictures, but MuSc compares whole images\. Use DualImageCLIP"):
        detector.save("plate.dualclip")
    assert not Path("plate.dualclip").exists()


def test_an_argument_that_is_no_plain_data_is_named(make):
    detector = make(compare_with="none", temperature=np.float32(0.1))
    with pytest.raises(ValueError, match=r"A bundle holds only numbers.* but temperature is np\.float32"):
        detector.save("plate.dualclip")


def test_the_same_weights_are_taken_from_another_place(make, shots, tiny_folder, tmp_path):
    detector = make(reference_dir="references")
    detector.calibrate(shots)
    shutil.copytree(tiny_folder, tmp_path / "copy")
    same = reloaded(detector, pretrained=str(tmp_path / "copy"), batch_size=3)
    assert same.batch_size == 3
    assert same.threshold.settings == same.settings
    for one, other in zip(same.predict(shots), detector.predict(shots), strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-6)


def test_relative_weights_are_found_from_another_directory(make_detector, tiny_folder, tmp_path, monkeypatch):
    shutil.copytree(tiny_folder, tmp_path / "weights")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    make_detector(pretrained="weights", compare_with="none", threshold=0.5).save("plate.dualclip")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert Detector.load(tmp_path / "plate.dualclip", device="cpu").threshold.score == 0.5


def test_a_folder_with_the_name_of_a_tag_is_not_taken_for_the_weights(tmp_path, monkeypatch):
    for name in ("demo", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    Detector("plate", pretrained="demo", compare_with="none", device="cpu").save("plate.dualclip")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert Detector.load("../plate.dualclip", device="cpu").settings["weights"] == "demo"


def test_other_weights_are_refused_with_both_digests(make, tmp_path):
    detector = make(compare_with="none", threshold=None)
    (tmp_path / "other").mkdir()
    save_folder(tiny_clip(seed=1), tmp_path / "other")
    other = make(pretrained=str(tmp_path / "other"), compare_with="none")
    held, found = (each.settings["weights_sha256"][:12] for each in (detector, other))
    assert held != found
    with pytest.raises(ValueError, match=f"digest {held}, but these have {found}. Set pretrained"):
        reloaded(detector, pretrained=str(tmp_path / "other"))
    with pytest.raises(ValueError, match="made with weights"):
        reloaded(detector, pretrained=str(TINY_CLIP))


def test_other_trained_layers_are_refused_with_the_remedy(make):
    bundle = make(compare_with="none").as_bundle()
    held = replace(bundle, settings={**bundle.settings, "layers_sha256": "a" * 64})
    check_weights(held, held.settings)
    for found, told in (("b" * 64, "b" * 12), (None, "none")):
        expected = f"trained layers of digest {'a' * 12}, but these have {told}. Set checkpoint"
        with pytest.raises(ValueError, match=expected):
            check_weights(held, {**bundle.settings, "layers_sha256": found})


def test_settings_with_another_meaning_are_refused_by_name(make):
    bundle = make(compare_with="none").as_bundle()
    changed = replace(bundle, settings={**bundle.settings, "temperature": 0.5}, versions={"dualclip_lightning": "9"})
    write_bundle(Path("plate.dualclip"), changed)
    expected = r"temperature \(0\.5, now 0\.07\)\. Use dualclip_lightning 9, or make"
    with pytest.raises(ValueError, match=expected):
        Detector.load("plate.dualclip", device="cpu")


def test_other_versions_are_named_in_one_warning(make, caplog):
    detector = make(compare_with="none", threshold=None)
    bundle = detector.as_bundle()
    write_bundle(Path("plate.dualclip"), replace(bundle, versions={**bundle.versions, "torch": "1.0", "numpy": "0.1"}))
    with caplog.at_level(logging.WARNING):
        Detector.load("plate.dualclip", device="cpu")
    (record,) = caplog.records
    now = bundle.versions
    assert f"numpy 0.1 (now {now['numpy']}), torch 1.0 (now {now['torch']})" in record.message
    assert "pillow" not in record.message
    caplog.clear()
    reloaded(detector)
    assert not caplog.records


@pytest.mark.parametrize("name", ["alpha", "class_name", "reference_dir", "threshold"])
def test_what_the_bundle_determines_cannot_be_changed(make, name):
    make(compare_with="none", threshold=None).save("plate.dualclip")
    with pytest.raises(ValueError, match=f"A bundle determines {name}."):
        Detector.load("plate.dualclip", **{name: 0.5})


def test_a_calibrated_bundle_can_be_given_another_threshold(make, shots):
    detector = make(reference_dir="references")
    detector.calibrate(shots)
    same = reloaded(detector)
    same.threshold = Threshold(0.125)
    assert reloaded(same).threshold == Threshold(0.125)


ARGUMENTS = st.fixed_dictionaries({}, optional={
    "class_name": st.text(max_size=8).map("plate {}".format),
    "temperature": st.floats(0.01, 1),
    "alpha": st.floats(0, 0.99),
    "class_weight": st.floats(0, 1),
    "seed": st.integers(0, 2**40),
    "spatial_window": st.floats(0.1, 1),
    "geometry": st.sampled_from(["keep", "squash", Geometry("tiles", 33, 0.125)]),
    "image_size": st.sampled_from([32, (32, 48), [48, 48]]),
    "drawing": st.sampled_from(["winclip", {"sigma": 2.5}]),
    "domain": st.sampled_from(["object", "texture"]),
    "text_mean": st.sampled_from(["raw", "unit"]),
    "vv_blocks": st.sampled_from([[2], [1, 3]]),
    "neighbourhood": st.sampled_from([[1], (1, 3)]),
    "tta": st.sampled_from([True, {"steps": 3}]),
    "preprocessing": st.just("imagenet"),
    "batch_size": st.integers(1, 9),
    "max_megapixels": st.floats(1, 20),
    "min_area": st.integers(0, 50),
    "threshold": st.sampled_from(["auto", None, 0.5]),
})  # fmt: skip


@pytest.mark.slow
@settings(deadline=None, derandomize=True, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ARGUMENTS)
def test_any_settings_are_kept(tiny_folder, tmp_path, arguments):
    detector = Detector(**{"pretrained": str(tiny_folder), "device": "cpu", "compare_with": "none"} | arguments)
    detector.save(tmp_path / "plate.dualclip", overwrite=True)
    same = Detector.load(tmp_path / "plate.dualclip", device="cpu")
    assert (same.batch_size, same.max_megapixels) == (detector.batch_size, detector.max_megapixels)
    assert repr(same) == repr(detector)
    assert same.as_bundle().facts == detector.as_bundle().facts
    assert read_bundle(tmp_path / "plate.dualclip").digest == same.as_bundle().digest


def test_the_message_of_a_damaged_file_reaches_the_user(make):
    Path("plate.dualclip").write_bytes(b"no bundle")
    with pytest.raises(ValueError, match=re.escape("Cannot read a bundle from 'plate.dualclip'")):
        Detector.load("plate.dualclip")
