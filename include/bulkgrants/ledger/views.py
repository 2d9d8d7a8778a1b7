"""The ledger's views: the stable interface for readers of SQL (`docs/ledger.md`)."""

VIEWS: dict[str, str] = {}
