from __future__ import annotations

import csv
import math
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import uniform_filter
from torchvision.transforms.v2 import InterpolationMode, Resize

from dualclip_lightning.backbone import DualPathVisionEncoder, load_backbone
from dualclip_lightning.images.finding.listing import find_images
from dualclip_lightning.pairing import random_groups
from dualclip_lightning.predict import Detector, Failure, Geometry, ImageError, Prediction, Threshold
from dualclip_lightning.predict.options import main
from dualclip_lightning.prompts import prompt_ensemble, text_anchors
from tests.hostile_images import picture
from tests.towers import write_image

TAU, ALPHA, WEIGHT = 0.1, 0.3, 0.6
NUMBERS = {"temperature": TAU, "alpha": ALPHA, "class_weight": WEIGHT, "geometry": "squash"}
NEAR = {"abs": 1e-5}


class Equations:
    """Dual-Image CLIP computed one patch at a time (eq. 1 to 6 and 13), from whole images."""

    def __init__(self, folder: Path, keep: bool = False) -> None:
        self.keep = keep
        self.clip = load_backbone("ViT-B-32", str(folder))
        self.encoder = DualPathVisionEncoder(self.clip.visual)
        self.anchors = text_anchors(self.clip, prompt_ensemble("plate"))

    @torch.inference_mode()
    def features(self, path: Path):
        image = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1) / 255
        how = self.clip.preprocessing
        mode = InterpolationMode(how.interpolation)
        scale = max(m / side for m, side in zip(how.size, image.shape[1:], strict=True))
        kept = tuple(16 * round(side * scale / 16) for side in image.shape[1:])
        image = Resize(kept if self.keep else how.size, interpolation=mode, antialias=True)(image)
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (how.mean, how.std))
        return self.encoder(((image - mean) / std)[None])

    def anomalous(self, embedding: torch.Tensor) -> float:
        normal, bad = (math.exp(cosine(embedding, anchor) / TAU) for anchor in self.anchors)
        return bad / (normal + bad)

    def __call__(self, path: Path, references: list[Path], near=None):
        """Return score and map; `near` tells with which places (row, column) of a reference a place is compared."""
        mine = self.features(path)
        others = [self.features(reference).patch_embeddings[0] for reference in references]
        height, width = mine.patch_embeddings.shape[1:3]
        places = [(r, c) for r in range(height) for c in range(width)]
        values = np.empty((height, width))
        for place in places:
            patch = mine.patch_embeddings[0][place]
            nearest = [
                max(cosine(patch, other[p]) for p in np.ndindex(other.shape[:2]) if near is None or near(place, p))
                for other in others
            ]
            text = self.anomalous(patch)
            visual = sum(min(1 - n, 1) for n in nearest) / max(len(nearest), 1)
            values[place] = ALPHA * text + (1 - ALPHA) * visual if others else text
        return WEIGHT * self.anomalous(mine.class_embedding[0]) + (1 - WEIGHT) * values.max(), values


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b / a.norm() / b.norm())


@pytest.fixture(scope="module")
def equations(tiny_folder):
    return Equations(tiny_folder)


@pytest.fixture(scope="module")
def pairs(make_detector):
    return make_detector(**NUMBERS)


def check(prediction: Prediction, expected) -> None:
    score, score_map = expected
    assert prediction.score == pytest.approx(score, **NEAR)
    np.testing.assert_allclose(prediction.patch_map, score_map, atol=1e-5)


def test_pairs_have_the_scores_of_the_equations(pairs, equations, shots):
    predictions = pairs.predict(shots)
    names = [prediction.name for prediction in predictions]
    assert names == sorted(map(str, shots.rglob("*.png")))
    partners = {names[a]: names[b] for g in random_groups(names, 1, 0) for a, b in zip(g, g[1:] + g[:1], strict=True)}
    for prediction in predictions:
        assert prediction.references == (partners[prediction.name],)
        check(prediction, equations(prediction.name, prediction.references))


