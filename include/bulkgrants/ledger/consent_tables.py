"""The ledger's tables of consent and propagation; `tables.py` names them beside all others."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, String, Table, Text, UniqueConstraint

from bulkgrants.ledger.columns import ID, Exact, metadata
from bulkgrants.ledger.moments import Moment

consents = Table(
    "consents",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("application", String(200), nullable=False),
    Column("tenant", Exact, nullable=False),
    Column("credential_id", String(100), nullable=False),
    Column("microsoft_tenant", Text, nullable=False),  # whose admin was asked; `common`: anybody's
    Column("redirect_uri", Text, nullable=False),
    Column("state_hash", String(64), nullable=False),  # SHA-256, hex; the state itself is nowhere
    Column("status", String(10), nullable=False),  # pending | given | refused | expired | lost
    Column("requested_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("answered_at", Moment, nullable=True),
    Column("admin_tenant", Text, nullable=False, default=""),  # as Microsoft named it: a hint
    Column("error", Text, nullable=False, default=""),
    Column("error_code", Text, nullable=False, default=""),
    Column("error_description", Text, nullable=False, default=""),
    Column("error_uri", Text, nullable=False, default=""),
    UniqueConstraint("state_hash"),
    Index(None, "application", "tenant"),
)

consent_attempts = Table(
    "consent_attempts",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("consent_id", ID, ForeignKey("consents.id"), nullable=True),  # null: no state of ours
    Column("at", Moment, nullable=False),
    Column("verdict", String(20), nullable=False),
    Column("detail", Text, nullable=False, default=""),  # bounded, without the state
    Index(None, "consent_id", "at"),
)

probes = Table(
    "probes",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("application", String(200), nullable=False),
    Column("tenant", Exact, nullable=False),
    Column("email", Exact, nullable=False),  # the canary
    Column("at", Moment, nullable=False),
    Column("outcome", String(10), nullable=False),  # granted | partial | refused | unserved
    Column("missing", Text, nullable=False, default=""),  # scopes, canonical
    Column("message", Text, nullable=False, default=""),  # bounded, without secrets
    Index(None, "application", "tenant", "at"),
)
