"""Rendering of a table as Markdown, as LaTeX and in the terminal. The report renders the same table in HTML."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd
import rich.table
from rich.console import Console
from rich.markup import escape

LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "†": r"$^\dagger$", "‡": r"$^\ddagger$",
})  # fmt: skip
"""Characters that LaTeX would read as markup, and the symbols used in the tables."""
MARKS = "The best figure is bold, the second best {second}; methods of every kind are ranked together."
STYLES = ("", "bold", "underline")
"""Terminal styles by rank."""
WIDTH = 160
"""Width of a table that is written to a file, in characters."""


class TableCell(NamedTuple):
    """One entry of a table."""

    text: str
    rank: int = 0
    """Rank: 1 is marked as the best, 2 as the second best."""


class Table(NamedTuple):
    """A table, independent of its output format."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[TableCell]]
    notes: Sequence[str] = ()
    text_columns: int = 1
    """Number of columns from the left that hold text; the others hold numbers."""

    def explained(self, second: str) -> list[str]:
        """Return the meaning of the marks and the notes; `second` says how the second best is marked."""
        ranked = any(cell.rank for row in self.rows for cell in row)
        return [*([MARKS.format(second=second)] if ranked else []), *self.notes]


def markdown(table: Table) -> str:
    """Render the table in GitHub's Markdown: the best in bold, the second best in italics."""
    marks = ("{}", "**{}**", "*{}*")
    rules = ["---" if number < table.text_columns else "--:" for number in range(len(table.columns))]
    rows = [[marks[cell.rank].format(_one_line(cell.text)) for cell in row] for row in table.rows]
    lines = ["| " + " | ".join(row) + " |" for row in ([_one_line(name) for name in table.columns], rules, *rows)]
    notes = [f"- {_one_line(note)}" for note in table.explained("italic")]
    return "\n".join([f"**{table.caption}**", "", *lines, *([""] if notes else []), *notes]) + "\n"


def latex(table: Table, label: str) -> str:
    """Render a `table` environment for the booktabs package: the best in bold, the second best underlined."""
    marks = ("{}", r"\textbf{{{}}}", r"\underline{{{}}}")
    rows = [[marks[cell.rank].format(cell.text.translate(LATEX)) for cell in row] for row in table.rows]
    frame = pd.DataFrame(rows, columns=[name.translate(LATEX) for name in table.columns])
    layout = "l" * table.text_columns + "r" * (len(table.columns) - table.text_columns)
    caption = " ".join([f"{table.caption}.", *table.explained("underlined")]).translate(LATEX)
    return frame.to_latex(index=False, escape=False, column_format=layout, caption=caption, label=label, position="tb")


def screen() -> Console:
    """Return the console for a command's output: as wide as the terminal, or `WIDTH` if there is none."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, soft_wrap=True)


def terminal(table: Table, width: int) -> Iterator[rich.table.Table]:
    """Render the table for a rich console: the best in bold, the second best underlined.

    Columns that do not fit beside the text columns in `width` characters follow below in a separate part, so that no
    name or figure is cut off.
    """
    parts = list(_columns_that_fit(table, width))
    notes = escape("\n".join(table.explained("underlined")))
    for number, columns in enumerate(parts):
        shown = rich.table.Table(title=escape(table.caption) if number == 0 else None, title_justify="left",
                                caption=notes if number == len(parts) - 1 else None,
                                caption_justify="left")  # fmt: skip
        for column in columns:
            words = column < table.text_columns
            shown.add_column(escape(table.columns[column]), justify="left" if words else "right", overflow="fold")
        for row in table.rows:
            shown.add_row(*(rich.text.Text(row[column].text, style=STYLES[row[column].rank]) for column in columns))
        yield shown


def _columns_that_fit(table: Table, width: int) -> Iterator[list[int]]:
    """Yield the column indices of each part: the text columns, then as many figures as fit, at least one."""
    columns = [[name, *(row[number].text for row in table.rows)] for number, name in enumerate(table.columns)]
    widths = [max(map(len, column)) + 3 for column in columns]
    words, figures = list(range(table.text_columns)), list(range(table.text_columns, len(widths)))
    used = start = 1 + sum(widths[: table.text_columns])
    part: list[int] = []
    for figure in figures:
        if part and used + widths[figure] > width:
            yield words + part
            part, used = [], start
        part, used = [*part, figure], used + widths[figure]
    yield words + part


def _one_line(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())
