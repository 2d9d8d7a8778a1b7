"""Registers credentials at Nylas, with which a connector acts without each user."""
