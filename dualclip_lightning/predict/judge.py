"""Scoring of many images in sequence by one method, with bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.sources import Failure, Source
from dualclip_lightning.predict.input.reader import EncodedImage
from dualclip_lightning.predict.input.working import WorkingSet
from dualclip_lightning.predict.output.prediction import Prediction
from dualclip_lightning.predict.scoring.comparison import Comparison
from dualclip_lightning.predict.scoring.method import Method
from dualclip_lightning.predict.scoring.references import StreamBank
from dualclip_lightning.predict.scoring.thresholds import Threshold

Outcome = Prediction | Failure


class Share(NamedTuple):
    """One of several parts, which are as equal in size as groups of images allow."""

    part: int = 0
    parts: int = 1

    def of(self, chunks: Sequence[list[int]], *, in_sequence: bool) -> Sequence[list[int]]:
        """Return the chunks of this part.

        They are consecutive if images are compared with those before them, which are then encoded only once. Otherwise
        each part has chunks from everywhere, so that what is left of an interrupted run is divided evenly.
        """
        if in_sequence:
            first, end = (len(chunks) * part // self.parts for part in (self.part, self.part + 1))
            return chunks[first:end]
        return chunks[self.part :: self.parts]


class Judge:
    """Scorer of many images by a method, each with its references.

    Args:
        method: method that reads and scores them.
        comparison: supplier of references.
        batch_size: number of images that are read at once.
        min_area: minimum area of a region in pixels.
    """

    def __init__(self, method: Method, comparison: Comparison, batch_size: int, min_area: int = 0) -> None:
        self.method = method
        self.comparison = comparison
        self.min_area = min_area
        # Tiled pictures may be as large as the limit allows, and are held in memory while they are in use.
        self.tiled = method.reader.geometry.mode == "tiles"
        self.together = 1 if self.tiled else batch_size

    def __call__(
        self, sources: Sequence[Source], done: AbstractSet[int], bank: StreamBank, share: Share,
        threshold: Threshold | None,
    ) -> Iterator[tuple[int, Outcome]]:  # fmt: skip
        """See `Detector.score`; `threshold` decides."""
        order = self.comparison.order(sources)
        streams = self.comparison.mode == "stream"
        earlier = bank.latest() if streams else []
        keep = 2 * self.together + self.comparison.num_references
        chunks = list(order.chunks(self.together))
        needed = [chunk for chunk in share.of(chunks, in_sequence=streams) if any(p not in done for p in chunk)]
        with WorkingSet(sources, self.method.reader, keep, chunks, () if self.tiled else needed) as working:
            for chunk in needed:
                for position in (position for position in chunk if position not in done):
                    image = working[position]
                    if isinstance(image, Failure):
                        yield position, image
                        continue
                    references = self.comparison.references(position, sources, working, order, earlier)
                    name = sources[position].name
                    with working.timed(position):
                        score, score_map = self.method.scorer.score(image, references, name)
                    if streams:
                        bank.add(image.as_reference)
                    yield (
                        position,
                        Prediction(
                            name=name,
                            score=score,
                            patch_map=score_map.numpy(),
                            size=image.plan.image,
                            references=tuple(reference.name for reference in references),
                            geometry=f"{self.method.reader.geometry.mode}: {image.plan.describe()}",
                            seconds=working.seconds(position),
                            notes=image.notes,
                            threshold=threshold,
                            drawer=self.method.drawer,
                            min_area=self.min_area,
                        ),
                    )

    def pair_scores(self, sources: Sequence[Source]) -> Callable[..., tuple[float, float]]:
        """See `Detector.pair_scores`."""
        images: dict[str, EncodedImage] = {}
        with WorkingSet(sources, self.method.reader, keep=len(sources)) as working:
            for position, source in enumerate(sources):
                image = working[position]
                if isinstance(image, Failure):
                    msg = f"Cannot use '{source.name}': {image.reason}"
                    raise ImageError(msg)
                images[source.name] = image

        def score(name: str, *references: str) -> tuple[float, float]:
            compared = [images[reference].as_reference for reference in references]
            value, score_map = self.method.scorer.score(images[name], compared, name)
            return value, float(self.method.drawer.on_patches(score_map.numpy()).max())

        return score
