"""The options of `dualclip predict PATH`, in the groups of its help."""

from __future__ import annotations

import argparse
from pathlib import Path

from dualclip_lightning.commandline.parser import whole_from_one
from dualclip_lightning.images.limits import MAX_MEGAPIXELS
from dualclip_lightning.predict.limits import DRAWING_NAMES, GALLERY, HEATMAP_FORMATS, METHOD, PRETRAINED, RATE

KINDS = ("pairs", "stream", "none")
"""Kinds of references that are taken from the images of the run."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all options to a parser."""
    _add_images(parser)
    _add_results(parser.add_argument_group("results"))
    add_former(parser.add_argument_group("a former run or a bundle"))
    _add_decisions(parser.add_argument_group("decisions"))
    _add_references(parser.add_argument_group("references"))
    add_geometry(parser.add_argument_group("geometry"))
    method = parser.add_argument_group("model and method")
    add_method(method)
    _add_workers(method)


def _add_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="file, folder, 'pattern', list (.txt), or - for one on standard input"
    )
    add_what(parser)


def add_what(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what the images show and which of them are used."""
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
    add_heatmap_format(group)
    group.add_argument("--maps", action="store_true", help="raw maps at the size of the image (.npy, float32)")
    group.add_argument("--masks", action="store_true", help="anomalous pixels as PNG")
    group.add_argument("--coco", action="store_true", help="anomalous regions as coco.json, for annotation tools")
    group.add_argument("--gallery", type=int, default=GALLERY, metavar="N", help="images in index.html; 0 for none")
    group.add_argument(
        "--scale", nargs="+", metavar="VALUE",
        help="the colour scale of heatmaps: 'run', from the median to the 99.9 %% quantile of all scores of the run's "
        "maps, 'image' for each image's own range (not comparable), or two numbers; default: run",
    )  # fmt: skip


def add_heatmap_format(group: argparse._ArgumentGroup) -> None:
    """Add the option for the format of heatmaps."""
    group.add_argument(
        "--heatmap-format", choices=HEATMAP_FORMATS,
        help=f"png keeps every value, but takes longer to write; default: {HEATMAP_FORMATS[0]}",
    )  # fmt: skip


def add_former(group: argparse._ArgumentGroup) -> None:
    """Add the options that take the settings of a detector from a file."""
    group.add_argument(
        "--from", type=Path, metavar="RUN", dest="former",
        help="take model, method, references, geometry and threshold from a former run's folder or a threshold.json; "
        "options given beside it win; default: none",
    )  # fmt: skip
    group.add_argument(
        "--bundle", type=Path, metavar="FILE",
        help="take all of this, with the references, from a file of 'dualclip calibrate' or Detector.save; default: "
        "none",
    )  # fmt: skip


def _add_decisions(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--threshold", help="a number, a threshold.json, 'none', or 'auto': from the run itself; default: auto"
    )
    add_pixel_threshold(group)
    add_min_area(group)
    group.add_argument(
        "--good",
        metavar="PATH",
        help="take the threshold from images believed good: a folder or a list (.txt); default: none",
    )
    group.add_argument(
        "--false-alarm-rate", type=float, help=f"of normal images, with --good or 'auto'; default: {RATE}"
    )


def add_pixel_threshold(group: argparse._ArgumentGroup) -> None:
    """Add the option for a threshold of pixels."""
    group.add_argument("--pixel-threshold", type=float, help="with a number: for masks and contours; default: the same")


def add_min_area(group: argparse._ArgumentGroup) -> None:
    """Add the option that leaves small regions out."""
    group.add_argument(
        "--min-area", type=int, default=0, metavar="PIXELS",
        help="leave smaller regions out, but not the only ones of an anomalous image; default: 0, all regions",
    )  # fmt: skip


def _add_references(group: argparse._ArgumentGroup) -> None:
    add_compared(
        group, "with images of the run", "{pairs,stream,none}",
        "random pairs, the images just before, or text alone; default: pairs",
    )  # fmt: skip
    group.add_argument("--num-references", type=int, metavar="K", help="of pairs; default: 1")
    add_bank(group)


def add_compared(group: argparse._ArgumentGroup, default: str, kinds: str, meaning: str) -> None:
    """Add the options for the images with which an image is compared.

    Args:
        group: group of the options.
        default: what happens without a folder.
        kinds: kinds of references that the command has, as in its help.
        meaning: what the kinds are.
    """
    group.add_argument(
        "--reference-dir", dest="reference", metavar="FOLDER",
        help=f"compare with these unlabelled images of the product; default: {default}",
    )  # fmt: skip
    group.add_argument(
        "--compare-with", dest="references", type=kind_of_references, metavar=kinds,
        help=f"without --reference-dir: {meaning}",
    )  # fmt: skip


def add_bank(group: argparse._ArgumentGroup) -> None:
    """Add the options of the comparison with images of a stream or a folder."""
    group.add_argument("--bank-size", type=int, metavar="N", help="of a stream; default: 4")
    add_spatial_window(group)


def add_spatial_window(group: argparse._ArgumentGroup) -> None:
    """Add the option for products that are always at the same place."""
    group.add_argument(
        "--spatial-window", type=float, metavar="SHARE", help="for aligned products, for example 0.1; default: none"
    )


def _add_workers(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--runner", choices=("local", "ray"), default="local", help="this machine, or a Ray cluster")
    group.add_argument(
        "--devices", type=whole_from_one, metavar="N",
        help="GPUs, or processes that share the cores; default: 1, or all that a Ray cluster has room for",
    )  # fmt: skip
    group.add_argument(
        "--cpus-per-worker", type=whole_from_one, metavar="N",
        help="of a Ray cluster; default: 1 beside a GPU, otherwise the threads of a run here",
    )  # fmt: skip


def kind_of_references(text: str) -> str:
    """Return the text if it is one of the kinds; for use as the type of an option."""
    if text not in KINDS:
        msg = f"expected {', '.join(KINDS[:-1])} or {KINDS[-1]}, but got {text!r}; images to compare with are given by "
        msg += "--reference-dir"
        raise argparse.ArgumentTypeError(msg)
    return text


def add_geometry(group: argparse._ArgumentGroup) -> None:
    """Add the options of the geometry and the size of the model's input."""
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


def add_method(group: argparse._ArgumentGroup) -> None:
    """Add the options of the method, its weights and its device."""
    group.add_argument(
        "--method", default=METHOD,
        help="one that scores an image by itself or by a few others: DualImageCLIP, AnoCLIP, ClipAD, ClipZeroShot, "
        "WindowCLIP, or MuSc with --num-references",
    )  # fmt: skip
    group.add_argument(
        "--set", dest="arguments", action="append", default=[], metavar="NAME=VALUE",
        help="an argument of the method, for example views=false of AnoCLIP; repeatable; default: none",
    )  # fmt: skip
    group.add_argument("--backbone", default="ViT-B-16-plus-240", help="architecture of open_clip")
    group.add_argument(
        "--pretrained", help=f'tag, file, folder, or "demo" (offline); default: the method\'s, mostly {PRETRAINED}'
    )
    group.add_argument(
        "--checkpoint", type=Path, help="layers of a method that was trained, such as ClipAD's sdp+; default: none"
    )
    group.add_argument(
        "--preprocessing", help="openai, imagenet or inception, for a raw weights file; default: that of the weights"
    )
    group.add_argument("--domain", choices=("object", "texture"), help="which words prompts use; default: by the class")
    group.add_argument(
        "--temperature", type=float, help="of the softmax over the two states; default: the method's, here 0.07"
    )
    group.add_argument("--alpha", type=float, help="weight of text against reference; default: 0.5")
    group.add_argument("--class-weight", type=float, help="weight of the class token in the image score; default: 0.5")
    group.add_argument(
        "--drawing", choices=DRAWING_NAMES,
        help=f"draw maps as the released code of that method does; default: the method's, here {DRAWING_NAMES[0]}",
    )  # fmt: skip
    group.add_argument("--tta", action="store_true", help="test-time adaptation")
    group.add_argument("--seed", type=int, default=0, help="draws the pairs, and the references of a bundle")
    group.add_argument(
        "--batch-size", type=int, default=8, help="images at a time; changes speed and memory, not scores"
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, mps")
