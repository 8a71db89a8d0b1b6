"""``MVTec``, the name of MVTec AD in papers and in anomalib before 2.0."""

from __future__ import annotations

from anomalib.data import MVTecAD

from dualclip_lightning.data.missing import told_where_to_get


class MVTec(MVTecAD):
    """MVTec AD under its older name: the same arguments, folders and results as :class:`anomalib.data.MVTecAD`.

    Example:
        >>> from dualclip_lightning import MVTec
        >>> MVTec(root="datasets/MVTecAD", category="metal_nut").category
        'metal_nut'
    """

    name = "MVTecAD"

    def prepare_data(self) -> None:
        """Prepare the data like anomalib, which downloads missing data; problems are reported in one sentence.

        Raises:
            ValueError: the category is unknown.
            FileNotFoundError: the data are missing and cannot be downloaded.
        """
        with told_where_to_get(self):
            super().prepare_data()
