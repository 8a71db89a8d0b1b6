"""Where open_clip's table says that the weights of a tag lie, checked against the rest of the table.

open_clip prefers a hub repository to a URL. In open_clip 3.3 the entry `laion400m_e32` of ViT-B-16-plus-240 names the
repository of `laion400m_e31`, so that whoever asks for the one gets the other. Each entry is therefore compared with
the name of its repository and with all other entries before it is believed.
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
    """One place of weights: a hub repository and the files it may have them in, or a URL."""

    repository: str | None = None
    files: tuple[str, ...] = ()
    """Names in the repository, the preferred one first."""
    url: str | None = None

    def __str__(self) -> str:
        if self.url:
            return self.url
        return f"{' or '.join(self.files)} of {constants.ENDPOINT}/{self.repository}"

    @property
    def file_name(self) -> str:
        """Name of the file at the URL."""
        return PurePosixPath(urlsplit(self.url or "").path).name

    @property
    def digest(self) -> str | None:
        """The first digits of the file's SHA-256 that the URL states, or None."""
        found = _DIGEST_IN_NAME.search(self.url or "") or _DIGEST_IN_FOLDER.search(self.url or "")
        return found[1] if found else None


@dataclass(frozen=True)
class PublishedWeights:
    """A line of open_clip's table."""

    backbone: str
    tag: str
    repository: str
    """Without the file; empty if there is none."""
    file: str
    url: str


def entries() -> Iterator[PublishedWeights]:
    """Every line of open_clip's table of pretrained weights."""
    for backbone, tag in open_clip.list_pretrained():
        yield _entry(backbone, tag)


def _entry(backbone: str, tag: str) -> PublishedWeights:
    stated = open_clip.get_pretrained_cfg(backbone, tag)
    repository, _, file = stated.get("hf_hub", "").rpartition("/")
    return PublishedWeights(backbone, tag.lower().replace("-", "_"), repository, file, stated.get("url", ""))


def source_of(backbone: str, tag: str) -> WeightsSource:
    """Where the weights of a tag lie: its repository if that holds this tag, else its own URL.

    Raises:
        WeightsError: neither is known to hold it.
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
    """Lines of the table whose repository holds other weights than the tag says, or may hold them."""
    table = tuple(entries())
    return [entry for entry in table if entry.repository and not _repository_holds(entry, table)]


def _repository_holds(entry: PublishedWeights, table: tuple[PublishedWeights, ...]) -> bool:
    """Whether the repository of a line has the tag of this line, by its name or because no other tag claims it."""
    claims = {other.tag for other in table if other.repository == entry.repository}
    named = _tag_in_name(entry.repository, frozenset(other.tag for other in table))
    if named is None:
        return claims == {entry.tag}
    # A tag may say more than the repository's last words: mscoco_finetuned_laion2b_s13b_b90k in ...-laion2B-s13B-b90k.
    return entry.tag == named or (entry.tag.endswith(f"_{named}") and named not in claims)


@cache
def _tag_in_name(repository: str, tags: frozenset[str]) -> str | None:
    """The longest tag that the repository's name ends in, or None."""
    name = re.sub(r"[-./]", "_", repository.lower())
    return max((tag for tag in tags if name.endswith(f"_{tag}")), key=len, default=None)


def _file_names(file: str) -> tuple[str, ...]:
    """The names open_clip tries in a repository: safetensors first."""
    if not file:
        return HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
    if file.endswith((".bin", ".pth")):
        return f"{file[:-4]}.safetensors", file
    return (file,)
