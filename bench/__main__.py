"""`python -m bench`: measures, and prints the tables of `docs/benchmarks.md`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import apply, observe, plan
from bench.servers import running_standin

_PARTS = ("plan", "observe", "apply")
_SMALL = 10_000
_GRANTS = 200_000


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", choices=_PARTS, help="one benchmark instead of all three")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the roster to plan")
    parser.add_argument("--databases", default="postgresql,sqlite", help="separated by commas")
    parser.add_argument(
        "--full",
        action="store_true",
        help="apply every case on every database, not a few on SQLite",
    )
    return parser.parse_args()


def main() -> None:
    """Run the benchmarks that were asked for."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that child processes are stopped
    given = _arguments()
    databases = given.databases.split(",")
    parts = [given.only] if given.only else _PARTS
    print(f"{os.cpu_count()} processors; every step in its own process.")
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # if we are root, PostgreSQL runs as its own user
        if "plan" in parts:
            _plan(databases, given.rows, folder)
        if "observe" in parts:
            _observe(databases, folder)
        if "apply" in parts:
            _apply(databases, folder, full=given.full)


def _plan(databases: list[str], rows: int, folder: Path) -> None:
    columns = ["step", "database", "rows", "seconds", "DuckDB's", "ratio", "MB above idle", "idle"]
    _head("Stage and plan", columns)
    for database in databases:
        for size in sorted({min(_SMALL, rows), rows}):
            for one in plan.measure(database, size, folder):
                _line(
                    [
                        one.step,
                        database,
                        f"{size:,}",
                        f"{one.figures.seconds:.2f}",
                        f"{one.bare:.3f}",
                        f"{one.figures.seconds / one.bare:.1f}",
                        f"{one.figures.above_idle_mb:.0f}",
                        f"{one.figures.idle_mb:.0f}",
                    ]
                )


def _observe(databases: list[str], folder: Path) -> None:
    columns = ["grants", "database", "seconds", "floor", "ratio", "CPU s per 1,000 pages", "429s"]
    _head("Observe", [*columns, "MB above idle"])
    for grants in (_SMALL, _GRANTS):
        with running_standin(grants) as running:
            for database in databases:
                one = observe.measure(database, grants, running, folder)
                _line(
                    [
                        f"{grants:,}",
                        database,
                        f"{one.figures.seconds:.2f}",
                        f"{one.floor:.2f}",
                        f"{one.figures.seconds / one.floor:.3f}",
                        f"{one.cpu_per_thousand:.2f}",
                        str(one.refused),
                        f"{one.figures.above_idle_mb:.0f}",
                    ]
                )


def _apply(databases: list[str], folder: Path, *, full: bool) -> None:
    columns = ["limiter", "changes of each process", "database", "seconds", "share of the limit"]
    _head("Apply", [*columns, "429s", "of the calls", "MB above idle"])
    with running_standin() as running:
        for database in databases:
            cases = apply.CASES if full or database == "postgresql" else apply.FEW
            for one in apply.measure(database, cases, running, folder):
                _line(
                    [
                        one.policy,
                        " + ".join(map(str, one.load)),
                        database,
                        f"{one.seconds:.2f}",
                        f"{one.share_of_limit:.3f}",
                        str(one.refused),
                        f"{one.share_refused:.2%}",
                        f"{one.above_idle_mb:.0f}",
                    ]
                )


def _head(title: str, columns: Sequence[str]) -> None:
    """Begin a Markdown table."""
    print(f"\n### {title}\n")
    _line(columns)
    _line(["---" if number == 0 else "---:" for number in range(len(columns))])


def _line(cells: Sequence[str]) -> None:
    """Print one row of it at once."""
    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
