"""What a console can show: its encoding may lack a sign of ours, or part of a file name, which must not end a run."""

from __future__ import annotations

import codecs
import sys
import unicodedata

PLAIN = {"±": "+/-", "†": "*", "‡": "**", "─": "-", "━": "-", "│": "|"}
"""Signs that have a plain form. Other letters lose their accents; the rest becomes a question mark."""
NAME = "dualclip_plain"
"""The name of the error handler."""


def show_what_it_can() -> None:
    """Let the standard streams replace what they cannot encode, as every command of this package wants it.

    What a command writes to files is UTF-8 on every machine and not concerned.
    """
    codecs.register_error(NAME, _plain)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where a caller has put something else in their place
            stream.reconfigure(errors=NAME)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(PLAIN.get(sign) or _bare(sign) for sign in signs), error.end


def _bare(sign: str) -> str:
    letters = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return letters or "?"
