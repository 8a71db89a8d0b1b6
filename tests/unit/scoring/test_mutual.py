"""Mutual scores, compared with recorded vectors of the released code and with a plain, slow implementation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from dualclip_lightning.scoring import mutual, mutual_scores, paired_scores

EXACT = {"atol": 1e-5, "rtol": 0}


def recorded(vectors: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return the patch tokens [N, 6, 6, 24] of every recorded layer, without the class token."""
    names = sorted(name for name in vectors if name.startswith("in.layer"))
    return [vectors[name][:, 1:].unflatten(1, (6, 6)) for name in names]


def plain_features(layer: torch.Tensor, side: int) -> torch.Tensor:
    """Compute unit vectors [N, P, C] in double precision: unfold neighbourhoods, then pool them to C values."""
    images = layer.double().permute(0, 3, 1, 2)
    images = torch.stack([(image - image.mean()) / (image.var(unbiased=False) + 1e-5).sqrt() for image in images])
    flat = F.unfold(images, side, padding=side // 2).transpose(1, 2)
    return F.normalize(F.adaptive_avg_pool1d(flat, images.shape[1]), dim=-1)


def plain_scores(layers, sides, lowest, references=None) -> torch.Tensor:
    """Compute scores [N, P], image by image: the mean of the lowest share of distances over layers and sides."""
    every = []
    for layer in layers:
        for side in sides:
            features = plain_features(layer, side)
            scores = []
            for i, own in enumerate(features):
                others = [j for j in range(len(features)) if j != i] if references is None else references[i]
                distances = [(own[:, None] - features[j][None]).norm(dim=-1).amin(dim=1) for j in others]
                share = max(1, int(len(others) * lowest))
                scores.append(torch.stack(distances).sort(dim=0).values[:share].mean(dim=0))
            every.append(torch.stack(scores))
    return torch.stack(every).mean(dim=0)


def random_layers(generator, count, grid=(4, 5), channels=(8, 12)) -> list[torch.Tensor]:
    return [3 + 2 * torch.randn(count, *grid, c, generator=generator) for c in channels]


def test_reproduces_the_recorded_vectors_of_the_released_code(golden):
    vectors = golden("musc")
    scores = mutual_scores(recorded(vectors))
    assert scores.shape == (8, 6, 6)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.flatten(1).double(), vectors["out.anomaly_map"], **EXACT)


def test_reproduces_the_recorded_vectors_of_the_form_for_pairs(golden):
    vectors = golden("musc_pair")
    layers, expected = recorded(vectors), vectors["out.anomaly_map"]
    torch.testing.assert_close(mutual_scores(layers).flatten(1).double(), expected, **EXACT)
    pairs = paired_scores(layers, torch.tensor([[1], [0]]))
    torch.testing.assert_close(pairs.flatten(1).double(), expected, **EXACT)


@pytest.mark.parametrize("count", [2, 3, 4, 8, 11])
@pytest.mark.parametrize(("sides", "lowest"), [((1, 3, 5), 0.3), ((3,), 0.0), ((5, 1), 1.0)])
def test_equals_the_plain_version(generator, count, sides, lowest):
    layers = random_layers(generator, count)
    scores = mutual_scores(layers, sides, lowest)
    torch.testing.assert_close(scores.flatten(1).double(), plain_scores(layers, sides, lowest), **EXACT)


@pytest.mark.parametrize("grid", [(1, 1), (1, 4), (7, 2)])
def test_an_image_may_be_smaller_than_a_neighbourhood_of_patches(generator, grid):
    layers = random_layers(generator, 4, grid)
    scores = mutual_scores(layers)
    assert scores.shape == (4, *grid)
    torch.testing.assert_close(scores.flatten(1).double(), plain_scores(layers, (1, 3, 5), 0.3), **EXACT)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_few_images_have_finite_scores_where_the_released_code_has_none(generator, count):
    scores = mutual_scores(random_layers(generator, count))
    assert scores.isfinite().all()
    assert (scores == 0).all() if count == 1 else (scores > 0).all()
    assert scores.max() <= 2


@pytest.mark.parametrize(("chunk_patches", "table_numbers"), [(1, 1), (20, 1), (45, 2000), (100, 3000), (10**6, 10**9)])
def test_neither_chunks_nor_the_size_of_the_table_change_the_numbers(
    generator, monkeypatch, chunk_patches, table_numbers
):
    layers = random_layers(generator, 11)
    expected = mutual_scores(layers)
    monkeypatch.setattr(mutual, "CHUNK_PATCHES", chunk_patches)
    monkeypatch.setattr(mutual, "TABLE_NUMBERS", table_numbers)
    torch.testing.assert_close(mutual_scores(layers), expected, **EXACT)


