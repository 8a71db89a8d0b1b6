"""The options of `dualclip predict PATH`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from dualclip_lightning.commandline.parser import WRONG, Parser, speaking, with_new_names
from dualclip_lightning.images.finding.listing import check_there, find_images
from dualclip_lightning.images.limits import MAX_MEGAPIXELS
from dualclip_lightning.predict.former import check_threshold, former_options
from dualclip_lightning.predict.limits import DRAWING_NAMES, GALLERY, RATE

EPILOG = """exit status: 0 all judged, 1 some files could not be used (see failures.csv), 2 wrong use, 3 stopped: a
result could not be written, memory ran out or a process died, 130 interrupted. The same command continues where one
stopped.

With --model, --data or --config, `dualclip predict` is anomalib's command:
see `dualclip predict --model NAME --help`."""
DEFAULTS = {
    "threshold": "auto",
    "references": "pairs",
    "num_references": 1,
    "bank_size": 4,
    "overlap": 0.25,
    "scale": ["run"],
}
"""Of options that only some others leave a meaning; it is known whether they were given."""
KINDS = ("pairs", "stream", "none")
"""Of references that are taken from the images of the run."""
RENAMED = {"--reference": "--reference-dir", "--references": "--compare-with"}
"""Old names, which still work."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; what is mistyped is said before PyTorch is imported."""
    options = parse(arguments)
    try:
        listing = find_images(options.paths, options.exclude, sys.stdin.buffer)
        check_there(listing.paths, options.paths)
        for given in filter(None, (options.good, options.reference)):
            check_there(find_images([given]).paths, [given], every=True)
        check_threshold(options)
    except (FileNotFoundError, ValueError) as error:
        print(f"dualclip: {error}", file=sys.stderr)
        return WRONG
    if not options.quiet:
        print("Loading PyTorch and the model ...", file=sys.stderr, flush=True)
    from dualclip_lightning.predict.command import run  # noqa: PLC0415 - takes seconds

    with speaking(options):
        return run(options, listing)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options from the command line; where they make no sense, the process ends with one line and status 2."""
    parser = Parser(
        "dualclip predict",
        "Score images of your own, without labels, masks or training, and draw where they are anomalous.",
        EPILOG,
    )
    _add_images(parser)
    _add_results(parser.add_argument_group("results"))
    _add_former(parser.add_argument_group("a former run"))
    _add_decisions(parser.add_argument_group("decisions"))
    _add_references(parser.add_argument_group("references"))
    _add_geometry(parser.add_argument_group("geometry"))
    _add_method(parser.add_argument_group("model and method"))
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    options = _parse_with_former(parser, with_new_names(arguments, RENAMED))
    options.command = shlex.join(["dualclip", "predict", *arguments])
    for message in _contradictions(options):
        parser.error(message)
    for name, value in DEFAULTS.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def _parse_with_former(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Options, with those of a former run in place of the defaults where `--from` names one."""
    options = parser.parse_args(arguments)
    if options.former is None:
        return options
    try:
        taken = former_options(options.former)
    except ValueError as error:
        parser.error(str(error))
    threshold = taken.pop("threshold", None)
    parser.set_defaults(**{name: value for name, value in taken.items() if value != DEFAULTS.get(name)})
    options = parser.parse_args(arguments)
    if options.threshold is None and options.good is None and options.false_alarm_rate is None:
        options.threshold = threshold
    return options


def _contradictions(options: argparse.Namespace) -> Iterator[str]:
    """What would otherwise be dropped without a word."""
    if options.image_size is not None and len(options.image_size) > 2:  # noqa: PLR2004
        yield "argument --image-size: expected a side, or a height and a width"
    measured = options.good is not None or options.threshold in {None, "auto"}
    if options.good is not None and options.threshold not in {None, "auto"}:
        yield "--good and --threshold exclude each other"
    if options.false_alarm_rate is not None and not measured:
        yield "--false-alarm-rate goes with --good or --threshold auto"
    if options.false_alarm_rate is not None and not 0 < options.false_alarm_rate < 1:
        yield "argument --false-alarm-rate: expected a share above 0 and below 1"
    if options.pixel_threshold is not None and measured:
        yield "--pixel-threshold goes with a number as --threshold"
    for name in ("tile", "overlap"):
        if getattr(options, name) is not None and options.geometry != "tiles":
            yield f"--{name} goes with --geometry tiles"
    if options.scale is not None and not options.heatmaps:
        yield "--scale is for heatmaps, which --no-heatmaps leaves out"
    yield from _contradicting_references(options)
    if options.gallery < 0:
        yield "argument --gallery: expected a number of images, or 0 for none"


def _contradicting_references(options: argparse.Namespace) -> Iterator[str]:
    if options.reference is not None and options.references is not None:
        yield "--reference-dir and --compare-with exclude each other"
    if options.num_references is not None and (options.reference or options.references not in {None, "pairs"}):
        yield "--num-references goes with random pairs"
    if options.bank_size is not None and options.references != "stream":
        yield "--bank-size goes with --compare-with stream"
    if options.alpha == 1 and (options.reference or options.references in {"pairs", "stream"}):
        yield "--alpha 1 is for text alone, and references count for nothing"
    if options.spatial_window is not None and (options.alpha == 1 or options.references == "none"):
        yield "--spatial-window goes with references"


