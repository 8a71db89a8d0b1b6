"""Dual-Image CLIP as a warm object: images in, scores, maps and decisions out, without labels or Lightning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, replace
from itertools import islice
from numbers import Real
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from dualclip_lightning.backbone import DualPathVisionEncoder, prepare_backbone
from dualclip_lightning.backbone.preprocessing import PreprocessingChoice
from dualclip_lightning.images.area import allow_megapixels
from dualclip_lightning.images.limits import MAX_MEGAPIXELS
from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.sources import Failure, Images, Source, as_sources, file_sources
from dualclip_lightning.predict.input.encoding import EncodedImage, ImageEncoder, PatchSet
from dualclip_lightning.predict.input.forecast import forecast_tiles
from dualclip_lightning.predict.input.geometry import Drawer, Geometry, Mode
from dualclip_lightning.predict.input.working import WorkingSet
from dualclip_lightning.predict.limits import RATE
from dualclip_lightning.predict.output.prediction import Prediction
from dualclip_lightning.predict.scoring.checks import (
    adaptation_settings,
    check_device,
    check_numbers,
    check_references,
    choose_device,
    from_old_name,
    make_adaptation,
    reference_mode,
)
from dualclip_lightning.predict.scoring.quantiles import NoThresholdError, for_later_images, from_good, from_run
from dualclip_lightning.predict.scoring.references import InSequence, Order, Pairs, StreamBank
from dualclip_lightning.predict.scoring.scorer import DualImageScorer
from dualclip_lightning.predict.scoring.thresholds import Threshold
from dualclip_lightning.prompts import TextMean, prompt_ensemble, text_anchors
from dualclip_lightning.scoring import MapDrawing
from dualclip_lightning.utilities.arguments import check_blocks, check_choice

Outcome = Prediction | Failure
References = Literal["pairs", "stream", "none"]


class Share(NamedTuple):
    """One part of several that are as even as groups of images allow."""

    part: int = 0
    parts: int = 1


class Detector:
    """Zero-shot anomaly detection on one's own images.

    Text anchors and references are computed once. `predict` may be called from several threads; only the bank of a
    stream changes between calls.

    Args:
        class_name: what the images show, in words that prompts take as they are.
        backbone: open_clip architecture, or "hf-hub:owner/name".
        pretrained: weights tag, file or folder; "demo" is the small model of this package.
        compare_with: "pairs" compares the images of a call with each other in random pairs; "stream" compares each with
            the `bank_size` images before it, also of earlier calls; "none" uses text only.
        reference_dir: a folder of unlabelled images of the product (or a list of images), with which every image is
            compared instead.
        references: the old name of both, which will go.
        num_references: of "pairs", K images each.
        bank_size: of "stream".
        spatial_window: for products that are always aligned: only reference patches within this share of the image's
            side count, for example 0.1; None for all.
        threshold: a number for image scores, a `Threshold`, or its file; "auto" takes that of the images of each call
            of `predict` (`quantiles.from_run`), which needs several; None for no decisions.
        geometry: "keep" the aspect ratio; "squash" as published and as the Lightning model does; "tiles"; or a
            `Geometry` with its numbers.
        image_size: of the model: side, or height and width, multiples of the patch; None takes that of the weights.
        temperature: as of `DualImageCLIP`, with the four that follow.
        alpha: weight of the text map.
        class_weight: weight of the class-token score.
        vv_blocks: in the V-V path; None for all.
        seed: draws pairs and pseudo anomalies.
        tta: test-time adaptation; True, or settings by name (see `AdaptationSettings`).
        preprocessing: "openai", "imagenet", "inception", or some of mean, std and interpolation by name; needed for a
            raw weights file only.
        domain: "object" or "texture", which words prompts use; None looks the class up.
        states: phrases with one `{}` under "normal" and "anomalous"; None for the method's own.
        templates: sentences with one `{}` for the state phrase; None for the method's own.
        text_mean: over text embeddings as they come, "raw", or at length 1, "unit", as of `DualImageCLIP`.
        drawing: how maps of patches become maps of pixels, as of `DualImageCLIP`.
        batch_size: views at a time; it changes speed and memory, not scores.
        device: "auto", "cpu", "cuda", "mps" or another name of PyTorch's.
        max_megapixels: larger images are refused; above Pillow's own limit, which is raised in this process.

    Raises:
        ValueError: an argument out of range or unknown.
        FileNotFoundError: no references where they were said to be.
        dualclip_lightning.backbone.WeightsError: weights that cannot be had.

    Example:
        >>> import numpy as np
        >>> from dualclip_lightning import Detector
        >>> images = np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), dtype=np.uint8)
        >>> detector = Detector("steel plate", pretrained="demo", device="cpu", threshold=0.5)
        >>> found = detector.predict(images)  # also a path to a file or a folder
        >>> [prediction.map.shape for prediction in found]
        [(48, 64), (48, 64), (48, 64), (48, 64)]
        >>> all(prediction.decision == ("anomalous" if prediction.score > 0.5 else "normal") for prediction in found)
        True
    """

    def __init__(
        self,
        class_name: str = "object",
        *,
        backbone: str = "ViT-B-16-plus-240",
        pretrained: str = "laion400m_e32",
        compare_with: References = "pairs",
        reference_dir: Images | None = None,
        references: References | Images | None = None,
        num_references: int = 1,
        bank_size: int = 4,
        spatial_window: float | None = None,
        threshold: float | str | Path | Threshold | None = "auto",
        geometry: Mode | Geometry = "keep",
        image_size: int | tuple[int, int] | None = None,
        temperature: float = 0.07,
        alpha: float = 0.5,
        class_weight: float = 0.5,
        vv_blocks: list[int] | None = None,
        seed: int = 0,
        tta: bool | Mapping[str, Any] = False,
        preprocessing: PreprocessingChoice = None,
        domain: Literal["object", "texture"] | None = None,
        states: dict[str, list[str]] | None = None,
        templates: list[str] | None = None,
        text_mean: TextMean = "raw",
        drawing: str | dict[str, Any] = "anoclip",
        batch_size: int = 8,
        device: str = "auto",
        max_megapixels: float = MAX_MEGAPIXELS,
    ) -> None:
        check_numbers(num_references, bank_size, batch_size, temperature, spatial_window, max_megapixels,
                      alpha=alpha, class_weight=class_weight)  # fmt: skip
        check_blocks("vv_blocks", vv_blocks)
        if references is not None:
            compare_with, reference_dir = from_old_name(references)
        check_references(compare_with, reference_dir)
        tta_settings = adaptation_settings(tta)
        check_choice("text_mean", text_mean, get_args(TextMean))
        check_device(device)
        prompts = prompt_ensemble(class_name, domain, states, templates)
        chosen_drawing = MapDrawing.from_choice(drawing)
        chosen = geometry if isinstance(geometry, Geometry) else Geometry(geometry)
        self._threshold, self._auto = _threshold(threshold), threshold == "auto"
        allow_megapixels(max_megapixels)
        clip, prepared = prepare_backbone(backbone, pretrained, preprocessing, seed, image_size)
        adaptation = make_adaptation(tta_settings, prepared, seed)
        anchors = text_anchors(clip, prompts, mean=text_mean)
        self.device = choose_device(device)
        encoder = DualPathVisionEncoder(clip.visual, vv_blocks).to(self.device)
        self.mode, wanted = reference_mode(compare_with, reference_dir, text_only=alpha == 1)
        self.seed, self.batch_size, self.max_megapixels = seed, batch_size, max_megapixels
        self.num_references = {"pairs": num_references, "stream": bank_size}.get(self.mode, 0)
        self._bank = StreamBank(bank_size)
        self.drawer = Drawer(chosen_drawing, tuple(clip.visual.patch_size))
        self._encoder = ImageEncoder(encoder, prepared, chosen, batch_size)
        self._scorer = DualImageScorer(
            encoder, anchors.to(self.device), temperature, alpha, class_weight, spatial_window, adaptation
        )
        self._folder: list[PatchSet] = [] if wanted is None else self._encode_references(wanted)
        self.settings: dict[str, Any] = {
            "method": "DualImageCLIP", "class_name": class_name, "backbone": clip.name, "weights": clip.weights,
            "weights_sha256": clip.digest, "preprocessing": asdict(prepared), "geometry": asdict(chosen),
            "references": self.mode, "num_references": self.num_references or len(self._folder),
            "spatial_window": spatial_window, "temperature": temperature, "alpha": alpha, "class_weight": class_weight,
            "vv_blocks": vv_blocks, "seed": seed, "tta": None if adaptation is None else asdict(adaptation.settings),
            "drawing": drawing if isinstance(drawing, str) else asdict(chosen_drawing),
            "prompts": {"domain": domain, "states": states, "templates": templates, "text_mean": text_mean},
        }  # fmt: skip
        """What the scores depend on, as plain data to store beside them."""
        self.weights_origin = dict(clip.origin)
        """Where the weights are from; scores depend on their digest, whatever place they came from."""
        self.threshold = threshold if self._threshold is None else self._threshold

    def __repr__(self) -> str:
        settings, geometry = self.settings, self._encoder.geometry.mode
        model = ", ".join(dict.fromkeys((settings["backbone"], settings["weights"])))
        return f"Detector({settings['class_name']!r}, {model}, {self.mode}, {geometry}, {self.device})"

    @property
    def threshold(self) -> Threshold | None:
        """By which images are decided; may be set, as in the constructor. None also where each call has its own.

        Raises:
            ValueError: when set to one that was made with other settings.
        """
        return self._threshold

    @threshold.setter
    def threshold(self, threshold: float | str | Path | Threshold | None) -> None:
        chosen = _threshold(threshold)
        if chosen is not None:
            chosen.check_settings(self.settings)
        self._threshold, self._auto = chosen, threshold == "auto"

    @property
    def reference_names(self) -> list[str]:
        """The images with which every image is compared, of a detector that was given some."""
        return [patches.name for patches in self._folder]

    def predict(self, images: Images, errors: Literal["raise", "return"] = "raise") -> Any:
        """Judge images.

        Args:
            images: a path to a file, folder, pattern or list; a Pillow image, an array [H, W, 3] or a tensor
                [3, H, W] (bytes, or floats from 0 to 1); a batch of those; or a sequence of any.
            errors: "raise" at an image that cannot be used, or "return" a `Failure` in its place.

        Returns:
            A `Prediction` for one image, a list of them in order for several.

        Raises:
            ImageError: an image that cannot be used; its name comes first.
            FileNotFoundError: a path that does not exist.
            TypeError: something that is no image.
            ValueError: another word for `errors`.

        Example:
            >>> import numpy as np
            >>> from dualclip_lightning import Detector
            >>> detector = Detector("steel plate", pretrained="demo", compare_with="none", threshold=None)
            >>> prediction = detector.predict(np.zeros((48, 64, 3), np.uint8))
            >>> prediction.size, prediction.decision
            ((48, 64), None)
            >>> detector.predict(["missing.png"], errors="return")[0].reason
            'there is no such file (any more).'
        """
        if errors not in {"raise", "return"}:
            msg = f"Expected errors to be 'raise' or 'return', but got {errors!r}."
            raise ValueError(msg)
        sources = as_sources(images, self.max_megapixels)
        if errors == "raise":
            sources.complete()
        found: dict[int, Outcome] = {}
        for position, outcome in self.score(sources.images):
            if isinstance(outcome, Failure) and errors == "raise":
                msg = f"Cannot use '{outcome.name}': {outcome.reason}"
                raise ImageError(msg)
            found[position] = outcome
        outcomes = [found[i] for i in range(len(found))]
        if self._auto:
            outcomes = self._decide_together(outcomes)
        return outcomes[0] if sources.single else [*outcomes, *sources.failures]

    def _decide_together(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Decide the images of a call by their own threshold, or say why there is none."""
        try:
            threshold = from_run([each for each in outcomes if isinstance(each, Prediction)], settings=self.settings)
            said: dict[str, Any] = {"threshold": threshold}
        except NoThresholdError as error:
            said = {"undecided": str(error)}
        return [replace(each, **said) if isinstance(each, Prediction) else each for each in outcomes]

    def calibrate(self, images: Images, false_alarm_rate: float = RATE, confidence: float = 0.95) -> Threshold:
        """Take the threshold from images believed good, which needs no label of a defect (`quantiles.from_good`).

        Raises:
            ImageError: an image that cannot be used.
            ValueError: no image, a single one without a reference, or a rate out of range.

        Example:
            >>> import numpy as np
            >>> from dualclip_lightning import Detector
            >>> good = np.random.default_rng(0).integers(0, 256, (8, 48, 64, 3), dtype=np.uint8)
            >>> detector = Detector("steel plate", pretrained="demo", device="cpu")
            >>> threshold = detector.calibrate(good, false_alarm_rate=0.2)
            >>> threshold.kind, threshold.images
            ('good', 8)
        """
        sources = as_sources(images, self.max_megapixels).complete()
        self.check_good(len(sources))
        outcomes = [outcome for _, outcome in self.score(sources, bank=StreamBank(self.num_references))]
        good = [outcome for outcome in outcomes if isinstance(outcome, Prediction)]
        if len(good) < len(outcomes):
            failure = next(outcome for outcome in outcomes if isinstance(outcome, Failure))
            msg = f"Cannot use '{failure.name}': {failure.reason}"
            raise ImageError(msg)
        self.threshold = from_good(good, false_alarm_rate, confidence, self.settings)
        return self.threshold

    def check_good(self, count: int) -> None:
        """Refuse a single image believed good where images are compared with each other: it has only its text score.

        Raises:
            ValueError: says what to do.
        """
        if self.mode in {"pairs", "stream"} and count == 1:
            msg = "Expected at least two good images, which are compared with each other as others are, but got one."
            raise ValueError(msg)

    def forget(self) -> None:
        """Empty the bank of a stream, for another camera or product.

        Example:
            >>> import numpy as np
            >>> from dualclip_lightning import Detector
            >>> frame = np.zeros((48, 64, 3), np.uint8)
            >>> detector = Detector("steel plate", pretrained="demo", compare_with="stream", threshold=None)
            >>> [len(detector.predict(frame).references) for _ in range(3)]
            [0, 1, 2]
            >>> detector.forget()
            >>> len(detector.predict(frame).references)
            0
        """
        self._bank.clear()

    def score(
        self,
        sources: Sequence[Source],
        done: AbstractSet[int] = frozenset(),
        bank: StreamBank | None = None,
        share: Share = Share(),  # noqa: B008 - immutable
    ) -> Iterator[tuple[int, Outcome]]:
        """Judge many images with bounded memory, one after another as they are ready, not in the order given.

        Args:
            sources: distinct images; who references whom depends on all of them.
            done: positions that are known already; they are read only where others need them as references.
            bank: of a stream, instead of the detector's own.
            share: of the images, when several processes divide them; whole groups of images that reference each other.

        Yields:
            The position of an image and what is said of it.
        """
        bank = self._bank if bank is None else bank
        order = self._order(sources)
        earlier = bank.latest() if self.mode == "stream" else []
        # Tiled pictures may be as large as is allowed and are held while they are in use.
        together = 1 if self._encoder.geometry.mode == "tiles" else self.batch_size
        with WorkingSet(sources, self._encoder, keep=2 * together + self.num_references) as working:
            for chunk in islice(order.chunks(together), share.part, None, share.parts):
                wanted = [position for position in chunk if position not in done]
                working.fetch(wanted)
                for position in wanted:
                    yield position, self._judge(position, sources, working, order, earlier, bank)

    def forecast(self, paths: Sequence[Path], *, timed: bool = True) -> str:
        """How many tiles these images have and how long they take to encode; empty where images are not tiled."""
        return forecast_tiles(self._encoder, paths, timed=timed) if self._encoder.geometry.mode == "tiles" else ""

    def pair_scores(self, paths: Sequence[str]) -> Callable[[str, str], tuple[float, float]]:
        """A function of an image and its one reference that gives the score and the peak (see `Prediction.peak`).

        All images are encoded once and stay in memory, so that many draws of pairs are cheap.

        Raises:
            ImageError: an image that cannot be used.
        """
        sources = file_sources([Path(path) for path in paths], self.max_megapixels)
        images: dict[str, EncodedImage] = {}
        with WorkingSet(sources, self._encoder, keep=len(sources)) as working:
            for position, source in enumerate(sources):
                image = working[position]
                if isinstance(image, Failure):
                    msg = f"Cannot use '{source.name}': {image.reason}"
                    raise ImageError(msg)
                images[source.name] = image

        def score(name: str, reference: str) -> tuple[float, float]:
            value, score_map = self._scorer.score(images[name], [images[reference].patch_set], name)
            return value, float(self.drawer.on_patches(score_map.numpy()).max())

        return score

    def _judge(
        self,
        position: int,
        sources: Sequence[Source],
        working: WorkingSet,
        order: Order,
        earlier: Sequence[PatchSet],
        bank: StreamBank,
    ) -> Outcome:
        image = working[position]
        if isinstance(image, Failure):
            return image
        name = sources[position].name
        references = self._folder_without(name)
        others = (p for p in order.candidates(position) if sources[p].name != name)  # a path may be given twice
        references += working.first_readable(others, self.num_references)
        references += earlier[: max(0, self.num_references - len(references))]
        with working.timed(position):
            score, score_map = self._scorer.score(image, references, name)
        if self.mode == "stream":
            bank.add(image.patch_set)
        return Prediction(
            name=name,
            score=score,
            patch_map=score_map.numpy(),
            size=image.plan.image,
            references=tuple(reference.name for reference in references),
            geometry=f"{self._encoder.geometry.mode}: {image.plan.describe()}",
            seconds=working.seconds(position),
            notes=image.notes,
            threshold=self._threshold,
            drawer=self.drawer,
        )

    def _order(self, sources: Sequence[Source]) -> Order:
        if self.mode == "pairs":
            return Pairs([source.name for source in sources], self.num_references, self.seed)
        return InSequence(len(sources), stream=self.mode == "stream")

    def _folder_without(self, name: str) -> list[PatchSet]:
        """The given references but the image itself."""
        own = str(Path(name).resolve()) if self._folder else ""
        return [patches for patches in self._folder if str(Path(patches.name).resolve()) != own]

    def _encode_references(self, images: Images) -> list[PatchSet]:
        """Patches of the images that every image is compared with.

        Raises:
            ImageError: one that cannot be used.
            ValueError: none.
        """
        sources = as_sources(images, self.max_megapixels, called="reference").complete()
        patches: list[PatchSet] = []
        with WorkingSet(sources, self._encoder, keep=self.batch_size) as working:
            for position, source in enumerate(sources):
                image = working[position]
                if isinstance(image, Failure):
                    msg = f"Cannot use the reference '{source.name}': {image.reason}"
                    raise ImageError(msg)
                patches.append(image.patch_set)
        if not patches:
            msg = "Expected at least one reference image, but got none."
            raise ValueError(msg)
        return patches


def _threshold(chosen: float | str | Path | Threshold | None) -> Threshold | None:
    """What the user means by a threshold."""
    if chosen is None or chosen == "auto":
        return None
    if isinstance(chosen, Threshold):
        return for_later_images(chosen)
    if isinstance(chosen, str | Path):
        return for_later_images(Threshold.load(chosen))
    if isinstance(chosen, bool) or not isinstance(chosen, Real):
        msg = f"Expected threshold to be a number, a file or a Threshold, but got {chosen!r}."
        raise ValueError(msg)  # noqa: TRY004 - one kind of error for all arguments
    return Threshold(float(chosen))
