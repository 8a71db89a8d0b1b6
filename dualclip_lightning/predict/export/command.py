"""The command `dualclip export --bundle FILE --out FILE`."""

from __future__ import annotations

from argparse import Namespace

from rich.console import Console

from dualclip_lightning.predict.detector import Detector
from dualclip_lightning.predict.ending import consoles, writing_one_file
from dualclip_lightning.predict.export.exporting import Exported
from dualclip_lightning.predict.output.summary import printable
from dualclip_lightning.utilities.extras import OPSET

CHANGES = ("backbone", "pretrained", "checkpoint")


def run(options: Namespace) -> int:
    """Run the command with the options of `options.parse`, and return its exit status.

    0: the file was written. 2: the request is invalid. 3: the file cannot be written, or memory ran out. 130:
    interrupted. If it is not 0, nothing was written.
    """
    console, errors, _ = consoles(options)
    with writing_one_file(errors, options.out, "Use a machine with more memory.") as ended:
        _export(options, console)
    return ended.status


def _export(options: Namespace, console: Console) -> None:
    changes = {name: getattr(options, name) for name in CHANGES if getattr(options, name) is not None}
    detector = Detector.load(options.bundle, device="cpu", **changes)
    exported = detector.export(options.out, overwrite=options.overwrite)
    for line in _report(exported):
        console.print(line, markup=False)


def _report(exported: Exported) -> list[str]:
    sizes = [f"{path} ({path.stat().st_size / 1e6:.1f} MB)" for path in exported.files]
    return [
        printable(f"{' and '.join(sizes)}: opset {OPSET}, batches of any number of images of any size"),
        f"image [batch, 3, height, width] -> {', '.join(exported.outputs)}",
        f"Largest difference from PyTorch for random images: {exported.difference:.1e}.",
    ]
