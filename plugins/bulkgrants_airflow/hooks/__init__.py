"""Hooks: the only place from which API calls leave."""
