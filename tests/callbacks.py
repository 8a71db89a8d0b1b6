"""A callback of a user's own, as anomalib's commands take one by its path."""

from __future__ import annotations

import json
from pathlib import Path

from lightning.pytorch import Callback


class WriteScores(Callback):
    """Writes the score of every image to a file; images are named by their folder and name."""

    def __init__(self, file: str = "scores.json") -> None:
        self.file = Path(file)
        self.scores: dict[str, float] = {}

    def on_predict_batch_end(self, _trainer, _module, _outputs, batch, *_):
        for path, score in zip(batch.image_path, batch.pred_score, strict=True):
            self.scores["/".join(Path(path).parts[-2:])] = float(score)

    def on_predict_end(self, *_):
        self.file.write_text(json.dumps(self.scores))
