"""Prints the targets of a Makefile, each with its description."""

import re
import sys
from pathlib import Path

TARGET = re.compile(r"^([a-z-]+):[^#]*## (.+)$", re.MULTILINE)


def main() -> None:
    """Read the Makefile that is the first argument, and print its targets in order."""
    for name, meaning in TARGET.findall(Path(sys.argv[1]).read_text(encoding="utf-8")):
        print(f"  make {name:<12} {meaning}")


if __name__ == "__main__":
    main()