def test_by_default_images_keep_their_aspect_ratio_and_pairs_of_different_grids_are_compared(
    make_detector, tiny_folder, shots
):
    numbers = {name: value for name, value in NUMBERS.items() if name != "geometry"}
    equations = Equations(tiny_folder, keep=True)
    predictions = make_detector(**numbers).predict(shots)
    assert {prediction.patch_map.shape for prediction in predictions} == {(3, 4), (4, 3), (9, 3)}
    for prediction in predictions:
        check(prediction, equations(prediction.name, prediction.references))


@pytest.mark.parametrize("size", [(1, 400), (400, 1)])
def test_a_very_long_image_is_limited_with_a_note(make_detector, size):
    wide = make_detector().predict(np.zeros((*size, 3), np.uint8))
    assert wide.patch_map.size <= 4 * 9
    assert wide.map.shape == size
    (note,) = wide.notes
    assert "so long that it is seen at" in note
    assert "with another aspect ratio" in note


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_the_batch_size_changes_nothing(make_detector, pairs, shots, batch_size):
    for geometry in ("squash", "keep", "tiles"):
        ours = make_detector(**{**NUMBERS, "geometry": geometry}, batch_size=batch_size).predict(shots)
        for mine, other in zip(ours, make_detector(**{**NUMBERS, "geometry": geometry}).predict(shots), strict=True):
            assert (mine.name, mine.references) == (other.name, other.references)
            assert mine.score == pytest.approx(other.score, **NEAR)
            np.testing.assert_allclose(mine.patch_map, other.patch_map, atol=1e-5)


def test_a_single_image_has_its_text_score(pairs, equations, shots):
    prediction = pairs.predict(shots / "0.png")
    assert prediction.references == ()
    check(prediction, equations(shots / "0.png", []))


def test_an_array_a_tensor_a_pillow_image_and_a_file_are_the_same(pairs, shots):
    with Image.open(shots / "1.png") as opened:
        image = opened.convert("RGB")
    array = np.asarray(image)
    expected = pairs.predict(str(shots / "1.png"))
    floats = torch.from_numpy(array / np.float32(255)).permute(2, 0, 1)
    for same in (image, array, torch.from_numpy(array.copy()).permute(2, 0, 1), floats):
        assert pairs.predict(same).score == pytest.approx(expected.score, **NEAR)


def test_a_batch_is_judged_as_a_list(pairs):
    batch = torch.rand(3, 3, 30, 40, generator=torch.Generator().manual_seed(0))
    together, apart = pairs.predict(batch), pairs.predict(list(batch))
    assert [p.score for p in together] == [p.score for p in apart]
    assert [p.name for p in together] == ["image 0", "image 1", "image 2"]
    assert pairs.predict([]) == []


def test_the_map_has_the_size_of_the_image_and_the_range_of_its_patches(pairs, shots):
    for prediction in pairs.predict(shots):
        assert prediction.map.shape == prediction.size
        assert prediction.map.dtype == np.float32
        averaged = uniform_filter(prediction.patch_map, 3, mode="nearest")
        assert prediction.map.max() <= prediction.peak == pytest.approx(averaged.max())
        assert prediction.map.min() >= prediction.patch_map.min()


def test_a_folder_of_references_is_averaged_and_leaves_out_the_image_itself(make_detector, equations, shots):
    detector = make_detector(**NUMBERS, reference_dir=shots)
    everyone = sorted(map(str, shots.rglob("*.png")))
    assert detector.reference_names == everyone
    prediction = detector.predict(shots / "below" / ".." / "2.png")
    assert prediction.references == tuple(name for name in everyone if not name.endswith("2.png"))
    check(prediction, equations(shots / "2.png", [Path(name) for name in prediction.references]))


