"""What may go wrong in the demo, in words for whoever runs it."""


class DemoError(Exception):
    """The demo cannot go on; the text says why, and where to look."""
