"""``MVTec``, the name by which papers and anomalib before 2.0 know MVTec AD."""

from __future__ import annotations

from anomalib.data import MVTecAD


class MVTec(MVTecAD):
    """MVTec AD under its older name: the same arguments, folders and results as :class:`anomalib.data.MVTecAD`."""

    name = "MVTecAD"
