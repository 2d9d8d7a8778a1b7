"""Makes both locks: `requirements.txt` to run the project, `requirements-dev.txt` to work on it.

The second lock takes its versions from the first, so that the tests use what runs in production.
Versions that still fit are kept. Both locks end with the project itself.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).with_name("uv")
HEAD = "# Made by `make lock` from pyproject.toml.\n"
PROJECT = "-e .\n"
COMPILE = (
    *(str(UV), "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"),
    *("--no-header", "--no-annotate", "--no-emit-index-url", "pyproject.toml"),
)


def main() -> None:
    """Resolve both locks, and write them only if both succeed."""
    with TemporaryDirectory() as folder:
        running, working = Path(folder, "requirements.txt"), Path(folder, "requirements-dev.txt")
        resolve(running, "--extra", "scaled-out")
        resolve(working, "--all-extras", "--constraints", str(running))
        for made in (running, working):
            pins = made.read_text(encoding="utf-8")
            (ROOT / made.name).write_text(HEAD + pins + PROJECT, encoding="utf-8")


def resolve(made: Path, *options: str) -> None:
    """Pin pyproject.toml's requirements with these options, starting from the existing lock."""
    lock = (ROOT / made.name).read_text(encoding="utf-8")
    made.write_text(lock.removesuffix(PROJECT), encoding="utf-8")
    subprocess.run([*COMPILE, *options, "--output-file", str(made)], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
