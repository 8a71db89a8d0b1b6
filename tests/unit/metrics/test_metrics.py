from __future__ import annotations

import copy
import logging
import pickle
from itertools import cycle

import matplotlib as mpl
import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid

from dualclip_lightning.metrics import ImageMetrics, PixelMetrics
from dualclip_lightning.metrics.functional import image_metrics, pixel_metrics
from tests.unit.metrics import references

EXACT = {"abs": 1e-9}
mpl.use("Agg")


def tensors(*arguments, **options) -> tuple[torch.Tensor, torch.Tensor]:
    maps, masks = references.maps_and_masks(*arguments, **options)
    return torch.from_numpy(maps), torch.from_numpy(masks)


def fed(metric: PixelMetrics, maps: torch.Tensor, masks: torch.Tensor, batch: int = 4) -> PixelMetrics:
    for start in range(0, len(maps), batch):
        metric.update(maps[start : start + batch], masks[start : start + batch])
    return metric


def numbers(metric) -> dict[str, float]:
    return {name: value.item() for name, value in metric.compute().items()}


@pytest.mark.parametrize("batch", [1, 5, 24])
@pytest.mark.parametrize("kind", ["plain", "few values", "outlier"])
def test_exact_mode_is_exact_for_any_batch_size(kind, batch):
    maps, masks = tensors(kind)
    metric = fed(PixelMetrics("exact"), maps, masks, batch)
    assert numbers(metric) == pytest.approx(references.every(maps.numpy(), masks.numpy()), **EXACT)
    assert (metric.mode_taken, set(metric.error_bound.values())) == ("exact", {0.0})


@pytest.mark.parametrize(("kind", "batch"), zip(references.KINDS, cycle([2, 40]), strict=False))
def test_streaming_is_within_its_bound_and_2e_4_of_exact(kind, batch):
    maps, masks = tensors(kind, images=40, size=120)
    metric = fed(PixelMetrics("streaming", buffer=60_000), maps, masks, batch)
    found, expected = numbers(metric), pixel_metrics(maps.numpy(), masks.numpy())
    assert metric.mode_taken == "streaming"
    assert found == pytest.approx(expected, abs=2e-4)
    for name, value in found.items():
        assert abs(value - expected[name]) <= metric.error_bound[name] + 1e-9


@pytest.mark.parametrize("mode", ["exact", "streaming"])
def test_further_limits_of_pro_come_from_the_same_pass(mode):
    maps, masks = tensors(images=40, size=120)
    metric = fed(PixelMetrics(mode, buffer=60_000, further_limits=(0.05, 1), bootstrap=5), maps, masks)
    found = {name: value for name, value in metric.compute().items() if not name.endswith("_interval")}
    assert list(found) == ["auroc", "ap", "f1max", "pro", "pro@0.05", "pro@1"]
    for limit in (0.05, 1):
        expected = pixel_metrics(maps.numpy(), masks.numpy(), fpr_limit=limit)["pro"]
        assert found[f"pro@{limit:g}"].item() == pytest.approx(expected, abs=2e-4 if mode == "streaming" else 1e-9)
    low, high = metric.compute()["pro@0.05_interval"]
    assert low <= found["pro@0.05"] <= high


@pytest.mark.slow
@given(st.permutations(range(24)), st.integers(1, 24))
@settings(max_examples=15, deadline=None)
def test_streaming_does_not_depend_on_order_or_batches_beyond_its_bound(order, batch):
    maps, masks = tensors("drift up")
    metric = fed(PixelMetrics("streaming", buffer=3000), maps[order], masks[order], batch)
    found, expected = numbers(metric), pixel_metrics(maps.numpy(), masks.numpy())
    for name, value in found.items():
        assert abs(value - expected[name]) <= metric.error_bound[name] + 1e-9


def test_streaming_needs_no_more_memory_for_more_images():
    maps, masks = tensors(images=64, size=64)

    def kept(metric) -> int:
        return sum(len(t) * t.itemsize for state in metric._defaults for t in getattr(metric, state))

    metric = PixelMetrics("streaming", buffer=50_000)
    sizes = [kept(fed(metric, maps, masks)) for _ in range(5)]
    assert max(sizes) < 65_536 * 56 + 6 * 50_000
    assert sizes[-1] < 1.3 * sizes[1]


