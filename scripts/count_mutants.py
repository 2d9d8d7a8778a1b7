"""Mutates the decisions and guards, and shows each mutant that no test notices; docs/mutants.md.

mutmut looks for packages and settings below the folder it runs in, and mutates copies of them. So
it runs in a folder of its own, with links to what it needs, and never changes the code itself.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".mutants"
LINKS = {"src": "include", "tests": "tests", "pyproject.toml": "pyproject.toml"}
MUTATED = ("*.decide.*", "*.opening.x_admit_*", "*.apply.*TenantRefusals*")
"""mutmut's names for the functions and the class to mutate, in the files of pyproject.toml."""


def main() -> int:
    """Begin anew, as mutmut does not try old mutants again when only a test has changed."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    for name, target in LINKS.items():
        FOLDER.joinpath(name).symlink_to(ROOT / target)
    print("Mutating; this takes about a minute.", flush=True)
    ran = mutmut("run", *MUTATED)
    every = [
        line.strip().split(": ") for line in mutmut("results", "--all", "true").stdout.splitlines()
    ]
    tried = {name: end for name, end in every if end != "not checked"}
    if ran.returncode or not tried:
        print(
            ran.stdout, ran.stderr, "mutmut could not try the mutants.", sep="\n", file=sys.stderr
        )
        return 1
    missed = [name for name, end in tried.items() if end != "killed"]
    for name in missed:
        print(mutmut("show", name).stdout)
    print(f"The tests notice {len(tried) - len(missed)} of {len(tried)} mutants.")
    return 0


def mutmut(*words: str) -> subprocess.CompletedProcess[str]:
    """Run mutmut in its folder, and keep what it prints."""
    program = Path(sys.executable).with_name("mutmut")
    return subprocess.run(
        [program, *words], cwd=FOLDER, check=False, capture_output=True, text=True
    )


if __name__ == "__main__":
    sys.exit(main())
