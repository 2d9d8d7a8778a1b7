"""How much memory this process holds, and the most it has ever held."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import psutil


def resident_mb() -> float:
    """Resident memory now, in MB."""
    return float(psutil.Process().memory_info().rss) / 1e6


def peak_mb() -> float:
    """The most resident memory so far, in MB.

    Linux says it of the program alone; what `getrusage` says includes the process that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6
