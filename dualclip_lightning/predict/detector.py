"""Scores, maps and decisions for images from a method that is loaded once, without labels or a Lightning run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dualclip_lightning.backbone.preprocessing import PreprocessingChoice
from dualclip_lightning.images.area import allow_megapixels
from dualclip_lightning.images.limits import MAX_MEGAPIXELS
from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.sources import Failure, Images, Source, as_sources, file_sources
from dualclip_lightning.predict.bundle.features import from_arrays, to_arrays
from dualclip_lightning.predict.bundle.file import Bundle, read_bundle, write_bundle
from dualclip_lightning.predict.bundle.plain import (
    check_changes,
    check_settings,
    check_weights,
    detector_arguments,
    held_threshold,
    plain_arguments,
    version_changes,
)
from dualclip_lightning.predict.export.exporting import Exported, export_graph
from dualclip_lightning.predict.export.files import check_target
from dualclip_lightning.predict.export.graph import decision_graph
from dualclip_lightning.predict.export.refusals import check_exportable
from dualclip_lightning.predict.input.forecast import forecast_tiles
from dualclip_lightning.predict.input.geometry import Geometry, Mode
from dualclip_lightning.predict.judge import Judge, Outcome, Share
from dualclip_lightning.predict.limits import METHOD, RATE
from dualclip_lightning.predict.output.prediction import Prediction
from dualclip_lightning.predict.scoring.checks import (
    check_checkpoint,
    check_compared,
    check_device,
    check_numbers,
    check_references,
    chosen_threshold,
    from_old_name,
    reference_mode,
)
from dualclip_lightning.predict.scoring.comparison import Comparison, EncodedReferences, read_references
from dualclip_lightning.predict.scoring.methods import Common, build_method
from dualclip_lightning.predict.scoring.quantiles import NoThresholdError, from_good, from_run
from dualclip_lightning.predict.scoring.references import StreamBank
from dualclip_lightning.predict.scoring.thresholds import Threshold
from dualclip_lightning.prompts import TextMean
from dualclip_lightning.utilities.record import as_read
from dualclip_lightning.utilities.versions import ADAPTATION, SCORING, versions

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger(__name__)

NO_REFERENCES = (
    "The bundle has no references, because the detector compares the images of each call with each other. Set "
    "reference_dir to a few images of the product for references in the bundle."
)
NO_DECISION = (
    "The detector takes its threshold from the images of each call, so the file has scores without decisions. "
    "Calibrate it, or set a threshold, for decisions in the file."
)
References = Literal["pairs", "stream", "none"]


class Detector:
    """Zero-shot anomaly detection on your own images.

    Text anchors and references are computed once. `predict` may be called from several threads; only the bank of a
    stream changes between calls.

    Args:
        class_name: what the images show, in words that are inserted into the prompts.
        method: name of the method: "DualImageCLIP", "AnoCLIP", "ClipAD", "ClipZeroShot" or "WindowCLIP", or "MuSc" with
            `num_references`.
        backbone: open_clip architecture, or "hf-hub:owner/name".
        pretrained: weights tag, file or folder; "demo" is the small model of this package. None takes the default of
            the method, "laion400m_e32" for Dual-Image CLIP.
        checkpoint: file with trained layers, for ClipAD with `variant="sdp+"`.
        compare_with: "pairs" compares the images of a call with each other in random pairs; "stream" compares each with
            the `bank_size` images before it, including those of earlier calls; "none" uses only text. Methods that
            score images one by one ignore "pairs".
        reference_dir: a folder of unlabelled images of the product (or a list of images), with which every image is
            compared instead.
        references: former name of both arguments; deprecated.
        num_references: number of references of each image in "pairs". None takes the default of the method, 1 for
            Dual-Image CLIP.
        bank_size: number of images that a "stream" keeps.
        spatial_window: for products that are always aligned: compare only with reference patches within this share of
            the image's side, for example 0.1; None for all. Only for Dual-Image CLIP.
        threshold: a number for image scores, a `Threshold`, or its file; "auto" takes one from the images of each
            call of `predict` (`quantiles.from_run`), which needs several; None for no decisions.
        min_area: number of pixels below which a region of an anomalous image is neither listed nor marked, unless all
            of them are smaller; scores and decisions do not depend on it.
        geometry: "keep" keeps the aspect ratio; "squash" resizes as published and as the Lightning model does; "tiles";
            or a `Geometry` with its numbers. MuSc needs "squash".
        image_size: input size of the model: side, or height and width, as multiples of the patch; None takes the size
            of the weights.
        temperature: temperature of the softmax over the two states. For this argument and those down to `drawing`,
            None takes the default of the method, and a method without the argument rejects it.
        alpha: weight of the text map.
        class_weight: weight of the class-token score.
        vv_blocks: numbers of the blocks in the V-V path.
        tta: test-time adaptation; True, or settings by name (see `AdaptationSettings`).
        text_mean: "raw" for the mean of unnormalised text embeddings, "unit" for the mean of normalised ones.
        drawing: how maps of patches become maps of pixels.
        seed: seed of all random choices: pairs, pseudo anomalies, noise.
        preprocessing: "openai", "imagenet", "inception", or some of mean, std and interpolation by name; needed only
            for a raw weights file.
        domain: "object" or "texture", the wording of the prompts; None looks the class up.
        states: phrases with one `{}` under "normal" and "anomalous"; None for those of the method.
        templates: sentences with one `{}` for the state phrase; None for those of the method.
        batch_size: number of views processed at a time; it affects speed and memory, not scores.
        device: "auto", "cpu", "cuda", "mps" or another PyTorch device.
        max_megapixels: limit above which images are rejected; if it exceeds Pillow's own limit, that limit is raised in
            this process.
        **arguments: further arguments of the method, for example `views=False` for AnoCLIP.

    Raises:
        ValueError: If an argument is out of range or unknown, or the method cannot score single images or pairs; the
            message says what to use instead.
        FileNotFoundError: If the references do not exist.
        dualclip_lightning.backbone.WeightsError: If the weights cannot be loaded.

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
        method: str = METHOD,
        backbone: str = "ViT-B-16-plus-240",
        pretrained: str | None = None,
        checkpoint: str | Path | None = None,
        compare_with: References = "pairs",
        reference_dir: Images | None = None,
        references: References | Images | None = None,
        num_references: int | None = None,
        bank_size: int = 4,
        spatial_window: float | None = None,
        threshold: float | str | Path | Threshold | None = "auto",
        min_area: int = 0,
        geometry: Mode | Geometry = "keep",
        image_size: int | tuple[int, int] | None = None,
        temperature: float | None = None,
        alpha: float | None = None,
        class_weight: float | None = None,
        vv_blocks: list[int] | None = None,
        tta: bool | Mapping[str, Any] | None = None,
        text_mean: TextMean | None = None,
        drawing: str | dict[str, Any] | None = None,
        seed: int = 0,
        preprocessing: PreprocessingChoice = None,
        domain: Literal["object", "texture"] | None = None,
        states: dict[str, list[str]] | None = None,
        templates: list[str] | None = None,
        batch_size: int = 8,
        device: str = "auto",
        max_megapixels: float = MAX_MEGAPIXELS,
        **arguments: Any,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in {"self", "arguments"}}
        check_numbers(num_references, bank_size, batch_size, spatial_window, max_megapixels, min_area)
        if references is not None:
            compare_with, reference_dir = from_old_name(references)
        check_references(compare_with, reference_dir)
        check_device(device)
        check_checkpoint(checkpoint)
        chosen = geometry if isinstance(geometry, Geometry) else Geometry(geometry)
        self._threshold, self._auto = chosen_threshold(threshold), threshold == "auto"
        allow_megapixels(max_megapixels)
        named = {"temperature": temperature, "alpha": alpha, "class_weight": class_weight, "vv_blocks": vv_blocks,
                 "tta": tta, "text_mean": text_mean, "drawing": drawing,
                 "num_references": None if method == METHOD else num_references}  # fmt: skip
        count = 1 if reference_dir is not None else bank_size if compare_with == "stream" else None
        common = Common(class_name, backbone, pretrained, preprocessing, image_size, seed, domain, states, templates,
                        chosen, batch_size, device, checkpoint, spatial_window, count)  # fmt: skip
        own = {name: value for name, value in named.items() if value is not None}
        built = build_method(method, common, own | arguments)
        check_compared(method, compare_with, reference_dir, compares=built.compares)
        self.mode, wanted = reference_mode(compare_with, reference_dir, text_only=not built.compares)
        self.device, self.drawer = built.device, built.drawer
        self.seed, self.batch_size, self.max_megapixels = seed, batch_size, max_megapixels
        self.min_area = min_area
        self.num_references = {"pairs": num_references or 1, "stream": bank_size}.get(self.mode, 0)
        self._bank = StreamBank(bank_size)
        given_images = [] if wanted is None else read_references(wanted, built.reader, batch_size, max_megapixels)
        self._judge = Judge(built, Comparison(self.mode, self.num_references, seed, given_images), batch_size, min_area)
        self.settings: dict[str, Any] = {
            "method": built.name, "class_name": class_name, **built.clip.identity(),
            "preprocessing": asdict(built.preprocessing), "geometry": asdict(chosen), "references": self.mode,
            "num_references": self.num_references or len(given_images),
        } | built.settings  # fmt: skip
        """The settings on which the scores depend, as plain data to store with them."""
        self._arguments = given | arguments | {"compare_with": compare_with, "geometry": asdict(chosen)}
        self.features_digest: str | None = None
        """The digest of the references' features if they come from a bundle; None if they do not."""
        self.weights_origin = dict(built.clip.origin)
        """The origin of the weights; scores depend only on their digest."""
        self.threshold = threshold if self._threshold is None else self._threshold

    def __repr__(self) -> str:
        settings, geometry = self.settings, self._judge.method.reader.geometry.mode
        model = ", ".join(dict.fromkeys((settings["backbone"], settings["weights"])))
        model = model if settings["method"] == METHOD else f"{settings['method']}, {model}"
        return f"Detector({settings['class_name']!r}, {model}, {self.mode}, {geometry}, {self.device})"

    @property
    def threshold(self) -> Threshold | None:
        """The threshold for decisions, which can be set as in the constructor; also None if each call has its own.

        Raises:
            ValueError: If it is set to one that was made with other settings.
        """
        return self._threshold

    @threshold.setter
    def threshold(self, threshold: float | str | Path | Threshold | None) -> None:
        chosen = chosen_threshold(threshold)
        if chosen is not None:
            chosen.check_settings(self.settings)
        self._threshold, self._auto = chosen, threshold == "auto"

    @property
    def reference_names(self) -> list[str]:
        """The names of the given reference images, with which every image is compared."""
        return [reference.name for reference in self._judge.comparison.given]

    def predict(self, images: Images, errors: Literal["raise", "return"] = "raise") -> Any:
        """Return scores, maps and decisions for images.

        Args:
            images: a path to a file, folder, pattern or list; a Pillow image, an array [H, W, 3] or a tensor
                [3, H, W] (bytes, or floats from 0 to 1); a batch of those; or a sequence of any of these.
            errors: "raise" raises an error for an image that cannot be used, "return" returns a `Failure` in its place.

        Returns:
            A `Prediction` for one image, or a list of them in order for several.

        Raises:
            ImageError: If an image cannot be used; the message names it.
            FileNotFoundError: If a path does not exist.
            TypeError: If an object is not an image.
            ValueError: If `errors` has another value.

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
        """Decide the images of a call by their own threshold, or add the reason why there is none."""
        try:
            threshold = from_run([each for each in outcomes if isinstance(each, Prediction)], settings=self.settings)
            said: dict[str, Any] = {"threshold": threshold}
        except NoThresholdError as error:
            said = {"undecided": str(error)}
        return [replace(each, **said) if isinstance(each, Prediction) else each for each in outcomes]

    def calibrate(self, images: Images, false_alarm_rate: float = RATE, confidence: float = 0.95) -> Threshold:
        """Set the threshold from images believed good, without defect labels (`quantiles.from_good`), and return it.

        Raises:
            ImageError: If an image cannot be used.
            ValueError: If there is no image or only one without a reference, or the rate is out of range.

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
        """Check that there is not only one good image if images are compared with each other.

        A single image has only its text score.

        Raises:
            ValueError: If there is only one; the message says what is needed.
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
        """Score many images with bounded memory, and yield each as soon as it is ready, not in the order given.

        Args:
            sources: distinct images; the references of each depend on all of them.
            done: positions that are already scored; they are read only if others need them as references.
            bank: bank of a stream, instead of the detector's own.
            share: share of the images, if several processes divide them; groups with common references stay together.

        Yields:
            The position of an image, with its prediction or failure.
        """
        bank = self._bank if bank is None else bank
        yield from self._judge(sources, done, bank, share, self._threshold)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write everything but the weights into one file, a bundle, from which `load` makes an equal detector.

        It contains the settings, the threshold with its origin, and the features of the given references or of the
        images in the bank of a stream; no pictures and no code. A detector that compares the images of a call with each
        other has no fixed references, and a warning says so.

        Raises:
            FileExistsError: If the file exists and `overwrite` is False.
            ValueError: If the references have no features, as those of MuSc, or an argument is no plain data.
            OSError: If the file cannot be written.

        Example:
            >>> import numpy as np
            >>> from dualclip_lightning import Detector
            >>> good = np.random.default_rng(0).integers(0, 256, (8, 48, 64, 3), dtype=np.uint8)
            >>> detector = Detector("steel plate", pretrained="demo", reference_dir=list(good[:2]), device="cpu")
            >>> threshold = detector.calibrate(good[2:])
            >>> detector.save("plate.dualclip")
            >>> same = Detector.load("plate.dualclip", device="cpu")
            >>> same.reference_names, same.threshold.score == threshold.score
            (['reference 0', 'reference 1'], True)
        """
        if self.mode == "pairs":
            logger.warning(NO_REFERENCES)
        write_bundle(Path(path), self.as_bundle(), overwrite=overwrite)

    def as_bundle(self) -> Bundle:
        """Return the content of the file that `save` writes.

        Raises:
            ValueError: Same as `save`.
        """
        references = self._judge.comparison.given or self._bank.latest()[::-1]
        threshold = None if self._threshold is None else self._threshold.as_facts()
        return Bundle(
            plain_arguments(self._arguments), as_read(self.settings),
            tuple(reference.name for reference in references), to_arrays(references, self.settings["method"]),
            "auto" if self._auto else threshold, versions(*SCORING, *ADAPTATION), str(Path.cwd()),
        )  # fmt: skip

    def export(self, path: str | Path, *, overwrite: bool = False) -> Exported:
        """Write the detector as a file that runs without this package: images in; scores, maps and decisions out.

        The references, the text anchors and the threshold are constants in the file, and its metadata has the settings,
        the digest of the weights, the threshold with its origin, and the versions. The input `image` is float32
        [N, 3, H, W], RGB from 0 to 1, of any number and size of images, which are resized inside. The outputs are
        `score` [N], `map` [N, H, W], and with a threshold `decision` [N], true for anomalous images. The file is
        checked against PyTorch before it gets its name.

        Args:
            path: `.onnx` for ONNX, or `.xml` for OpenVINO, whose weights are in a `.bin` file beside it.
            overwrite: whether existing files are replaced.

        Returns:
            The files, the names of the outputs, and the largest difference from PyTorch for random images.

        Raises:
            ValueError: If the suffix is another one, or the scores depend on more than the image and fixed references:
                geometry other than "squash", pairs, a stream, test-time adaptation; the message says what to set.
            ImportError: If a package of the extra `export` or `openvino` is missing.
            FileExistsError: If a file exists and `overwrite` is False.
            RuntimeError: If the file differs from PyTorch by more than 1e-4.
            OSError: If it cannot be written.

        Example:
            >>> import numpy as np
            >>> from dualclip_lightning import Detector
            >>> plates = list(np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8))
            >>> detector = Detector("steel plate", pretrained="demo", reference_dir=plates, geometry="squash")
            >>> detector.threshold = 0.4
            >>> detector.export("plate.onnx").outputs
            ('score', 'map', 'decision')
        """
        check_target(Path(path), overwrite=overwrite)
        method, given = self._judge.method, self._judge.comparison
        check_exportable(method, given, self._threshold)
        if self._auto:
            logger.warning(NO_DECISION)
        graph = decision_graph(method, given.given, None if self._threshold is None else self._threshold.score)
        return export_graph(graph, self.as_bundle(), Path(path), overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto", **changes: Any) -> Self:
        """Make the detector that `save` wrote, with equal scores for the same weights, libraries and device.

        Args:
            path: file of the bundle.
            device: as in the constructor.
            **changes: other values for `batch_size`, `max_megapixels` or `min_area`; or for `pretrained`, `backbone` or
                `checkpoint`, if the same weights are elsewhere on this machine.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is damaged, of another version or no bundle, the weights are others, its settings
                mean something else in this release, or another argument is to be changed.
            dualclip_lightning.backbone.WeightsError: If the weights cannot be loaded.

        Example:
            >>> from dualclip_lightning import Detector
            >>> Detector("steel plate", pretrained="demo", compare_with="none", threshold=0.4).save("text.dualclip")
            >>> Detector.load("text.dualclip", device="cpu")
            Detector('steel plate', demo, none, keep, cpu)
        """
        check_changes(changes)
        return cls._from_bundle(read_bundle(path), device, changes)

    @classmethod
    def _from_bundle(cls, bundle: Bundle, device: str, changes: Mapping[str, Any]) -> Self:
        references = from_arrays([bundle.located(name) for name in bundle.references], bundle.arrays)
        folder = bundle.settings["references"] == "folder"
        given: Any = EncodedReferences(references) if folder else None
        arguments = detector_arguments(bundle) | dict(changes)
        detector = cls(**arguments, device=device, threshold=None, reference_dir=given)
        check_weights(bundle, detector.settings)
        check_settings(bundle, detector.settings)
        if changed := version_changes(bundle.versions, versions(*SCORING, *ADAPTATION)):
            logger.warning(changed)
        for reference in () if folder else references:
            detector._bank.add(reference)
        detector.threshold = held_threshold(bundle, detector.settings)
        detector.features_digest = bundle.features_digest
        return detector

    def forecast(self, paths: Sequence[Path], *, timed: bool = True) -> str:
        """Return the number of tiles of these images and the time to encode them; empty if images are not tiled."""
        return (
            forecast_tiles(self._judge.method.reader, paths, timed=timed)
            if self._judge.method.reader.geometry.mode == "tiles"
            else ""
        )

    def pair_scores(self, paths: Sequence[str]) -> Callable[..., tuple[float, float]]:
        """Return a function that maps an image and its references to the score and the peak (see `Prediction.peak`).

        All images are encoded once and stay in memory, so that many draws of references are cheap. The function takes
        the name of the image and then those of its references.

        Raises:
            ImageError: If an image cannot be used.
        """
        return self._judge.pair_scores(file_sources([Path(path) for path in paths], self.max_megapixels))
