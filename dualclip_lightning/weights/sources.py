"""Locations of weights in open_clip's table, with a check against the rest of the table.

open_clip prefers a hub repository to a URL. In open_clip 3.3 the entry `laion400m_e32` of ViT-B-16-plus-240 names the
repository of `laion400m_e31`, so that a request for one returns the other. Each entry is therefore compared with the
name of its repository and with all other entries before it is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import open_clip
from huggingface_hub import constants
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

from dualclip_lightning.weights import WeightsError

_DIGEST_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+$")
_DIGEST_IN_FOLDER = re.compile(r"/([0-9a-f]{64})/[^/]+$")


@dataclass(frozen=True)
class WeightsSource:
    """One location of weights: a hub repository with possible file names, or a URL."""

    repository: str | None = None
    files: tuple[str, ...] = ()
    """File names in the repository, in order of preference."""
    url: str | None = None

    def __str__(self) -> str:
        if self.url:
            return self.url
        return f"{' or '.join(self.files)} of {constants.ENDPOINT}/{self.repository}"

    @property
    def file_name(self) -> str:
        """Return the name of the file at the URL."""
        return PurePosixPath(urlsplit(self.url or "").path).name

    @property
    def digest(self) -> str | None:
        """Return the first digits of the file's SHA-256 in the URL, or None."""
        found = _DIGEST_IN_NAME.search(self.url or "") or _DIGEST_IN_FOLDER.search(self.url or "")
        return found[1] if found else None


@dataclass(frozen=True)
class PublishedWeights:
    """A line of open_clip's table."""

    backbone: str
    tag: str
    repository: str
    """Repository without the file name; empty if there is none."""
    file: str
    url: str


def entries() -> Iterator[PublishedWeights]:
    """Yield every line of open_clip's table of pretrained weights."""
    for backbone, tag in open_clip.list_pretrained():
        yield _entry(backbone, tag)


def _entry(backbone: str, tag: str) -> PublishedWeights:
    stated = open_clip.get_pretrained_cfg(backbone, tag)
    repository, _, file = stated.get("hf_hub", "").rpartition("/")
    return PublishedWeights(backbone, tag.lower().replace("-", "_"), repository, file, stated.get("url", ""))


def source_of(backbone: str, tag: str) -> WeightsSource:
    """Return the location of the weights of a tag: its repository if that contains this tag, else its own URL.

    Raises:
        WeightsError: neither is known to contain it.
    """
    entry, table = _entry(backbone, tag), tuple(entries())
    if entry.repository and _repository_holds(entry, table):
        return WeightsSource(entry.repository, _file_names(entry.file))
    if entry.url and {entry.tag} == {other.tag for other in table if other.url == entry.url}:
        return WeightsSource(url=entry.url)
    stated = entry.repository or entry.url
    msg = (
        f"open_clip's table gives '{stated or 'no place'}' for the weights '{tag}' of '{backbone}'"
        f"{', but other weights for the same place, so what it holds is not known' if stated else ''}. "
        "Download the file that you mean and set `pretrained` (--pretrained) to its path."
    )
    raise WeightsError(msg)


def mislabelled() -> list[PublishedWeights]:
    """Return lines of the table whose repository contains other weights than the tag, or may contain them."""
    table = tuple(entries())
    return [entry for entry in table if entry.repository and not _repository_holds(entry, table)]


def _repository_holds(entry: PublishedWeights, table: tuple[PublishedWeights, ...]) -> bool:
    """Return whether the repository of a line has its tag, by its name or because no other tag claims it."""
    claims = {other.tag for other in table if other.repository == entry.repository}
    named = _tag_in_name(entry.repository, frozenset(other.tag for other in table))
    if named is None:
        return claims == {entry.tag}
    # A tag may be longer than the end of a repository: mscoco_finetuned_laion2b_s13b_b90k in ...-laion2B-s13B-b90k.
    return entry.tag == named or (entry.tag.endswith(f"_{named}") and named not in claims)


@cache
def _tag_in_name(repository: str, tags: frozenset[str]) -> str | None:
    """Return the longest tag at the end of the repository's name, or None."""
    name = re.sub(r"[-./]", "_", repository.lower())
    return max((tag for tag in tags if name.endswith(f"_{tag}")), key=len, default=None)


def _file_names(file: str) -> tuple[str, ...]:
    """Return the file names that open_clip tries in a repository, safetensors first."""
    if not file:
        return HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
    if file.endswith((".bin", ".pth")):
        return f"{file[:-4]}.safetensors", file
    return (file,)
