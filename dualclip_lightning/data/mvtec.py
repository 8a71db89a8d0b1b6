"""``MVTec``, the name by which papers and anomalib before 2.0 know MVTec AD."""

from __future__ import annotations

from difflib import get_close_matches

from anomalib.data import MVTecAD
from anomalib.data.datasets.image.mvtecad import CATEGORIES


class MVTec(MVTecAD):
    """MVTec AD under its older name: the same arguments, folders and results as :class:`anomalib.data.MVTecAD`."""

    name = "MVTecAD"

    def prepare_data(self) -> None:
        """As anomalib's, which downloads the data where they are missing, but a misspelt category is told before.

        Raises:
            ValueError: an unknown category.
        """
        if self.category not in CATEGORIES:
            near = get_close_matches(str(self.category), CATEGORIES, n=1)
            hint = f"Did you mean '{near[0]}'? " if near else ""
            msg = f"MVTec AD has no category '{self.category}'. {hint}Expected one of {', '.join(CATEGORIES)}."
            raise ValueError(msg)
        super().prepare_data()