def test_auto_is_exact_up_to_its_limit_and_says_which_mode_it_took(caplog):
    caplog.set_level(logging.INFO, "dualclip_lightning")
    maps, masks = tensors()
    small = fed(PixelMetrics(exact_limit=maps.numel()), maps, masks)
    assert numbers(small) == pytest.approx(pixel_metrics(maps.numpy(), masks.numpy()), **EXACT)
    assert small.mode_taken == "exact"
    assert f"exact, {maps.numel()} scores" in caplog.text
    assert "streaming" not in caplog.text
    large = fed(PixelMetrics(exact_limit=maps.numel() - 1, buffer=5000), maps, masks)
    large.compute()
    assert large.mode_taken == "streaming"
    assert caplog.text.count(f"more than {maps.numel() - 1} scores") == 1


def test_a_wide_bound_is_a_warning(caplog, monkeypatch):
    monkeypatch.setattr("dualclip_lightning.metrics.base.TOLERANCE", 1e-12)
    fed(PixelMetrics("streaming", buffer=2000), *tensors()).compute()
    assert [record.levelname for record in caplog.records if "within" in record.message] == ["WARNING"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_half_and_double_precision_are_ranked_as_they_are(dtype):
    maps, masks = tensors(dtype=np.float64)
    maps = maps.to(dtype)
    expected = pixel_metrics(maps.double().numpy(), masks.numpy())
    assert numbers(fed(PixelMetrics(), maps, masks)) == pytest.approx(expected, **EXACT)
    near = (1 + 1e-12 * tensors(dtype=np.float64)[0]).double()
    expected = pixel_metrics(near.numpy(), masks.numpy())
    assert numbers(fed(PixelMetrics(), near, masks)) == pytest.approx(expected, **EXACT)


def test_a_channel_number_masks_and_images_of_several_sizes_are_taken():
    maps, masks = tensors()
    expected = numbers(fed(PixelMetrics(), maps, masks))
    for dtype in (torch.uint8, torch.int64, torch.float32):
        assert numbers(fed(PixelMetrics(), maps[:, None], masks[:, None].to(dtype))) == expected
    metric = fed(PixelMetrics(), maps, masks)
    metric.update(maps[:2, :20, :10], masks[:2, :20, :10])
    metric.compute()


def test_inputs_are_copied_and_not_changed():
    maps, masks = tensors()
    before = maps.clone()
    metric = fed(PixelMetrics(), maps, masks)
    expected = numbers(metric)
    assert torch.equal(maps, before)
    again = fed(PixelMetrics(), maps, masks)
    maps.zero_()
    assert numbers(again) == expected


def test_reset_copies_pickles_and_forward():
    maps, masks = tensors()
    metric = fed(PixelMetrics("streaming", buffer=4000), maps, masks)
    expected = numbers(metric)
    assert numbers(copy.deepcopy(metric)) == expected
    assert numbers(pickle.loads(pickle.dumps(metric))) == expected  # noqa: S301
    metric.reset()
    assert numbers(fed(metric, maps, masks)) == expected
    forward = PixelMetrics()
    first = forward(maps[:8], masks[:8])
    assert first["pro"].item() == pytest.approx(pixel_metrics(maps[:8].numpy(), masks[:8].numpy())["pro"], **EXACT)
    forward(maps[8:], masks[8:])
    assert numbers(forward) == pytest.approx(pixel_metrics(maps.numpy(), masks.numpy()), **EXACT)


def test_states_of_two_metrics_merge():
    maps, masks = tensors()
    for mode, tolerance in (("exact", 1e-9), ("streaming", 5e-4)):
        first, second = (fed(PixelMetrics(mode, buffer=3000), maps[i::2], masks[i::2]) for i in range(2))
        first.merge_state(second)
        assert numbers(first) == pytest.approx(pixel_metrics(maps.numpy(), masks.numpy()), abs=tolerance)


def test_image_metrics_of_any_batches():
    random = np.random.default_rng(0)
    labels = random.random(50) < 0.4
    scores = random.normal(size=50) + labels
    metric = ImageMetrics()
    for part in np.array_split(np.arange(50), 7):
        metric.update(torch.from_numpy(scores[part]), torch.from_numpy(labels[part, None]))
    assert numbers(metric) == pytest.approx(references.ranked(scores, labels), **EXACT)


@pytest.mark.slow
def test_a_connectivity_a_limit_and_pro_200_can_be_chosen():
    maps, masks = tensors(images=6)
    masks = torch.rand(maps.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    arrays = maps.numpy(), masks.numpy()
    metric = fed(PixelMetrics(fpr_limit=0.1, connectivity=4, pro_200=True), maps, masks)
    expected = references.every(*arrays, limit=0.1, neighbours=references.FOUR)
    found = numbers(metric)
    assert found.pop("pro_200") > 0
    assert found == pytest.approx(expected, **EXACT)
    eight = numbers(fed(PixelMetrics(pro_200=True), maps, masks))
    assert eight["pro_200"] == pytest.approx(references.per_region_overlap_200(*arrays), **EXACT)


@pytest.mark.parametrize(
    "options", [{"mode": "quick"}, {"fpr_limit": 0}, {"fpr_limit": 2}, {"connectivity": 6},
                {"mode": "streaming", "pro_200": True}],
)  # fmt: skip
def test_invalid_settings_are_refused(options):
    with pytest.raises(ValueError, match=f"Expected `{next(iter(options))}`"):
        PixelMetrics(**options)


@pytest.mark.parametrize(
    ("fill", "reason"), [(0, "all are normal"), (1, "all are anomalous"), (None, "nothing was given")]
)
@pytest.mark.parametrize("mode", ["exact", "streaming"])
@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_metrics_that_do_not_exist_are_nan_with_a_reason(mode, fill, reason, caplog):
    metric = PixelMetrics(mode, buffer=100, bootstrap=10)
    if fill is not None:
        fed(metric, torch.rand(6, 8, 8), torch.full((6, 8, 8), fill))
    found = numbers(metric)
    assert found.keys() == {"auroc", "ap", "f1max", "pro"}
    assert all(np.isnan(value) for value in found.values())
    assert reason in metric.unavailable
    assert reason in caplog.text
    with pytest.raises(ValueError, match=reason):
        metric.plot()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_refused_by_name_and_change_nothing(bad):
    maps, masks = tensors()
    metric = fed(PixelMetrics(), maps, masks)
    expected = numbers(metric)
    maps[2, 3, 4] = bad
    with pytest.raises(ValueError, match=r"map of image c\.png has NaN or infinity.*overflow"):
        metric.update(maps[:4], masks[:4], names=["a.png", "b.png", "c.png", "d.png"])
    assert numbers(metric) == expected
    with pytest.raises(ValueError, match="score of image 1 of this update"):
        ImageMetrics().update(torch.tensor([0.0, bad]), torch.tensor([0, 1]))


def test_impossible_sizes_and_values_are_refused():
    metric, maps = PixelMetrics(), torch.rand(2, 8, 8)
    with pytest.raises(ValueError, match=r"maps \[2, 8, 8\] and masks \[2, 4, 4\]: image x\.png\. Resize"):
        metric.update(maps, torch.zeros(2, 4, 4), names=["x.png", "y.png"])
    with pytest.raises(ValueError, match=r"mask of image y\.png has other values.*masks > 0"):
        metric.update(maps, torch.zeros(2, 8, 8).index_fill(0, torch.tensor([1]), 255), names=["x.png", "y.png"])
    with pytest.raises(ValueError, match="Expected maps of shape"):
        metric.update(torch.rand(8, 8), torch.zeros(8, 8))
    with pytest.raises(ValueError, match="Expected one score and one label"):
        ImageMetrics().update(torch.rand(3), torch.zeros(2))


def test_plots_show_the_curves_up_to_the_limit():
    import matplotlib.pyplot as plt

    maps, masks = tensors()
    metric = fed(PixelMetrics(fpr_limit=0.2), maps, masks)
    _, axes = metric.plot()
    assert [axis.get_ylabel() for axis in axes] == ["true-positive rate", "precision", "mean overlap of regions"]
    assert axes[2].get_xlim() == (0, 0.2)
    assert f"{metric.compute()['pro']:.4f}" in axes[2].get_legend().get_texts()[0].get_text()
    rate, recall = axes[0].lines[0].get_data()
    assert trapezoid(recall, rate) == pytest.approx(metric.compute()["auroc"].item(), abs=2e-3)
    _, axis = metric.plot("pr", ax=plt.figure().subplots())
    assert axis.get_xlabel() == "recall"
    with pytest.raises(ValueError, match="where axes are given"):
        metric.plot(ax=axis)
    images = ImageMetrics()
    images.update(torch.tensor([0.1, 0.9]), torch.tensor([0, 1]))
    assert len(images.plot()[1]) == 2
    with pytest.raises(ValueError, match="no PRO curve"):
        images.plot("pro")
    plt.close("all")


def by_drawing_again(metric_of, count: int, draws: int, seed: int) -> dict[str, np.ndarray]:
    """Return percentiles of metrics that are recomputed for every resampled set."""
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    values = [metric_of(np.repeat(np.arange(count), times)) for times in weights]
    return {name: np.percentile([value[name] for value in values], [2.5, 97.5]) for name in values[0]}


def test_image_intervals_equal_those_of_recomputing_every_resample():
    random = np.random.default_rng(0)
    labels = np.arange(40) % 2 == 0
    scores = np.round(random.normal(size=40) + labels, 1)
    metric = ImageMetrics(bootstrap=300, seed=1)
    metric.update(torch.from_numpy(scores), torch.from_numpy(labels))
    found = metric.compute()
    order = np.lexsort((labels, scores))[::-1]
    expected = by_drawing_again(lambda drawn: image_metrics(scores[order][drawn], labels[order][drawn]), 40, 300, 1)
    for name, interval in expected.items():
        assert found[f"{name}_interval"].numpy() == pytest.approx(interval, abs=1e-9)


@pytest.mark.slow
def test_pixel_intervals_are_close_to_those_of_recomputing_every_resample():
    maps, masks = tensors(images=20)
    maps += torch.linspace(-1, 1, 20)[:, None, None]
    arrays = maps.numpy(), masks.numpy()
    expected = by_drawing_again(lambda drawn: pixel_metrics(*(array[drawn] for array in arrays)), 20, 400, 5)
    for mode in ("exact", "streaming"):
        found = fed(PixelMetrics(mode, bootstrap=400, seed=0, buffer=4000), maps, masks).compute()
        for name, interval in expected.items():
            low, high = found[f"{name}_interval"].tolist()
            assert low < found[name] < high
            assert high - low == pytest.approx(interval[1] - interval[0], rel=0.25), (mode, name)
            assert [low, high] == pytest.approx(interval, abs=0.2 * (interval[1] - interval[0])), (mode, name)


def test_the_trapezoidal_ap_stands_beside_the_other_figures_of_images():
    scores, labels = np.random.default_rng(0).random(40), np.arange(40) % 3 == 0
    plain, metric = ImageMetrics(bootstrap=20), ImageMetrics(bootstrap=20, ap_trapezoid=True)
    for each in (plain, metric):
        each.update(torch.from_numpy(scores), torch.from_numpy(labels))
    found, without = metric.compute(), plain.compute()
    precision, recall, _ = sklearn.metrics.precision_recall_curve(labels, scores)
    assert float(found.pop("ap_trapezoid")) == pytest.approx(sklearn.metrics.auc(recall, precision), abs=1e-9)
    assert found.keys() == without.keys()
    assert all(torch.equal(found[name], without[name]) for name in found)


def test_every_pixel_metric_but_pro_200_has_an_interval():
    found = fed(PixelMetrics(pro_200=True, bootstrap=20), *tensors()).compute()
    four = {"auroc", "ap", "f1max", "pro"}
    assert found.keys() == {*four, "pro_200", *(f"{name}_interval" for name in four)}


def test_intervals_depend_only_on_the_seed_and_not_on_the_order_of_images():
    maps, masks = tensors()
    state = np.random.get_state()[1].tolist()  # noqa: NPY002

    def intervals(seed, order) -> list:
        found = fed(PixelMetrics(bootstrap=50, seed=seed), maps[order], masks[order]).compute()
        return [found[f"{name}_interval"].tolist() for name in ("auroc", "ap", "f1max", "pro")]

    first = intervals(0, range(24))
    assert np.array(intervals(0, range(23, -1, -1))) == pytest.approx(np.array(first), abs=1e-9)
    assert intervals(1, range(24)) != first
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002
