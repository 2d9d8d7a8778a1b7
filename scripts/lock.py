"""Makes both locks: `requirements.txt` to run the project, `requirements-dev.txt` to work on it.

The second lock takes its versions from the first, so that the tests use what runs in production.
Versions that still fit are kept. Every file has its hash, so neither lock can name the project
itself: it is installed afterwards, without its dependencies. `scripts/uv.txt` pins uv in the same
way; for another version change its first line, then run this.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).with_name("uv")
UV_LOCK = Path("scripts", "uv.txt")
HEAD = "# Made by `make lock` from pyproject.toml.\n"
UV_HEAD = "# Installs all that is in the locks. Made by `make lock`.\n"
COMPILE = (
    *(str(UV), "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"),
    *("--no-header", "--no-annotate", "--no-emit-index-url", "--generate-hashes"),
)


def main() -> None:
    """Resolve all locks, and write them only if all succeed."""
    with TemporaryDirectory() as folder:
        running, working = Path(folder, "requirements.txt"), Path(folder, "requirements-dev.txt")
        tool = Path(folder, "uv.txt")
        resolve(running, "pyproject.toml", "--extra", "scaled-out", "--extra", "build")
        resolve(working, "pyproject.toml", "--all-extras", "--constraints", str(running))
        wanted = re.findall(
            r"^uv==[\w.]+", (ROOT / UV_LOCK).read_text(encoding="utf-8"), re.MULTILINE
        )
        tool.with_suffix(".in").write_text(wanted[0], encoding="utf-8")
        compile_(tool, str(tool.with_suffix(".in")))
        for made in (running, working):
            write(ROOT / made.name, HEAD, made)
        write(ROOT / UV_LOCK, UV_HEAD, tool)


def resolve(made: Path, *options: str) -> None:
    """Pin requirements with these options, starting from the existing lock."""
    made.write_text((ROOT / made.name).read_text(encoding="utf-8"), encoding="utf-8")
    compile_(made, *options)


def compile_(made: Path, *options: str) -> None:
    """Run uv. Raises CalledProcessError if it fails."""
    subprocess.run([*COMPILE, *options, "--output-file", str(made)], cwd=ROOT, check=True)


def write(lock: Path, head: str, made: Path) -> None:
    """Write a lock."""
    lock.write_text(head + made.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    main()
