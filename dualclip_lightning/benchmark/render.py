"""One table, three forms: Markdown, LaTeX and the terminal. The report draws the same table in HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import rich.table
from rich.markup import escape

LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "†": r"$^\dagger$",
})  # fmt: skip
"""What LaTeX would read as markup, and the signs of these tables."""


class Cell(NamedTuple):
    """One entry of a table."""

    text: str
    rank: int = 0
    """1 is marked as the best, 2 as the second best."""


class Table(NamedTuple):
    """A table before it has a form."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    text_columns: int = 1
    """How many columns from the left hold words; the others hold numbers."""


def markdown(table: Table) -> str:
    """GitHub's Markdown: the best in bold, the second best in italics."""
    marks = ("{}", "**{}**", "*{}*")
    rules = ["---" if number < table.text_columns else "--:" for number in range(len(table.columns))]
    rows = [[marks[cell.rank].format(_one_line(cell.text)) for cell in row] for row in table.rows]
    lines = ["| " + " | ".join(row) + " |" for row in ([_one_line(name) for name in table.columns], rules, *rows)]
    notes = [f"- {_one_line(note)}" for note in table.notes]
    return "\n".join([f"**{table.caption}**", "", *lines, *([""] if notes else []), *notes]) + "\n"


def latex(table: Table, label: str) -> str:
    """A `table` environment for the booktabs package: the best in bold, the second best underlined."""
    marks = ("{}", r"\textbf{{{}}}", r"\underline{{{}}}")
    rows = [[marks[cell.rank].format(cell.text.translate(LATEX)) for cell in row] for row in table.rows]
    frame = pd.DataFrame(rows, columns=[name.translate(LATEX) for name in table.columns])
    layout = "l" * table.text_columns + "r" * (len(table.columns) - table.text_columns)
    caption = " ".join([f"{table.caption}.", *table.notes]).translate(LATEX)
    return frame.to_latex(index=False, escape=False, column_format=layout, caption=caption, label=label, position="tb")


def terminal(table: Table) -> rich.table.Table:
    """For a rich console: the best in bold, the second best underlined."""
    styles = ("", "bold", "underline")
    view = rich.table.Table(title=escape(table.caption), caption=escape("\n".join(table.notes)), caption_justify="left")
    for number, name in enumerate(table.columns):
        view.add_column(escape(name), justify="left" if number < table.text_columns else "right")
    for row in table.rows:
        view.add_row(*(rich.text.Text(cell.text, style=styles[cell.rank]) for cell in row))
    return view


def _one_line(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())
