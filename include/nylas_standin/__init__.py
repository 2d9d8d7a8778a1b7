"""A stand-in for that part of the Nylas v3 API which bulk authentication uses."""