@pytest.mark.parametrize("several", [False, True])
def test_references_in_memory_serve_images_in_memory(make_detector, several):
    images = [picture(seed=i) for i in range(2)]
    detector = make_detector(reference_dir=images if several else images[0])
    names = ("reference 0", "reference 1") if several else ("reference",)
    assert [p.references for p in detector.predict(images)] == [names] * 2
    assert detector.predict(images[0]).references == names


def test_a_reference_that_cannot_be_used_is_named(make_detector, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"Cannot use the reference '.*bad\.png': it is no image"):
        make_detector(reference_dir=tmp_path)
    with pytest.raises(ValueError, match="at least one reference"):
        make_detector(reference_dir=[])


def test_text_only_needs_no_references(make_detector, shots):
    for arguments in ({"references": "none"}, {"alpha": 1, "references": shots / "nowhere"}):
        assert all(p.references == () for p in make_detector(**arguments).predict(shots))


def test_a_stream_gives_one_image_at_a_time_the_scores_of_all_at_once(make_detector, equations, shots):
    paths = sorted(shots.glob("*.png"))
    settings = {**NUMBERS, "references": "stream", "bank_size": 2}
    camera = make_detector(**settings)
    single = [camera.predict(path) for path in paths]
    for before, prediction in enumerate(single):
        assert prediction.references == tuple(str(path) for path in reversed(paths[max(0, before - 2) : before]))
    camera.forget()
    assert camera.predict(paths[0]).references == ()
    together = make_detector(**settings, batch_size=3).predict(paths)
    assert [p.references for p in together] == [p.references for p in single]
    assert [p.score for p in together] == pytest.approx([p.score for p in single], **NEAR)
    check(single[4], equations(paths[4], [paths[3], paths[2]]))


def test_a_broken_image_of_a_stream_is_no_reference(make_detector, shots, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    camera = make_detector(compare_with="stream")
    found = camera.predict([shots / "0.png", tmp_path / "bad.png", shots / "1.png"], errors="return")
    assert found[1] == Failure(str(tmp_path / "bad.png"), "it is no image, or of a kind that is not read.")
    assert found[2].references == (str(shots / "0.png"),)


def test_a_window_compares_with_patches_near_the_same_place(make_detector, equations, shots):
    predictions = make_detector(**NUMBERS, spatial_window=0.34).predict(shots)
    prediction = predictions[0]
    near = lambda a, b: abs(a[0] - b[0]) <= 1 and abs(a[1] - b[1]) <= 1  # noqa: E731 - patches are thirds of the side
    check(prediction, equations(prediction.name, prediction.references, near))
    wide = make_detector(**NUMBERS, spatial_window=1.0).predict(shots)[0]
    check(wide, equations(wide.name, wide.references))


def test_the_partner_of_a_broken_image_gets_another(pairs, shots, tmp_path):
    names = sorted(map(str, shots.rglob("*.png")))
    broken, partner = next(group for group in random_groups(names, 1, 0) if len(group) == 2)
    (tmp_path / "shots").mkdir()
    copies = [tmp_path / "shots" / str(Path(name).relative_to(shots)).replace("/", "_") for name in names]
    for position, (name, copy) in enumerate(zip(names, copies, strict=True)):
        copy.write_bytes(b"" if position == broken else Path(name).read_bytes())
    found = pairs.predict(copies, errors="return")
    assert isinstance(found[broken], Failure)
    assert all(len(p.references) == 1 for p in found if isinstance(p, Prediction))
    assert str(copies[broken]) not in found[partner].references


def test_a_path_given_twice_is_not_its_own_reference(pairs, shots):
    assert [p.references for p in pairs.predict([shots / "0.png"] * 2)] == [(), ()]


def test_a_broken_image_is_an_error_with_its_name_unless_asked_otherwise(pairs, shots):
    with pytest.raises(ImageError, match=r"Cannot use 'image 1': its floating-point values run from 2 to 2"):
        pairs.predict([shots / "0.png", np.full((9, 9), 2.0)])
    found = pairs.predict([shots / "0.png", np.full((9, 9), 2.0)], errors="return")
    assert [type(outcome) for outcome in found] == [Prediction, Failure]


@pytest.mark.parametrize(
    ("images", "error"),
    [(3, TypeError), (b"bytes", TypeError), ([3], TypeError), ("nowhere", FileNotFoundError), (None, TypeError)],
)
def test_objects_that_are_not_images_are_refused(pairs, images, error):
    with pytest.raises(error, match=r"Expected a(ny)? (path|file)"):
        pairs.predict(images)


@pytest.mark.parametrize(
    "arguments",
    [{}, pytest.param({"tta": {"steps": 1}}, marks=pytest.mark.slow), {"num_references": 2, "geometry": "tiles"}],
)
def test_four_threads_get_the_same_as_one(make_detector, shots, arguments):
    detector = make_detector(**arguments)
    expected = [p.score for p in detector.predict(shots)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: [p.score for p in detector.predict(shots)], range(4)))
    assert all(scores == pytest.approx(expected, **NEAR) for scores in found)


