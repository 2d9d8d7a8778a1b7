"""The room of consent: the link, its state, the callback, and the waiting for an admin."""
