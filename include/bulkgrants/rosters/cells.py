"""Reads single cells as database drivers return them: text, nulls, lists, or anything else."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bulkgrants.text import IDENTITY_SCOPES, bounded, canonical_scopes, trimmed

_SCOPE = re.compile(r"[A-Za-z][A-Za-z0-9:/._~%+-]*")


@dataclass(frozen=True, slots=True)
class NotText:
    """A cell that holds something other than text."""

    kind: str
    """The Python type of the driver's value, in lower case."""
    shown: str
    """Its value, bounded."""


Cell = str | NotText | None
"""Text as written, a value that is not text, or None for null."""


def read_cell(value: object) -> Cell:
    """The cell for a driver's value; every null (None, NaN, NA, NaT) is None."""
    if isinstance(value, str | NotText):
        return value
    if _is_null(value):
        return None
    return NotText(type(value).__name__.lower(), bounded(repr(value), 80))


def _is_null(value: object) -> bool:
    match value:
        case None:
            return True
        case Decimal():
            return value.is_nan()
        case float() | np.floating() | np.datetime64() | np.timedelta64():
            return bool(value != value)  # noqa: PLR0124 - only NaN and NaT differ from themselves
    return value is pd.NA or value is pd.NaT


def raw_column(frame: pd.DataFrame, name: str) -> NDArray[np.object_]:
    """A column's values as they are, whatever its dtype."""
    return frame[name].to_numpy(dtype=object)


def read_cells(values: NDArray[np.object_]) -> NDArray[np.object_]:
    """The values as `Cell`s, except that nulls may stay NaN or NA."""
    if _only_text(values):
        return values
    return objects([read_cell(value) for value in values])


def _only_text(values: NDArray[np.object_]) -> bool:
    return pd.api.types.infer_dtype(values, skipna=True) in {"string", "empty"}


def objects(values: Sequence[object]) -> NDArray[np.object_]:
    """A flat array of objects, even if they are sequences themselves."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@dataclass(frozen=True, slots=True)
class Distinct:
    """A column by its distinct cells."""

    codes: NDArray[np.intp]
    """For each row, the index of its cell in `cells`."""
    cells: list[Cell]


def distinct(cells: NDArray[np.object_]) -> Distinct:
    """The distinct cells of a column; they always include None for null."""
    codes, uniques = pd.factorize(cells)
    null = len(uniques)
    return Distinct(np.where(codes < 0, null, codes), [*cast("Sequence[Cell]", uniques), None])


def lists_as_json(values: NDArray[np.object_]) -> NDArray[np.object_]:
    """The values of a scopes column, with lists and arrays as JSON texts."""
    if _only_text(values):
        return values
    return objects([_as_json(value) for value in values])


def _as_json(value: object) -> object:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple | set | frozenset):
        return json.dumps(list(value), default=lambda _: None)
    return value


class UnreadableScopes(ValueError):
    """The text cannot be read as scopes; the message says why, without a full stop."""


def read_scopes(text: str) -> str:
    """The canonical scopes in a text: separated by blanks, commas or semicolons, or a JSON array.

    Empty if the text does not name any. Raises UnreadableScopes.
    """
    text = trimmed(text)
    if text.startswith(("[", "{", '"')):
        text = " ".join(_json_array(text))
    parts = re.split(r"[\s,;]+", text)
    bad = next((part for part in parts if part and not _SCOPE.fullmatch(part)), None)
    if bad is not None:
        raise UnreadableScopes(f'"{bounded(bad, 60)}" is not a scope')
    scopes = canonical_scopes(parts)
    if not scopes and any(part in IDENTITY_SCOPES for part in parts):
        raise UnreadableScopes("it names only identity scopes, which Nylas adds to every grant")
    return scopes


def _json_array(text: str) -> list[str]:
    try:
        parts = json.loads(text)
    except (ValueError, RecursionError):
        raise UnreadableScopes("it starts like JSON but is not valid JSON") from None
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise UnreadableScopes("as JSON it must be an array of texts")
    return parts
