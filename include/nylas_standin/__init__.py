"""A stand-in for the part of the Nylas v3 API that bulk authentication uses."""
