"""From two sides that differ to one: observe, compare, decide, apply, verify, report."""
