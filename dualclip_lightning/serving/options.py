"""The options of `dualclip serve`."""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dualclip_lightning.commandline.parser import Parser, run_checked, whole_from_one
from dualclip_lightning.images.limits import MAX_MEGAPIXELS
from dualclip_lightning.predict.option_groups import add_geometry, add_method, add_min_area, add_spatial_window
from dualclip_lightning.predict.options import check_given, complete, read_settings
from dualclip_lightning.serving.limits import MEGA, Limits
from dualclip_lightning.utilities.extras import require_extra

DESCRIPTION = """Score images over HTTP: a page for dropping images on at /, POST /predict for programs, /health and
/metrics for monitoring. Needs the extra 'serve'."""
EPILOG = """example:
  dualclip calibrate good --class-name "steel plate" --out plate.dualclip
  dualclip serve --bundle plate.dualclip
  curl -F images=@01.png http://127.0.0.1:8000/predict

exit status: 0 stopped by Ctrl-C or SIGTERM, 2 wrong use or the port is taken."""
TOKEN = "DUALCLIP_TOKEN"  # noqa: S105 - the name of a variable
NEEDED = ("fastapi", "uvicorn", "prometheus_client", "python_multipart")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names under which programs on this machine reach a service."""
OF_PREDICT: dict[str, Any] = {
    "good": None, "false_alarm_rate": None, "heatmaps": True, "masks": False, "coco": False, "scale": None,
    "heatmap_format": None, "gallery": 0, "references": None, "num_references": None, "bank_size": None, "former": None,
}  # fmt: skip
"""Options of `dualclip predict` that this command does not have, at their defaults."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; wrong options are reported before PyTorch is imported."""
    options = parse(arguments)
    return run_checked(options, partial(_check, options), _command, (FileNotFoundError, ValueError, ImportError))


def _check(options: argparse.Namespace) -> tuple[()]:
    require_extra("serve", "The service", *NEEDED)
    check_given(options)
    return ()


def _command() -> Callable[..., int]:
    from dualclip_lightning.serving.command import run  # noqa: PLC0415 - takes seconds

    return run


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options from the command line; if they are invalid, exit with a one-line message and status 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options = parser.parse_args(arguments)
    options.token = options.token or os.environ.get(TOKEN) or None
    for message in _contradictions(options):
        parser.error(message)
    if options.bundle is not None:
        from dualclip_lightning.predict.bundle.options import take_bundle  # noqa: PLC0415 - imports numpy

        take_bundle(parser, options, arguments, read_settings)
    else:
        options.threshold = options.threshold or "none"
        options.references = None if options.reference else "none"
    if options.threshold == "auto":
        parser.error(
            "a threshold needs images that are known before the first request; give a number or a file as --threshold, "
            "or a bundle of 'dualclip calibrate'"
        )
    complete(parser, options)
    options.hosts = allowed_hosts(options)
    try:
        options.limits = Limits(
            options.max_images, round(options.max_megabytes * MEGA), round(options.max_held * MEGA), options.queue,
            options.timeout,
        )  # fmt: skip
    except ValueError as error:
        parser.error(str(error))
    return options


def is_loopback(host: str) -> bool:
    """Return whether only programs on this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def allowed_hosts(options: argparse.Namespace) -> frozenset[str] | None:
    """Return the names under which the service answers, or None for any.

    With a token, or if others may reach the service without one, only names given by --allow-host restrict it.
    """
    if options.allow_host:
        return LOOPBACK | {options.host.lower(), *options.allow_host}
    return LOOPBACK | {options.host.lower()} if options.token is None and is_loopback(options.host) else None


def _parser() -> Parser:
    parser = Parser("dualclip serve", DESCRIPTION, EPILOG)
    _add_address(parser.add_argument_group("address"))
    _add_limits(parser.add_argument_group("limits"))
    group = parser.add_argument_group("detector")
    group.add_argument(
        "--bundle", type=Path, metavar="FILE",
        help="detector in a file of 'dualclip calibrate' or Detector.save; default: none, the options below",
    )  # fmt: skip
    group.add_argument("--class-name", default="object", help='what the images show, for example "steel plate"')
    group.add_argument(
        "--reference-dir", dest="reference", metavar="FOLDER",
        help="compare every image with these unlabelled images of the product; default: score by text alone",
    )  # fmt: skip
    group.add_argument("--threshold", help="a number, a threshold.json or 'none'; default: none, no decisions")
    group.add_argument("--pixel-threshold", type=float, help="with a number: for regions; default: the same")
    add_min_area(group)
    add_spatial_window(group)
    add_geometry(parser.add_argument_group("geometry"))
    add_method(parser.add_argument_group("model and method"))
    parser.set_defaults(**OF_PREDICT)
    return parser


def _add_address(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--host", default="127.0.0.1", help="address to listen on; others than loopback need a token")
    group.add_argument("--port", type=int, default=8000, help="0 chooses a free one, which is printed")
    group.add_argument(
        "--token",
        help=f"requests need the header 'Authorization: Bearer TOKEN'; default: the variable {TOKEN}, which other "
        "users of the machine cannot see in its list of processes",
    )  # fmt: skip
    group.add_argument("--no-token", action="store_true", help="listen on other addresses without a token")
    group.add_argument(
        "--allow-host", action="append", type=_host, default=[], metavar="NAME",
        help="answer under this name, too, for example that of a proxy; may be repeated. Default: without a token, "
        "names of loopback only; otherwise any",
    )  # fmt: skip


def _host(text: str) -> str:
    """Return a host name or address in the form in which those of requests are compared."""
    name = text.lower().strip("[]")
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(name))
    if re.fullmatch(r"[a-z0-9._-]+", name) is None:
        msg = f"expected a name or an address without a port, such as plates.example.com, but got '{text}'"
        raise argparse.ArgumentTypeError(msg)
    return name


def _add_limits(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--max-images", type=whole_from_one, default=Limits.images, metavar="N", help="in a request")
    group.add_argument(
        "--max-megabytes",
        type=float,
        default=Limits.body / MEGA,
        metavar="MB",
        help="of a request; larger ones get 413",
    )
    group.add_argument(
        "--max-megapixels", type=float, default=MAX_MEGAPIXELS, help="larger images are refused by their header"
    )
    group.add_argument(
        "--queue", type=whole_from_one, default=Limits.waiting, metavar="N",
        help="images that wait; further requests get 429",
    )  # fmt: skip
    group.add_argument(
        "--max-held-megabytes", dest="max_held", type=float, default=Limits.held / MEGA, metavar="MB",
        help="uploads in memory; further requests get 429",
    )  # fmt: skip
    group.add_argument(
        "--timeout", type=float, default=Limits.seconds, metavar="SECONDS",
        help="for sending a request, and again for answering it, after which it gets 503",
    )  # fmt: skip


def _contradictions(options: argparse.Namespace) -> Iterator[str]:
    if not 0 <= options.port <= 65535:  # noqa: PLR2004 - 16 bits
        yield "argument --port: expected a number from 0 to 65535"
    if options.token is not None and options.no_token:
        yield f"--no-token excludes --token and the variable {TOKEN}"
    if options.token is not None and not (options.token.isascii() and options.token.isprintable()):
        yield "argument --token: expected printable ASCII characters"
    if options.token is None and not options.no_token and not is_loopback(options.host):
        yield (f"others can reach {options.host}: set the variable {TOKEN} or --token, or --no-token if that is meant")
