"""Propagation: the wait until the provider honours what an admin has given, seen by a canary."""
