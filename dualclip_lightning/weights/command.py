"""`dualclip weights`: list weights, fetch them ahead of time, and check what is on this machine."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from dualclip_lightning.weights import WeightsError

DEFAULTS = ("ViT-B-16-plus-240", "laion400m_e32")
WRONG = 2
"""Exit status for invalid arguments and unavailable weights."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        for line in options.run(options):
            print(line)
    except (ValueError, WeightsError, OSError) as error:
        print(f"dualclip: {error}", file=sys.stderr)
        return WRONG
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dualclip weights", description=__doc__.partition(": ")[2].capitalize())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="list supported weights, and which are on this machine")
    listing.add_argument("backbone", nargs="?", help="only weights of this architecture; default: all")
    listing.set_defaults(run=_list)
    download = commands.add_parser("download", help="fetch weights ahead of time")
    _add_names(download)
    download.add_argument("--to", type=Path, metavar="FOLDER", help="copy the file to a folder for transfer")
    download.set_defaults(run=_download)
    check = commands.add_parser("check", help="load weights as a method does, and report their origin")
    _add_names(check)
    check.add_argument("--preprocessing", help="openai, imagenet or inception, for a raw weights file")
    check.set_defaults(run=_check)
    return parser


def _add_names(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("backbone", nargs="?", default=DEFAULTS[0], help="architecture; default: %(default)s")
    parser.add_argument("pretrained", nargs="?", default=DEFAULTS[1], help="tag, file or folder; default: %(default)s")


def _list(options: argparse.Namespace) -> Iterator[str]:
    """Yield tags with a supported architecture, their location, and whether they are available locally."""
    import open_clip  # noqa: PLC0415  # keeps the help fast

    from dualclip_lightning.backbone.checkpoints.choosing import choose  # noqa: PLC0415
    from dualclip_lightning.weights.fetching import find  # noqa: PLC0415
    from dualclip_lightning.weights.sources import source_of  # noqa: PLC0415

    if options.backbone is not None:
        choose(options.backbone, "random")  # raises for unsupported backbones
    for backbone, tag in open_clip.list_pretrained():
        if options.backbone in {None, backbone}:
            try:
                choose(backbone, tag)
                source = source_of(backbone, tag)
            except (ValueError, WeightsError):
                continue
            yield f"{'here   ' if find(source) else 'to fetch'}  {backbone}  {tag}  {source}"


def _download(options: argparse.Namespace) -> Iterator[str]:
    """Fetch the file of a tag, and copy it if asked to."""
    import open_clip  # noqa: PLC0415

    from dualclip_lightning.backbone.checkpoints.choosing import choose  # noqa: PLC0415
    from dualclip_lightning.backbone.checkpoints.locating import preset_of  # noqa: PLC0415
    from dualclip_lightning.utilities.files import file_digest  # noqa: PLC0415
    from dualclip_lightning.weights.fetching import fetch  # noqa: PLC0415
    from dualclip_lightning.weights.sources import source_of  # noqa: PLC0415

    backbone, tag = choose(options.backbone, options.pretrained)
    if tag is None or not open_clip.get_pretrained_cfg(backbone, tag):
        msg = f"Expected a weights tag, but got '{options.pretrained}'. `dualclip weights list {backbone}` has them."
        raise ValueError(msg)
    path = fetch(source_of(backbone, tag)).path
    if options.to is not None:
        options.to.mkdir(parents=True, exist_ok=True)
        path = Path(shutil.copy(path, options.to / path.name))
        preset = preset_of(backbone, tag)
        prepared = f" --preprocessing {preset}" if preset else ""
        yield f"Use it with --backbone {backbone} --pretrained {path}{prepared}"
    yield f"{path} ({path.stat().st_size / 1e6:.0f} MB, SHA-256 {file_digest(path)})"


def _check(options: argparse.Namespace) -> Iterator[str]:
    """Load a backbone and describe it."""
    from dualclip_lightning.backbone import load_backbone  # noqa: PLC0415

    loaded = load_backbone(options.backbone, options.pretrained, options.preprocessing)
    height, width = loaded.preprocessing.size
    yield f"{loaded.name}, {loaded.weights}: complete, images of {height}x{width} pixels"
    yield "from " + ", ".join(f"{key} {value}" for key, value in loaded.origin.items())
    yield f"SHA-256 of layers and weights {loaded.digest}"