@pytest.mark.slow
def test_no_tensor_is_larger_than_the_table_or_one_pair_of_chunks(generator, monkeypatch):
    """Measure every tensor that any operation creates."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Weigh(TorchDispatchMode):
        largest = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **kwargs or {})
            for tensor in out if isinstance(out, tuple | list) else [out]:
                if isinstance(tensor, torch.Tensor):
                    self.largest = max(self.largest, tensor.untyped_storage().nbytes() // 4)
            return out

    monkeypatch.setattr(mutual, "CHUNK_PATCHES", 40)
    monkeypatch.setattr(mutual, "TABLE_NUMBERS", 5000)
    layers = random_layers(generator, 24)
    with Weigh() as weigh:
        mutual_scores(layers)
    assert weigh.largest == 24 * 20 * 12  # a whole layer; all distances would be 230,400 numbers


def test_the_order_of_the_images_only_reorders_the_scores(generator):
    layers, order = random_layers(generator, 7), torch.tensor([3, 6, 0, 2, 5, 1, 4])
    torch.testing.assert_close(mutual_scores([x[order] for x in layers]), mutual_scores(layers)[order], **EXACT)


def test_a_patch_that_no_other_image_has_gets_the_highest_score(generator):
    layer = torch.randn(1, 5, 5, 16, generator=generator).repeat(6, 1, 1, 1)
    layer = layer + 0.05 * torch.randn(layer.shape, generator=generator)
    layer[2, 1, 3] = torch.randn(16, generator=generator)
    scores = mutual_scores([layer], r=(1,))
    assert divmod(int(scores.argmax()), 25) == (2, 1 * 5 + 3)
    assert scores.flatten().topk(2).values.diff().abs() > 0.3


def test_identical_images_have_a_negligible_distance(generator):
    layer = torch.randn(1, 4, 4, 16, generator=generator).repeat(2, 1, 1, 1)
    assert mutual_scores([layer]).max() < 1e-3


@pytest.mark.parametrize("lowest", [0.3, 0.7])
def test_each_image_is_scored_by_its_own_references(generator, lowest):
    layers = random_layers(generator, 5)
    references = torch.tensor([[1, 2, 3], [4, 0, 2], [0, 1, 4], [4, 1, 0], [2, 3, 1]])
    scores = paired_scores(layers, references, (1, 3), lowest)
    expected = plain_scores(layers, (1, 3), lowest, references.tolist())
    torch.testing.assert_close(scores.flatten(1).double(), expected, **EXACT)


def test_half_precision_layers_are_scored_in_single_precision(generator):
    layers = random_layers(generator, 5)
    scores = mutual_scores([layer.half() for layer in layers])
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, mutual_scores(layers), atol=2e-3, rtol=0)
    rows = torch.tensor([[1], [0], [3], [2], [0]])
    assert paired_scores([layer.half() for layer in layers], rows).dtype == torch.float32


def test_layers_are_not_changed(generator):
    layers = random_layers(generator, 3)
    before = [layer.clone() for layer in layers]
    mutual_scores(layers)
    assert all(torch.equal(a, b) for a, b in zip(layers, before, strict=True))


@pytest.mark.parametrize(
    ("shapes", "arguments", "match"),
    [
        ([], {}, "at least one layer"),
        ([(2, 9, 8)], {}, r"\[N, h, w, C\]"),
        ([(2, 3, 3, 8), (3, 3, 3, 8)], {}, "the same N, h and w"),
        ([(0, 3, 3, 8)], {}, "at least one layer"),
        ([(2, 3, 3, 8)], {"r": (1, 2)}, "odd sides"),
        ([(2, 3, 3, 8)], {"r": ()}, "odd sides"),
        ([(2, 3, 3, 8)], {"lowest": 1.5}, r"lowest to be in \[0, 1\]"),
    ],
)
def test_a_bad_argument_is_an_error_that_says_what_was_expected(shapes, arguments, match):
    layers = [torch.zeros(shape) for shape in shapes]
    with pytest.raises(ValueError, match=match):
        mutual_scores(layers, **arguments)


@pytest.mark.parametrize("references", [torch.zeros(2, 0).long(), torch.zeros(3, 1).long(), torch.zeros(2).long()])
def test_references_that_do_not_fit_are_refused(references):
    with pytest.raises(ValueError, match="K >= 1"):
        paired_scores([torch.zeros(2, 3, 3, 8)], references)
