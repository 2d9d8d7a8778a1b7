"""Makes the generated parts of the documentation from the code.

A generated part is between the two lines `<!-- generated: NAME -->` and `<!-- end -->` in README.md
or in a page in docs/. To add one: write a function here that returns its Markdown, name it in
`PARTS`, write the two lines into the page, and run `make docs`.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

from sqlalchemy import JSON, Boolean, Column, Date, Float, Integer, Table
from sqlalchemy.types import TypeEngine

from bulkgrants.ledger.database import Moment
from bulkgrants.ledger.tables import INTERNAL, runs
from bulkgrants.ledger.views import VIEWS
from bulkgrants.refusals import (
    GRANTS,
    MICROSOFT,
    NYLAS,
    OAUTH,
    UNKNOWN_CONSENT_ERROR,
    UNKNOWN_REFUSAL,
    Actor,
    KnownError,
    Refusal,
    Seen,
)
from bulkgrants_airflow.provider import OPTIONS

ROOT = Path(__file__).parents[1]
PART = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
TYPES: tuple[tuple[type[TypeEngine[object]], str], ...] = (
    (Moment, "moment"),
    (Boolean, "yes/no"),
    (Date, "date"),
    (JSON, "JSON"),
    (Float, "number"),
    (Integer, "number"),
)
"""The names of types for readers of SQL; all other types are text."""


def main() -> None:
    """Write the pages that differ from the code, and name them."""
    for page, text in outdated().items():
        page.write_text(text, encoding="utf-8")
        print(f"Wrote {page.relative_to(ROOT)}.")


def outdated() -> dict[Path, str]:
    """The pages that differ from the code, each with the text that it should have."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = {page: page.read_text(encoding="utf-8") for page in pages}
    made = {page: PART.sub(_part, text) for page, text in found.items()}
    return {page: text for page, text in made.items() if text != found[page]}


def _part(found: re.Match[str]) -> str:
    begin, name, end = found.groups()
    return f"{begin}\n{PARTS[name]()}\n\n{end}"


def _views() -> str:
    return "\n\n".join(
        f"### `{name}`\n\n{view.meaning}\n\n"
        + _table(("column", "meaning"), ((f"`{one}`", said) for one, said in view.columns.items()))
        for name, view in VIEWS.items()
    )


def _tables_for_readers() -> str:
    every = runs.metadata.tables.values()
    return "\n\n".join(_described(table) for table in every if table not in INTERNAL)


def _internal_tables() -> str:
    return "\n\n".join(map(_described, INTERNAL))


def _described(table: Table) -> str:
    key = ", ".join(f"`{column.name}`" for column in table.primary_key)
    rows = ((f"`{one.name}`", _type(one), one.comment or "") for one in table.columns)
    return "\n\n".join(
        [
            f"### `{table.name}`",
            f"{table.comment} Key: {key}." if key else f"{table.comment}",
            _table(("column", "type", "meaning"), rows),
        ]
    )


def _type(column: Column[object]) -> str:
    name = next((name for kind, name in TYPES if isinstance(column.type, kind)), "text")
    return f"{name} or null" if column.nullable else name


def _settings() -> str:
    rows = []
    for name, option in OPTIONS.items():
        example = f" Example: `{option['example']}`" if option["example"] else ""
        default = f"`{option['default']}`" if option["default"] else ""
        rows.append((f"`{name}`", default, option["description"] + example))
    return _table(("setting", "default", "meaning"), rows)


def _meanings(enum: type[StrEnum]) -> str:
    """The members of an enum with the docstrings below them, which Python itself does not keep."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(enum))).body[0]
    assert isinstance(tree, ast.ClassDef)
    rows = []
    for member, said in pairwise(tree.body):
        if isinstance(member, ast.Assign) and isinstance(said, ast.Expr):
            name = ast.unparse(member.targets[0])
            rows.append((f"`{enum[name]}`", str(ast.literal_eval(said.value))))
    return _table(("word", "meaning"), rows)


def _errors(known: Iterable[KnownError], rest: KnownError | None = None) -> str:
    """A table of known errors, with one row for those that mean the same.

    Errors of a consent have no column for the reason.
    """
    alike: dict[tuple[str, ...], list[str]] = {}
    every = [*known, *([rest] if rest else [])]
    reasons = any(one.seen is not Seen.CONSENT for one in every)
    for one in every:
        reason = (one.refusal,) if reasons else ()
        said = (*reason, one.concerns, one.actor, one.meaning, one.remedy)
        alike.setdefault(said, []).append(f"`{one.code}`" if one.code else "anything else")
    rows = ((", ".join(codes), *said) for said, codes in alike.items())
    reason = ("reason",) if reasons else ()
    return _table(("code", *reason, "concerns", "who acts", "what it means", "what to do"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    escaped = ([cell.replace("|", r"\|") for cell in row] for row in cells)
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped)


PARTS: dict[str, Callable[[], str]] = {
    "views": _views,
    "tables for readers": _tables_for_readers,
    "internal tables": _internal_tables,
    "settings": _settings,
    "actors": lambda: _meanings(Actor),
    "refusals": lambda: _meanings(Refusal),
    "microsoft errors": lambda: _errors(MICROSOFT),
    "nylas errors": lambda: _errors(NYLAS),
    "oauth errors": lambda: _errors(OAUTH, UNKNOWN_CONSENT_ERROR),
    "grant errors": lambda: _errors(GRANTS, UNKNOWN_REFUSAL),
}


if __name__ == "__main__":
    main()