def test_adaptation_changes_the_map_within_its_range_and_is_reproducible(make_detector, shots):
    state = torch.get_rng_state()
    plain, adapted = make_detector().predict(shots), make_detector(tta=True).predict(shots)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(np.abs(a.patch_map - p.patch_map).max() > 1e-4 for a, p in zip(adapted, plain, strict=True))
    assert all(0 <= a.patch_map.min() <= a.patch_map.max() <= 1 for a in adapted)
    assert [p.score for p in make_detector(tta=True).predict(shots)] == [p.score for p in adapted]
    with pytest.raises(ValueError, match=r"Unknown setting\(s\) of tta: stops"):
        make_detector(tta={"stops": 1})


def test_good_images_give_the_threshold_that_decides(make_detector, shots):
    detector = make_detector()
    assert detector.predict(shots)[0].decision is None
    threshold = detector.calibrate(shots, false_alarm_rate=0.25)
    predictions = detector.predict(shots)
    scores, peaks = sorted(p.score for p in predictions), sorted(p.peak for p in predictions)
    assert (threshold.score, threshold.pixel) == (scores[5], peaks[5])
    assert (threshold.kind, threshold.images, threshold.false_alarm_rate) == ("good", 7, 0.25)
    assert [p.score for p in predictions if p.decision == "anomalous"] == [scores[6]]
    assert sum(p.mask.any() for p in predictions) <= 1
    assert all(p.mask.shape == p.size for p in predictions)


def test_good_images_of_a_stream_do_not_become_references(make_detector, shots):
    camera = make_detector(compare_with="stream")
    camera.calibrate(shots)
    assert camera.predict(shots / "0.png").references == ()


def test_a_broken_good_image_is_refused(make_detector):
    with pytest.raises(ImageError, match=r"'image 1'.*not finite"):
        make_detector().calibrate([picture(), np.full((9, 9), np.nan)])


