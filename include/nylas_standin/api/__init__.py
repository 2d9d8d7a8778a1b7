"""The API: its routes, how a request is read, refused, spoilt or handled, and what it answers."""
