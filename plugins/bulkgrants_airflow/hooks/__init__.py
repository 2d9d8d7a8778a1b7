"""Hooks: the only senders."""