def _add_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="file, folder, 'pattern', list (.txt), or - for one on standard input"
    )
    parser.add_argument("--class-name", default="object", help='what the images show, for example "steel plate"')
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="PATTERN", help="leave files out; repeatable; default: none"
    )
    parser.add_argument("--max-megapixels", type=float, default=MAX_MEGAPIXELS, help="larger images are refused")


def _add_results(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--out", type=Path, default=Path("results/predict"),
        help="folder for everything; it gets a number where it is taken by another run",
    )  # fmt: skip
    group.add_argument(
        "--fresh", action="store_true", help="score everything again, into a new folder, instead of continuing"
    )
    group.add_argument("--no-heatmaps", dest="heatmaps", action="store_false", help="no pictures")
    group.add_argument("--maps", action="store_true", help="raw maps at the size of the image (.npy, float32)")
    group.add_argument("--masks", action="store_true", help="anomalous pixels as PNG")
    group.add_argument("--gallery", type=int, default=GALLERY, metavar="N", help="images in index.html; 0 for none")
    group.add_argument(
        "--scale", nargs="+", metavar="VALUE",
        help="the colour scale of heatmaps: 'run', from the median to the 99.9 %% quantile of all scores of the run's "
        "maps, 'image' for each image's own range (not comparable), or two numbers; default: run",
    )  # fmt: skip


def _add_former(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--from", type=Path, metavar="RUN", dest="former",
        help="take model, method, references, geometry and threshold from a former run's folder or a threshold.json; "
        "options given beside it win; default: none",
    )  # fmt: skip


def _add_decisions(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--threshold", help="a number, a threshold.json, 'none', or 'auto': from the run itself; default: auto"
    )
    group.add_argument("--pixel-threshold", type=float, help="with a number: for masks and contours; default: the same")
    group.add_argument(
        "--good",
        metavar="PATH",
        help="take the threshold from images believed good: a folder or a list (.txt); default: none",
    )
    group.add_argument(
        "--false-alarm-rate", type=float, help=f"of normal images, with --good or 'auto'; default: {RATE}"
    )


def _add_references(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--reference-dir", dest="reference", metavar="FOLDER",
        help="compare with these unlabelled images of the product; default: with images of the run",
    )  # fmt: skip
    group.add_argument(
        "--compare-with", dest="references", type=_kind_of_references, metavar="{pairs,stream,none}",
        help="without --reference-dir: random pairs, the images just before, or text alone; default: pairs",
    )  # fmt: skip
    group.add_argument("--num-references", type=int, metavar="K", help="of pairs; default: 1")
    group.add_argument("--bank-size", type=int, metavar="N", help="of a stream; default: 4")
    group.add_argument(
        "--spatial-window", type=float, metavar="SHARE", help="for aligned products, for example 0.1; default: none"
    )


def _kind_of_references(text: str) -> str:
    """One of the kinds, as a type of an option."""
    if text not in KINDS:
        msg = f"expected {', '.join(KINDS[:-1])} or {KINDS[-1]}, but got {text!r}; images to compare with are given by "
        msg += "--reference-dir"
        raise argparse.ArgumentTypeError(msg)
    return text


def _add_geometry(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--geometry", choices=("keep", "squash", "tiles"), default="keep",
        help="the whole image in its aspect ratio, or squashed to the model's size as in the papers, or in overlapping "
        "tiles",
    )  # fmt: skip
    group.add_argument("--tile", type=int, metavar="PIXELS", help="side of a tile; default: the model's size")
    group.add_argument("--overlap", type=float, metavar="SHARE", help="of tiles; default: 0.25")
    group.add_argument(
        "--image-size",
        type=int,
        nargs="+",
        metavar="PIXELS",
        help="of the model: side, or H W; default: that of the weights",
    )


def _add_method(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--backbone", default="ViT-B-16-plus-240", help="architecture of open_clip")
    group.add_argument("--pretrained", default="laion400m_e32", help='tag, file, folder, or "demo" (offline)')
    group.add_argument(
        "--preprocessing", help="openai, imagenet or inception, for a raw weights file; default: that of the weights"
    )
    group.add_argument("--domain", choices=("object", "texture"), help="which words prompts use; default: by the class")
    group.add_argument("--temperature", type=float, default=0.07, help="of the softmax over the two states")
    group.add_argument("--alpha", type=float, default=0.5, help="weight of text against reference")
    group.add_argument("--class-weight", type=float, default=0.5, help="weight of the class token in the image score")
    group.add_argument(
        "--drawing", choices=DRAWING_NAMES, default=DRAWING_NAMES[0],
        help="draw maps as the released code of that method does",
    )  # fmt: skip
    group.add_argument("--tta", action="store_true", help="test-time adaptation")
    group.add_argument("--seed", type=int, default=0, help="draws the pairs")
    group.add_argument(
        "--batch-size", type=int, default=8, help="images at a time; changes speed and memory, not scores"
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, mps")
    group.add_argument("--devices", type=int, default=1, metavar="N", help="GPUs, or processes that share the cores")
