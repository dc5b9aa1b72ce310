"""``aecore compare``: the tables as text, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from aecore.comparing.bootstrap import Interval
from aecore.comparing.comparison import Column, Comparison
from aecore_cli.show import print_table

Table = tuple[list[str], list[list[str]]]


def methods(found: Comparison) -> Table:
    """A row for each method: seeds, and each figure with its interval; estimators in the heads."""
    heads = ["method", "seeds", *map(head, found.columns)]
    rows = [
        [
            method.name,
            str(len(method.runs)),
            *(_cell(found.cells.get((method.name, column))) for column in found.columns),
        ]
        for method in found.methods
    ]
    return heads, rows


def head(column: Column) -> str:
    """``kl (analytic)``."""
    return f"{column.figure} ({column.estimator})"


def _cell(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def pairs(found: Comparison) -> Table:
    """A row for each pair and figure: difference, corrected p, smallest that could have shown."""
    heads = ["figure", "of", "less that of", "difference", "p (Holm)", "could have shown"]
    rows = []
    for pair in found.pairs:
        apart = pair.contrast.difference
        rows.append(
            [
                pair.column.figure,
                pair.other,
                pair.one,
                f"{apart.mean:+.2f} [{apart.low:+.2f}, {apart.high:+.2f}]",
                f"{pair.p_holm:.4f}",
                f"{pair.contrast.detectable:.2f}",
            ]
        )
    return heads, rows


def caption(found: Comparison) -> str:
    """What the brackets are."""
    return (
        f"Nats per sentence on {found.sentences:,} sentences of {found.split}; in brackets 95 % of "
        "a hierarchical bootstrap of seeds and sentences."
    )


def show(found: Comparison) -> None:
    """Print both tables and what limits them."""
    heads, rows = methods(found)
    print_table(heads, rows, right=heads[1:])
    print(f"\n{caption(found)}\n")
    heads, rows = pairs(found)
    print_table(heads, rows, right=heads[3:])
    for line in found.remarks:
        print(f"\n{line}")


def markdown(found: Comparison) -> str:
    """Both tables for a page."""
    lines = [caption(found), ""]
    for heads, rows in (methods(found), pairs(found)):
        lines += [_line(heads), _line(["---"] * len(heads)), *map(_line, rows), ""]
    return "\n".join([*lines, *(f"- {line}" for line in found.remarks)]).rstrip()


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def latex(found: Comparison) -> str:
    """The first table for a paper, with booktabs."""
    heads, rows = methods(found)
    columns = "l" + "r" * (len(heads) - 1)
    body = [rf"  {' & '.join(map(_tex, row))} \\" for row in rows]
    return "\n".join(
        [
            rf"% {caption(found)}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"  \toprule",
            rf"  {' & '.join(map(_tex, heads))} \\",
            r"  \midrule",
            *body,
            r"  \bottomrule",
            r"\end{tabular}",
        ]
    )


#: What LaTeX would read as its own.
_SPECIAL = {char: rf"\{char}" for char in "&%$#_{}"} | {"~": r"\textasciitilde{}"}


def _tex(text: str) -> str:
    return "".join(_SPECIAL.get(char, char) for char in text)
