"""Makes the grants at Nylas equal to the roster: observe, decide, plan, apply, verify, report."""
