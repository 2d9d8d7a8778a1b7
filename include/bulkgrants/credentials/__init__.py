"""Credentials: what a connector uses to act without each user, registered and kept up to date."""
