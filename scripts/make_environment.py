"""Makes `.venv` from the lock; does nothing if it is already up to date.

Every file that is downloaded, uv's too, has one of the hashes in the locks.

It runs on any `python3` that a machine has, so it uses only syntax that an old one can read.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "made-from"
LOCK = ROOT / "requirements-dev.txt"
UV_LOCK = ROOT / "scripts" / "uv.txt"
DECIDES = (LOCK, UV_LOCK, ROOT / "pyproject.toml", Path(__file__))
OLDEST, TOO_NEW = (3, 11), (3, 14)


def main() -> int:
    """Make the environment unless it is there and up to date."""
    wanted = fingerprint()
    if STAMP.is_file() and STAMP.read_text(encoding="utf-8") == wanted:
        return 0
    complaint = why_not()
    if complaint:
        print(complaint, file=sys.stderr)
        return 1
    print("Making the environment in .venv; the first time takes a minute or two.", flush=True)
    try:
        make()
    except subprocess.CalledProcessError as error:
        command = " ".join(str(word) for word in error.cmd)
        print(f"The environment could not be made: {command} failed.", file=sys.stderr)
        return 1
    STAMP.write_text(wanted, encoding="utf-8")
    return 0


def fingerprint() -> str:
    """A hash of everything that the environment depends on."""
    digest = hashlib.sha256((sys.version + str(ROOT)).encode())
    for path in DECIDES:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def why_not() -> str:
    """Why this Python cannot make the environment; empty if it can."""
    here = version(sys.version_info)
    if not OLDEST <= sys.version_info[:2] < TOO_NEW:
        return (
            f"Bulkgrants needs Python 3.11, 3.12 or 3.13, and {sys.executable} is {here}; "
            "install one of them and name it, for example: make PYTHON=python3.12 demo"
        )
    try:
        import ensurepip  # noqa: F401 - only to see if it is there; Debian ships Python without it
        import venv  # noqa: F401
    except ImportError:
        return (
            f"{sys.executable} does not have the module venv, which is needed; "
            f"on Debian and Ubuntu: apt-get install python{here}-venv"
        )
    return ""


def make() -> None:
    """Make a virtual environment unless there is one of this Python, then install the lock."""
    python, uv = VENV / "bin" / "python", VENV / "bin" / "uv"
    if not is_ours(python):
        shutil.rmtree(str(VENV), ignore_errors=True)
        run([sys.executable, "-m", "venv", str(VENV)])
    STAMP.unlink(missing_ok=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--require-hashes", "--requirement", str(UV_LOCK)])
    # --system-certs: networks with their own gateway put its certificate into the system
    options = ["--quiet", "--system-certs", "--python", str(python)]
    run([str(uv), "pip", "sync", *options, "--require-hashes", str(LOCK)])
    # what builds the project is in the lock, so it is not downloaded again, without hashes
    project = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    run([str(uv), "pip", "install", *options, *project])


def is_ours(python: Path) -> bool:
    """Whether the environment's Python runs, and has the same version as this one."""
    question = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run([str(python), "-c", question], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return answer.stdout.decode().strip() == version(sys.version_info)


def version(info: tuple) -> str:
    """A Python's version as people say it."""
    return f"{info[0]}.{info[1]}"


def run(command: list) -> None:
    """Run a command in the repository. Raises CalledProcessError if it fails."""
    subprocess.run(command, cwd=str(ROOT), check=True)


if __name__ == "__main__":
    sys.exit(main())
