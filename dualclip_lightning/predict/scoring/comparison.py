"""Choice of the references of an image: other images of its run, earlier images, or given ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.sources import Failure, Images, Source, as_sources
from dualclip_lightning.predict.input.reader import Reference, ViewReader
from dualclip_lightning.predict.input.working import WorkingSet
from dualclip_lightning.predict.scoring.references import InSequence, Order, PairOrder


class Comparison:
    """Supplier of the references of each image.

    Args:
        mode: "pairs", "stream", "folder" or "none".
        num_references: number of references per image, for pairs and for a stream.
        seed: seed from which the pairs are drawn.
        given: the references of the mode "folder".
    """

    def __init__(self, mode: str, num_references: int, seed: int, given: Sequence[Reference] = ()) -> None:
        self.mode = mode
        self.num_references = num_references
        self.seed = seed
        self.given = list(given)

    def order(self, sources: Sequence[Source]) -> Order:
        """Return the order in which images are scored, with the images that each may take as its references."""
        if self.mode == "pairs":
            return PairOrder([source.name for source in sources], self.num_references, self.seed)
        return InSequence(len(sources), stream=self.mode == "stream")

    def references(
        self, position: int, sources: Sequence[Source], working: WorkingSet, order: Order, earlier: Sequence[Reference]
    ) -> list[Reference]:
        """Return the references of an image.

        Args:
            position: position of the image among the sources.
            sources: all images.
            working: working set that reads them.
            order: order of these sources.
            earlier: images of a stream that precede the sources, the latest first.
        """
        name = sources[position].name
        found = self._given_without(name)
        others = (p for p in order.candidates(position) if sources[p].name != name)  # a path may be given twice
        found += working.first_readable(others, self.num_references)
        return found + list(earlier[: max(0, self.num_references - len(found))])

    def _given_without(self, name: str) -> list[Reference]:
        """Return the given references without the image itself."""
        own = str(Path(name).resolve()) if self.given else ""
        return [reference for reference in self.given if str(Path(reference.name).resolve()) != own]


@dataclass(frozen=True)
class EncodedReferences:
    """References whose features are known, in place of images."""

    references: Sequence[Reference]

    def __iter__(self) -> Iterator[Reference]:
        return iter(self.references)


def read_references(
    images: Images | EncodedReferences, reader: ViewReader, batch_size: int, max_megapixels: float
) -> list[Reference]:
    """Read the images that every image is compared with.

    Raises:
        ImageError: If one cannot be used.
        ValueError: If there are none.
    """
    if isinstance(images, EncodedReferences):
        return list(images)
    sources = as_sources(images, max_megapixels, called="reference").complete()
    found: list[Reference] = []
    with WorkingSet(sources, reader, keep=batch_size) as working:
        for position, source in enumerate(sources):
            image = working[position]
            if isinstance(image, Failure):
                msg = f"Cannot use the reference '{source.name}': {image.reason}"
                raise ImageError(msg)
            found.append(image.as_reference)
    if not found:
        msg = "Expected at least one reference image, but got none."
        raise ValueError(msg)
    return found
