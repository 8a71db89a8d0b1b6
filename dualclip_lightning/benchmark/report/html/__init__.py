"""The report of a run: one self-contained HTML file that needs neither a network nor scripts, and prints well."""

from dualclip_lightning.benchmark.report.html.page import write_report

__all__ = ["write_report"]
