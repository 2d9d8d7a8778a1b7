"""Identifiers that look random and are the same on every run."""

from random import Random


def _uuid4(bits: int) -> str:
    # By hand: uuid.UUID costs several times as much, and a million are made when seeding.
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[bits & 3]}{text[17:20]}-{text[20:]}"


class Ids:
    """Each kind has a generator of its own, so that reading does not change what is made."""

    def __init__(self, seed: int) -> None:
        self._records = Random(f"records {seed}")  # noqa: S311 - ids that repeat, not secrets
        self._requests = Random(f"requests {seed}")  # noqa: S311 - the same
        self._consents = Random(f"consents {seed}")  # noqa: S311 - the same
        self._flows = Random(f"flows {seed}")  # noqa: S311 - the same

    def record(self) -> str:
        """The id of a new connector credential or grant."""
        return _uuid4(self._records.getrandbits(128))

    def request(self, style: str) -> str:
        """The id of a request, in one of the two forms seen."""
        bits = self._requests.getrandbits(128)
        if style == "numbered":
            return f"{bits % 9_000_000_000 + 1_000_000_000}-{_uuid4(bits)}"
        return _uuid4(bits)

    def consent(self) -> str:
        """The id of a link to the consent screen that was opened."""
        return _uuid4(self._consents.getrandbits(128))

    def flow(self) -> str:
        """The value of x-fastly-id."""
        return f"{self._flows.getrandbits(128):032x}"
