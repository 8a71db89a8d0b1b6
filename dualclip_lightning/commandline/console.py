"""Replacement of characters that the console's encoding lacks, so that output and file names cannot end a run."""

from __future__ import annotations

import codecs
import sys
import unicodedata

PLAIN = {"±": "+/-", "†": "*", "‡": "**", "─": "-", "━": "-", "│": "|"}
"""Characters with a plain replacement. Other letters lose their accents; the rest becomes a question mark."""
NAME = "dualclip_plain"
"""Name of the error handler."""


def show_what_it_can() -> None:
    """Let the standard streams replace characters that they cannot encode; used by all commands of this package.

    Files are not affected: they are written in UTF-8 on every machine.
    """
    codecs.register_error(NAME, _plain)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a caller may have replaced the stream
            stream.reconfigure(errors=NAME)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(PLAIN.get(sign) or _bare(sign) for sign in signs), error.end


def _bare(sign: str) -> str:
    letters = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return letters or "?"
