"""Benchmarks: methods x data sets x categories x seeds from one configuration, with tables, a report and comparisons.

``dualclip benchmark`` and ``dualclip compare`` call these functions. Heavy imports are deferred until needed.

Example:
    A configuration is checked before anything runs, and every error is one sentence.

    >>> from dualclip_lightning.benchmark import ConfigError, parse_config
    >>> config = parse_config({"methods": {"CLIP": {"model": "ClipZeroShot"}}, "datasets": {"Demo": None}})
    >>> config.seeds, config.masks
    ([0], 'nearest')
    >>> try:
    ...     parse_config({"methods": {"CLIP": {"model": "ClipZeroShott"}}, "datasets": {"Demo": None}})
    ... except ConfigError as error:
    ...     print(error)
    methods.CLIP: Unknown method 'ClipZeroShott'. Did you mean 'ClipZeroShot'?

    ``run_benchmark(config, folder)`` runs the cells missing in the folder, ``load_run(folder)`` reads the
    results, ``write_tables(run)`` and ``write_report(run)`` present them, and ``compare(run, other)`` compares two
    runs. ``rank_methods(*runs)`` ranks the methods of any number of runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualclip_lightning.benchmark.plan.config import load_config, parse_config
    from dualclip_lightning.benchmark.plan.errors import ConfigError
    from dualclip_lightning.benchmark.plan.schema import Config
    from dualclip_lightning.benchmark.report.compare import compare
    from dualclip_lightning.benchmark.report.html import write_report
    from dualclip_lightning.benchmark.report.ranks.methods import rank_methods
    from dualclip_lightning.benchmark.report.tables import write_tables
    from dualclip_lightning.benchmark.results import BenchmarkRun, load_run
    from dualclip_lightning.benchmark.run.session import run_benchmark

__all__ = [
    "BenchmarkRun",
    "Config",
    "ConfigError",
    "compare",
    "load_config",
    "load_run",
    "parse_config",
    "rank_methods",
    "run_benchmark",
    "write_report",
    "write_tables",
]

_HOMES = {
    "BenchmarkRun": "results",
    "Config": "plan.schema",
    "ConfigError": "plan.errors",
    "compare": "report.compare",
    "load_config": "plan.config",
    "load_run": "results",
    "parse_config": "plan.config",
    "rank_methods": "report.ranks.methods",
    "run_benchmark": "run.session",
    "write_report": "report.html",
    "write_tables": "report.tables",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
