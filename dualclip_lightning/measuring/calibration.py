"""Stated and observed false alarms of thresholds without labels.

    python -m dualclip_lightning.measuring.calibration [FOLDER ...]

A folder has its normal images in `good` and anomalous ones in other folders next to it, or all of these below `test`,
as in MVTec AD. The default is the bundled demo, with several drawings of each material together. Labels are used only
to count false alarms afterwards. Every image is encoded once, and every pair is scored once.

Three cases are repeated many times with different images:

- Good images: n of the normal images set the threshold; the other normal images and the anomalous ones are judged in
  separate pairs. The number of false alarms among the m normal ones should lie in the interval that follows from
  Beta(n + 1 - k, k) for m images, which is beta-binomial.
- A bundle, as `dualclip calibrate` makes it: four of the normal images are the references of all others, n further ones
  set the threshold, and the rest is judged. The number of false alarms should lie in the same interval.
- The unlabelled run: four fifths of the normal images, and anomalous images up to the given share, are judged by their
  own threshold. The share of false alarms should lie in the interval that the threshold states.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import betabinom

from dualclip_lightning.commandline.quiet import quiet
from dualclip_lightning.demo.data.assets import CATEGORIES, REAL
from dualclip_lightning.demo.data.datamodule import demo_folder, generate_demo
from dualclip_lightning.images.finding.listing import find_images
from dualclip_lightning.images.limits import MAX_MEGAPIXELS
from dualclip_lightning.predict.detector import Detector
from dualclip_lightning.predict.limits import RATE, REFERENCES
from dualclip_lightning.predict.scoring.quantiles import from_good, from_run
from dualclip_lightning.predict.scoring.references import PairOrder
from dualclip_lightning.predict.scoring.thresholds import Threshold
from dualclip_lightning.utilities.seeding import derive_seed

GOOD_SIZES, SHARES = (9, 19, 29), (0.0, 0.1, 0.3, 0.5)
LEAST = 5
"""Smallest number of normal images that are judged."""
DRAWINGS = 4
"""Seeds of the drawings of a demo material, each of which has twelve normal images."""


class Images(NamedTuple):
    """Normal and anomalous images of a labelled set."""

    name: str
    good: list[str]
    bad: list[str]


class PairScore(NamedTuple):
    """An image that was compared with others."""

    score: float
    peak: float
    references: tuple[str, ...]


Judge = Callable[[Sequence[str], int], list[PairScore]]
"""Function that scores images in pairs drawn from a seed."""
Compare = Callable[[Sequence[str], Sequence[str]], list[PairScore]]
"""Function that scores images with the same references."""


class Case(NamedTuple):
    """One threshold and its result."""

    name: str
    source: str
    """Origin of the threshold, and the number of good images or the share of anomalous ones."""
    promised: float
    actual: float
    inside: bool
    found: float
    """Share of anomalous images above the threshold; NaN if there are none."""


def labelled_images(folder: Path) -> Images:
    """Return the images of a folder, divided by whether they are below `good`.

    Raises:
        ValueError: normal or anomalous images are missing.
    """
    root = folder / "test" if (folder / "test" / "good").is_dir() else folder
    paths = [str(path) for path in find_images([root]).paths]
    good = [path for path in paths if Path(path).relative_to(root).parts[0] == "good"]
    bad = [path for path in paths if path not in set(good)]
    if not good or not bad:
        msg = f"Expected images in '{root / 'good'}' and in other folders of '{root}'."
        raise ValueError(msg)
    return Images(folder.name, good, bad)


def demo_images(category: str) -> Images:
    """Return one category of the demo: several drawings of a material, or the images of a real category."""
    seeds = range(1 if category in REAL else DRAWINGS)
    drawings = [labelled_images(generate_demo(demo_folder(seed), seed) / category) for seed in seeds]
    good, bad = ([path for one in drawings for path in getattr(one, part)] for part in ("good", "bad"))
    return Images(f"demo: {category}", good, bad)


def judge_with(detector: Detector, paths: Sequence[str]) -> tuple[Judge, Compare]:
    """Return functions that have encoded all images once; the scores of pairs are computed once."""
    score = detector.pair_scores(paths)
    in_pair = cache(score)

    def judge(names: Sequence[str], seed: int) -> list[PairScore]:
        pairs = PairOrder(names, 1, seed)
        partners = [names[next(pairs.candidates(position))] for position in range(len(names))]
        return [PairScore(*in_pair(*pair), pair[1:]) for pair in zip(names, partners, strict=True)]

    def compare(names: Sequence[str], references: Sequence[str]) -> list[PairScore]:
        return [PairScore(*score(name, *references), tuple(references)) for name in names]

    return judge, compare


def good_cases(images: Images, judge: Judge, sizes: Sequence[int], seeds: int, rate: float) -> Iterator[Case]:
    """Yield cases of thresholds from good images. Sizes that leave fewer than five others are skipped."""
    for size in (size for size in sizes if size <= len(images.good) - LEAST):
        for seed in range(seeds):
            order = _shuffled(images.good, seed, f"good {size}")
            threshold = from_good(judge(sorted(order[:size]), seed), rate)
            judged = judge([*order[size:], *images.bad], seed)
            yield _case(images, f"{size} good", threshold, size, judged)


def bundle_cases(images: Images, compare: Compare, sizes: Sequence[int], seeds: int, rate: float) -> Iterator[Case]:
    """Yield cases of thresholds with fixed references. Sizes that leave fewer than five others are skipped."""
    for size in (size for size in sizes if REFERENCES + size <= len(images.good) - LEAST):
        for seed in range(seeds):
            order = _shuffled(images.good, seed, f"bundle {size}")
            references, good, others = order[:REFERENCES], order[REFERENCES:][:size], order[REFERENCES + size :]
            threshold = from_good(compare(good, references), rate)
            judged = compare([*others, *images.bad], references)
            yield _case(images, f"{REFERENCES} references, {size} good", threshold, size, judged)


def _case(images: Images, source: str, threshold: Threshold, size: int, judged: Sequence[PairScore]) -> Case:
    """Return the case of a threshold from good images; the anomalous images are the last ones judged."""
    normal = len(judged) - len(images.bad)
    alarms, found = _counts(threshold, judged, normal)
    above = round(threshold.false_alarm_rate * (size + 1))  # type: ignore[operator]
    low, high = betabinom(normal, above, size + 1 - above).ppf([0.025, 0.975])
    inside = bool(low <= alarms <= high)
    return Case(images.name, source, threshold.false_alarm_rate or 0, alarms / normal, inside, found)


def run_cases(images: Images, judge: Judge, shares: Sequence[float], seeds: int, rate: float) -> Iterator[Case]:
    """Yield cases of thresholds from the run itself, with fewer normal images if there are too few anomalous ones."""
    for share in shares:
        most = len(images.bad) * (1 - share) / share if share else len(images.good)
        normal = int(min(0.8 * len(images.good), most))
        anomalous = round(normal * share / (1 - share))
        if normal + anomalous < 1 / rate:
            continue
        for seed in range(seeds):
            good = _shuffled(images.good, seed, f"run {share}")[:normal]
            bad = _shuffled(images.bad, seed, f"run {share}")[:anomalous]
            judged = judge([*good, *bad], seed)
            threshold = from_run(judged, rate)
            alarms, found = _counts(threshold, judged, normal)
            low, high = threshold.interval  # type: ignore[misc]
            yield Case(images.name, f"run, {share:.0%} anomalous", threshold.false_alarm_rate or 0, alarms / normal,
                       bool(low <= alarms / normal <= high), found)  # fmt: skip


def tabulate(cases: Sequence[Case]) -> pd.DataFrame:
    """Return one row for each set and source: means over the seeds in per cent, and the highest observed share."""
    frame = pd.DataFrame(cases)
    groups = frame.groupby(["name", "source"], sort=False)
    means = groups[["promised", "actual", "inside", "found"]].mean()
    means.insert(2, "highest", groups["actual"].max())
    return (100 * means).round(1).reset_index()


def summarise(cases: Sequence[Case]) -> list[str]:
    """Return sentences with the number of cases of each kind inside their interval."""
    lines = []
    kinds = {"good": r"\d+ good", "bundle": r"\d+ references, .*", "run": "run, .*"}
    for kind, pattern in kinds.items():
        inside = [case.inside for case in cases if re.fullmatch(pattern, case.source)]
        if inside:
            share = sum(inside) / len(inside)
            lines.append(f"{kind}: {sum(inside)} of {len(inside)} cases inside their 95% interval ({share:.1%})")
    return lines


def _shuffled(paths: Sequence[str], seed: int, purpose: str) -> list[str]:
    generator = np.random.default_rng(derive_seed(seed, "calibration", purpose))
    return [paths[i] for i in generator.permutation(len(paths))]


def _counts(threshold: Threshold, judged: Sequence[PairScore], normal: int) -> tuple[int, float]:
    """Return the false alarms among the first `normal` images, and the share of the others above the threshold."""
    above = [threshold.decide(image).word == "anomalous" for image in judged]
    others = above[normal:]
    return sum(above[:normal]), float(np.mean(others)) if others else float("nan")


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="default: the packaged demo")
    parser.add_argument("--backbone", default="ViT-B-16-plus-240", help="default: %(default)s")
    parser.add_argument("--pretrained", default="demo", help="default: %(default)s")
    parser.add_argument("--class-name", default="object", help="default: %(default)s")
    parser.add_argument("--geometry", choices=("keep", "squash"), default="keep", help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=20, help="draws of images; default: %(default)s")
    parser.add_argument("--rate", type=float, default=RATE, help="requested rate of false alarms; default: %(default)s")
    options = parser.parse_args(arguments)
    detector = Detector(
        options.class_name, backbone=options.backbone, pretrained=options.pretrained, geometry=options.geometry,
        max_megapixels=MAX_MEGAPIXELS,
    )  # fmt: skip
    cases: list[Case] = []
    with quiet():
        sets = [labelled_images(path) for path in options.folders] or [demo_images(name) for name in CATEGORIES]
        for images in sets:
            judge, compare = judge_with(detector, [*images.good, *images.bad])
            cases += good_cases(images, judge, GOOD_SIZES, options.seeds, options.rate)
            cases += bundle_cases(images, compare, GOOD_SIZES, options.seeds, options.rate)
            cases += run_cases(images, judge, SHARES, options.seeds, options.rate)
    print(f"{options.pretrained}, {options.geometry}, {options.seeds} draws; per cent")
    print(tabulate(cases).to_string(index=False))
    print("\n".join(summarise(cases)))


if __name__ == "__main__":
    main()
