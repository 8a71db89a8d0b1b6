"""Optional packages of this package, which its extras install."""

from __future__ import annotations

from importlib.util import find_spec


def missing_extra(extra: str, what: str, *packages: str) -> str | None:
    """Return the sentence for packages that are not installed, with the command that installs them; None if all are.

    Args:
        extra: name of the extra.
        what: what needs them, as the subject of the sentence.
        *packages: their import names.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if not missing:
        return None
    return f'{what} needs {" and ".join(missing)}. Run `pip install "dualclip_lightning[{extra}]"`.'


def require_extra(extra: str, what: str, *packages: str) -> None:
    """Check that packages are installed.

    Raises:
        ModuleNotFoundError: some are missing; the message is that of `missing_extra`.
    """
    if (sentence := missing_extra(extra, what, *packages)) is not None:
        raise ModuleNotFoundError(sentence)
