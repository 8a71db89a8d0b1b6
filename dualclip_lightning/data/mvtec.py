"""``MVTec``, the name by which papers and anomalib before 2.0 know MVTec AD."""

from __future__ import annotations

from anomalib.data import MVTecAD
from anomalib.data.datasets.image.mvtecad import CATEGORIES

from dualclip_lightning.data.categories import check_category


class MVTec(MVTecAD):
    """MVTec AD under its older name: the same arguments, folders and results as :class:`anomalib.data.MVTecAD`."""

    name = "MVTecAD"

    def prepare_data(self) -> None:
        """As anomalib's, which downloads the data where they are missing, but a misspelt category is told before.

        Raises:
            ValueError: an unknown category.
        """
        check_category("MVTec AD", self.category, CATEGORIES)
        super().prepare_data()
