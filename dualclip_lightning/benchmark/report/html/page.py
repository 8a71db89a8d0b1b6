"""The page of the report."""

from __future__ import annotations

from pathlib import Path

import jinja2
from omegaconf import OmegaConf

from dualclip_lightning.benchmark.report.html.provenance import method_settings, provenance_table
from dualclip_lightning.benchmark.report.html.ranks import rank_section
from dualclip_lightning.benchmark.report.html.sections import sections
from dualclip_lightning.benchmark.report.summary import failures
from dualclip_lightning.benchmark.report.tables import failed_table
from dualclip_lightning.benchmark.results import BenchmarkRun
from dualclip_lightning.utilities.files import write_bytes_atomically


def write_report(run: BenchmarkRun) -> Path:
    """Write `report.html` into the run folder and return its path."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dualclip_lightning.benchmark.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    failed = failures(run.frame)
    html = environment.get_template("report.html.j2").render(
        title=run.folder.resolve().name,
        started=run.frame["started"].dropna().min(),
        cells=len(run.frame),
        failed=failed_table(failed) if len(failed) else None,
        ranks=rank_section(run.frame),
        sections=list(sections(run)),
        provenance=provenance_table(run.frame),
        settings=method_settings(run.frame),
        configuration=OmegaConf.to_yaml(OmegaConf.create(run.config)),
    )
    path = run.folder / "report.html"
    write_bytes_atomically(path, html.encode())
    return path
