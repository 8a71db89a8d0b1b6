"""One table, three forms: Markdown, LaTeX and the terminal. The report draws the same table in HTML."""

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
"""What LaTeX would read as markup, and the signs of these tables."""
MARKS = "The best figure is bold, the second best {second}; methods of every kind are ranked together."
STYLES = ("", "bold", "underline")
"""In a terminal, by rank."""
WIDTH = 160
"""Columns of a table that goes to a file."""


class TableCell(NamedTuple):
    """One entry of a table."""

    text: str
    rank: int = 0
    """1 is marked as the best, 2 as the second best."""


class Table(NamedTuple):
    """A table before it has a form."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[TableCell]]
    notes: Sequence[str] = ()
    text_columns: int = 1
    """How many columns from the left hold words; the others hold numbers."""

    def explained(self, second: str) -> list[str]:
        """The notes, before them what the marks mean; `second` says how the second best is marked."""
        ranked = any(cell.rank for row in self.rows for cell in row)
        return [*([MARKS.format(second=second)] if ranked else []), *self.notes]


def markdown(table: Table) -> str:
    """GitHub's Markdown: the best in bold, the second best in italics."""
    marks = ("{}", "**{}**", "*{}*")
    rules = ["---" if number < table.text_columns else "--:" for number in range(len(table.columns))]
    rows = [[marks[cell.rank].format(_one_line(cell.text)) for cell in row] for row in table.rows]
    lines = ["| " + " | ".join(row) + " |" for row in ([_one_line(name) for name in table.columns], rules, *rows)]
    notes = [f"- {_one_line(note)}" for note in table.explained("italic")]
    return "\n".join([f"**{table.caption}**", "", *lines, *([""] if notes else []), *notes]) + "\n"


def latex(table: Table, label: str) -> str:
    """A `table` environment for the booktabs package: the best in bold, the second best underlined."""
    marks = ("{}", r"\textbf{{{}}}", r"\underline{{{}}}")
    rows = [[marks[cell.rank].format(cell.text.translate(LATEX)) for cell in row] for row in table.rows]
    frame = pd.DataFrame(rows, columns=[name.translate(LATEX) for name in table.columns])
    layout = "l" * table.text_columns + "r" * (len(table.columns) - table.text_columns)
    caption = " ".join([f"{table.caption}.", *table.explained("underlined")]).translate(LATEX)
    return frame.to_latex(index=False, escape=False, column_format=layout, caption=caption, label=label, position="tb")


def screen() -> Console:
    """Return a console as wide as the terminal, or as wide as a table needs if there is no terminal."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, soft_wrap=True)


def terminal(table: Table, width: int) -> Iterator[rich.table.Table]:
    """Return a table for a rich console, with the best in bold and the second best underlined.

    What does not fit beside the words in `width` characters follows below in a part of its own: a name or figure that
    is cut off helps nobody.
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
    """Numbers of the columns of each part: the words, then as many figures as fit, at least one."""
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