def test_a_threshold_belongs_to_its_settings(make_detector, shots, tmp_path):
    make_detector(alpha=0.5).calibrate(shots).save(tmp_path / "t.json")
    assert make_detector(alpha=0.5, threshold=tmp_path / "t.json", batch_size=2).threshold.kind == "good"
    other = make_detector(alpha=0.7)
    for refused in (tmp_path / "t.json", Threshold.load(tmp_path / "t.json")):
        with pytest.raises(ValueError, match=r"other settings: alpha \(0\.5, now 0\.7\)"):
            other.threshold = refused
    assert other.threshold is None
    with pytest.raises(ValueError, match="other settings"):
        make_detector(alpha=0.7, threshold=tmp_path / "t.json")
    other.threshold = 0.25
    assert other.predict(shots)[0].threshold == Threshold(0.25)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_references": 0}, "num_references to be a whole number of at least 1"),
        ({"bank_size": 0}, "bank_size to be a whole number of at least 1"),
        ({"batch_size": 0}, "batch_size to be a whole number of at least 1"),
        ({"temperature": 0}, "temperature to be a number above 0"),
        ({"max_megapixels": math.inf}, "max_megapixels to be a number above 0"),
        ({"alpha": 1.1}, r"alpha to be in \[0, 1\]"),
        ({"class_weight": -0.1}, r"class_weight to be in \[0, 1\]"),
        ({"spatial_window": 2}, r"spatial_window to be in \[0, 1\]"),
        ({"num_references": 1.5}, r"num_references to be a whole number of at least 1, but got 1\.5"),
        ({"batch_size": 2.5}, "batch_size to be a whole number"),
        ({"vv_blocks": 2}, "vv_blocks to be a list of whole numbers"),
        ({"seed": 0.5}, r"seed to be a whole number, but got 0\.5"),
        ({"tta": "yes"}, "tta to be true, false or a mapping"),
        ({"tta": {"step": 2}}, "Unknown setting"),
        ({"geometry": "crop"}, "geometry to be one of"),
        ({"image_size": 50}, "multiple"),
        ({"threshold": math.nan}, r"threshold to be in \[0, 1\)"),
        ({"device": "toaster"}, "device 'toaster' cannot be used"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(make_detector, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_detector(**arguments)


def test_a_missing_reference_folder_is_named(make_detector, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        make_detector(reference_dir=tmp_path / "nowhere")


@pytest.mark.parametrize("wrong", [3, b"shots", {"a": "b"}, ["0.png", 3]])
def test_references_that_cannot_be_images_are_refused_before_weights_are_loaded(wrong):
    with pytest.raises(ValueError, match=re.escape(f"Expected reference_dir to be a folder or images of the product, "
                                                   f"but got {wrong!r}")):  # fmt: skip
        Detector(pretrained="no such weights", reference_dir=wrong)


def test_the_geometry_is_recorded_in_the_result_and_the_settings(make_detector, tmp_path):
    write_image(tmp_path / "wide.png", 0, (48, 96))
    said = {
        mode: make_detector(geometry=mode).predict(tmp_path / "wide.png").geometry
        for mode in ("squash", "keep", Geometry("tiles", overlap=0))
    }
    assert list(said.values()) == ["squash: 48x48", "keep: 96x48", "tiles: 2 tiles of 48x48 on 96x48"]
    assert make_detector(geometry=Geometry("tiles", 96)).settings["geometry"] == {
        "mode": "tiles", "tile": 96, "overlap": 0.25,
    }  # fmt: skip


def test_image_size_sets_what_the_model_sees(make_detector, shots):
    prediction = make_detector(image_size=(32, 64), geometry="squash").predict(shots / "0.png")
    assert (prediction.patch_map.shape, prediction.geometry) == ((2, 4), "squash: 64x32")


def test_a_prediction_draws_its_file_or_the_image_that_it_is_given(make_detector, shots):
    path = shots / "0.png"
    found = make_detector().predict(path)
    assert found.heatmap().tobytes() == found.heatmap(Image.open(path)).tobytes()
    in_memory = make_detector().predict(np.array(Image.open(path)))
    with pytest.raises(ImageError, match="Pass the image"):
        in_memory.heatmap()


def test_a_folder_that_cannot_be_read_whole_is_an_error_unless_failures_are_wanted(make_detector, shots, monkeypatch):
    listing = find_images([shots])
    partly = listing._replace(unreadable={"locked": "the folder cannot be read."})
    monkeypatch.setattr("dualclip_lightning.images.sources.find_images", lambda *_: partly)
    detector = make_detector()
    for call in (detector.predict, detector.calibrate, lambda path: make_detector(reference_dir=path)):
        with pytest.raises(ImageError, match="locked"):
            call(shots)
    assert detector.predict(shots, errors="return")[-1] == Failure("locked", "the folder cannot be read.")


def test_what_cannot_be_meant_is_refused(make_detector, shots):
    with pytest.raises(ValueError, match="'raise' or 'return'"):
        make_detector().predict(shots, errors="ignore")
    with pytest.raises(TypeError, match="dict"):
        make_detector().predict({"a": picture()})
    with pytest.raises(ValueError, match="'pairs', 'stream' or 'none'"):
        make_detector(compare_with="pair")
    with pytest.raises(ValueError, match="either reference_dir or compare_with"):
        make_detector(compare_with="stream", reference_dir=shots)


def test_the_old_name_of_references_still_works_with_a_message(make_detector, shots):
    for old, new in [("stream", {"compare_with": "stream"}), (shots, {"reference_dir": shots})]:
        with pytest.warns(FutureWarning, match="compare_with .* or reference_dir"):
            former = make_detector(references=old)
        assert former.settings == make_detector(**new).settings
    with pytest.warns(FutureWarning), pytest.raises(FileNotFoundError, match="pairs, stream, none"):
        make_detector(references="pair")


def test_good_images_are_counted(make_detector, shots):
    with pytest.raises(ValueError, match="at least two good images"):
        make_detector().calibrate(shots / "0.png")


def test_an_image_named_twice_counts_once(make_detector, shots, monkeypatch):
    monkeypatch.chdir(shots)
    assert len(find_images(["0.png", shots / "0.png", "."]).paths) == 7


def test_a_limit_above_that_of_pillow_takes_effect(make_detector, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow refuses twice as many
    write_image(tmp_path / "large.png", seed=0, size=(60, 60))
    with pytest.raises(ImageError, match="decompression bomb"):
        make_detector(max_megapixels=0.001).predict(tmp_path / "large.png")
    assert make_detector(max_megapixels=0.01).predict(tmp_path / "large.png").map.shape == (60, 60)


def test_by_default_the_threshold_comes_from_the_images_of_a_call_as_in_the_command(
    make_detector, tmp_path, tiny_folder
):
    for i in range(20):
        write_image(tmp_path / "shots" / f"{i:02}.png", seed=i)
    predictions = make_detector().predict(tmp_path / "shots")
    assert main([str(tmp_path / "shots"), "--class-name", "plate", "--pretrained", str(tiny_folder), "--device", "cpu",
                 "--out", str(tmp_path / "out"), "--gallery", "0", "--no-heatmaps"]) == 0  # fmt: skip
    with (tmp_path / "out" / "scores.csv").open(newline="") as table:
        rows = {row["path"]: (row["decision"], float(row["p_value"])) for row in csv.DictReader(table)}
    assert {p.name: (p.decision, pytest.approx(p.p_value, abs=1e-6)) for p in predictions} == rows
    assert [p.decision for p in predictions].count("anomalous") == 1
    assert [p.mask.any() for p in predictions] == [p.decision == "anomalous" for p in predictions]


def test_too_few_images_get_no_decision_but_the_reason(make_detector, shots):
    detector = make_detector()
    for prediction in (*detector.predict(shots), detector.predict(shots / "0.png")):
        assert (prediction.decision, prediction.p_value, prediction.mask) == (None, None, None)
        assert "No usable threshold" in prediction.reason
        assert "Detector.calibrate" in prediction.reason
    silent = make_detector(threshold=None).predict(shots / "0.png")
    assert (silent.decision, silent.reason) == (None, "")
    detector.threshold = 0.0
    assert detector.predict(shots / "0.png").decision == "anomalous"
    detector.threshold = "auto"
    assert "No usable threshold" in detector.predict(shots / "0.png").reason


def test_representations_are_one_short_line(make_detector, shots):
    detector = make_detector(threshold=0.0)
    prediction = detector.predict(shots / "0.png")
    for shown, words in ((repr(detector), ("Detector('plate'", "pairs", "keep", "cpu")),
                         (repr(prediction), ("0.png", f"{prediction.score:.4f}", "anomalous", "56x40"))):  # fmt: skip
        assert len(shown) < 250
        assert "\n" not in shown
        assert all(word in shown for word in words)
