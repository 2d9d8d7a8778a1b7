"""The ledger's tables, as SQLAlchemy Core; `docs/ledger.md` describes them for readers of SQL.

Every table carries the application (its Nylas client id), so that several can share a ledger.
E-mail addresses sort and compare by code point (collation "C") on every database.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from bulkgrants.ledger.columns import ID, Exact, added_text, metadata
from bulkgrants.ledger.consent_tables import consent_attempts, consents, probes
from bulkgrants.ledger.moments import Moment


def _run_id() -> Column[int]:
    return Column("run_id", ID, ForeignKey("runs.id"), nullable=False)


runs = Table(
    "runs",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("application", String(200), nullable=False),
    Column(
        "key", String(300), nullable=False
    ),  # DAG id and run id; the same run finds itself again
    Column("kind", String(20), nullable=False),  # reconcile | audit
    Column("mode", String(20), nullable=False),  # apply | dry_run | audit
    Column("mode_reason", Text, nullable=False, default=""),
    Column("roster_date", Date, nullable=True),  # null for a table without partitions
    Column("tenants", JSON(none_as_null=True), nullable=True),  # the filter; null means all
    Column("mailbox", Text, nullable=True),  # the filter; null means all
    Column("token", BigInteger, nullable=False, default=0),  # of the lease it was opened under
    Column("opened_at", Moment, nullable=False),
    Column("closed_at", Moment, nullable=True),
    Column("entries", BigInteger, nullable=True),  # staged; null until the roster is read
    Column("rejected", BigInteger, nullable=True),
    Column("observed", BigInteger, nullable=True),  # null until the listing is complete
    Column("planned_at", Moment, nullable=True),
    Column("fingerprint", String(64), nullable=True),  # of the plan: SHA-256, hex
    Column("counts", JSON, nullable=True),
    Column("report", Text, nullable=True),  # Markdown
    UniqueConstraint("application", "key"),
)

leases = Table(
    "leases",
    metadata,
    Column("application", String(200), primary_key=True),
    Column("run_id", ID, nullable=True),  # null when free
    Column("token", BigInteger, nullable=False),  # grows with every change of hands
    Column("expires_at", Moment, nullable=False),
)

budgets = Table(
    "budgets",
    metadata,
    Column("application", String(200), primary_key=True),
    Column("next_slot", Float(53), nullable=False),  # Unix seconds by the database's clock
    Column("per_second", Float(53), nullable=False),  # what the refusals have left of the ceiling
    Column("ceiling", Float(53), nullable=False),  # as configured
    Column("changed_at", Float(53), nullable=False),  # when per_second last changed; Unix seconds
)

tenants = Table(
    "tenants",
    metadata,
    Column("application", String(200), primary_key=True),
    Column("tenant", Exact, primary_key=True),
    Column("provider", String(20), nullable=False),
    Column("credential", Text, nullable=False),
    Column("secret_conn_id", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("grace_seconds", BigInteger, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("listed", Boolean, nullable=False),  # whether the tenants table still names it
    Column("awaiting", String(20), nullable=True),  # consent | propagation | null when ready
    Column("quarantined_until", Moment, nullable=True),
    Column("quarantine_reason", Text, nullable=False, default=""),
    added_text("microsoft_tenant"),  # a tenant id or `common`, as the tenants table says
    added_text("canary"),  # the address that shows whether the provider honours what was given
    added_text("required_scopes"),  # what the canary's grant must carry
    added_text("consent_scopes"),  # an override for the consent link
    added_text("azure_manifest"),  # the name of a file
    Column("awaiting_since", Moment, nullable=True),  # null until onboarding takes the tenant up
    added_text("stopped"),  # refused | expired: not taken up again until a person asks for it
    Column("ready_at", Moment, nullable=True),
    Column("claimed_by", String(300), nullable=True),  # DAG id and run id of the onboarding run
    Column("claimed_until", Moment, nullable=True),
)

credentials = Table(
    "credentials",
    metadata,
    Column("application", String(200), primary_key=True),
    Column("provider", String(20), primary_key=True),
    Column("name", Exact, primary_key=True),
    Column("credential_type", String(20), nullable=False),
    Column("credential_id", String(100), nullable=False),
    Column("fingerprint", String(64), nullable=False),  # keyed; the secret itself is nowhere here
    Column("registered_at", Moment, nullable=False),
    Column("rotated_at", Moment, nullable=True),
)

entries = Table(
    "entries",
    metadata,
    Column("application", String(200), nullable=False),
    Column("provider", String(20), nullable=False),
    Column("email", Exact, nullable=False),
    Column("tenant", Exact, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("credential_id", String(100), nullable=True),
    Column("row_number", BigInteger, nullable=False),  # in the order the warehouse gave, from 1
    Index(None, "application", "provider", "email"),
)

rejects = Table(
    "rejects",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    _run_id(),
    Column("row_number", BigInteger, nullable=False),
    Column("tenant", Text, nullable=False),  # as written, bounded
    Column("email", Text, nullable=False),  # as written, bounded
    Column("provider", String(20), nullable=True),  # with mailbox: whose grant is left alone
    Column("mailbox", Exact, nullable=True),  # the normalised address, where there is one
    Column("reason", String(40), nullable=False),
    Column("sentence", Text, nullable=False),  # what the analyst should change
    Index(None, "run_id", "mailbox"),
)

observed = Table(
    "observed",
    metadata,
    Column("application", String(200), nullable=False),
    Column("grant_id", String(100), nullable=False),
    Column("provider", String(20), nullable=False),
    Column("email", Exact, nullable=False),
    Column("status", String(10), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("credential_id", String(100), nullable=True),
    Column("blocked", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),  # Unix seconds, as the API gives them
    Column("updated_at", BigInteger, nullable=False),
    Index(None, "application", "provider", "email"),
)

grants = Table(
    "grants",
    metadata,
    Column("application", String(200), primary_key=True),
    Column("provider", String(20), primary_key=True),
    Column("email", Exact, primary_key=True),
    Column("grant_id", String(100), nullable=False),
    Column("status", String(10), nullable=False),  # valid | invalid
    Column("scopes", Text, nullable=False),
    Column("credential_id", String(100), nullable=True),
    Column("blocked", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("owned", Boolean, nullable=False, default=False),
    Column("tenant", Exact, nullable=True),  # of its last entry; null for what was never desired
    Column("orphan_since", Moment, nullable=True),  # null while it has an entry
    Column(
        "gone_at", Moment, nullable=True
    ),  # when a listing first lacked it; null while it exists
)

escrow = Table(
    "escrow",
    metadata,
    Column("application", String(200), primary_key=True),
    Column("provider", String(20), primary_key=True),
    Column("email", Exact, primary_key=True),
    Column("tenant", Exact, nullable=False),
    Column("reason", Text, nullable=False),
    Column("refusals", Integer, nullable=False),
    Column("first_refused_at", Moment, nullable=False),
    Column("due_at", Moment, nullable=True),  # null once given up
)

changes = Table(
    "changes",
    metadata,
    Column("run_id", ID, ForeignKey("runs.id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),  # from 1, in plan order
    Column("kind", String(10), nullable=False),  # create | renew | rescope | revoke
    Column("provider", String(20), nullable=False),
    Column("email", Exact, nullable=False),
    Column("tenant", Exact, nullable=True),
    Column("scopes", Text, nullable=False),
    Column("credential_id", String(100), nullable=True),
    Column("grant_id", String(100), nullable=True),  # the one before, then the one after
    Column("state", String(10), nullable=False),  # planned | held | done
    Column("outcome", String(10), nullable=True),
    Column("detail", Text, nullable=False, default=""),
    Column("verified", String(10), nullable=True),  # verified | drift
    Column("done_at", Moment, nullable=True),
    Column("grant_updated_at", BigInteger, nullable=True),  # Unix seconds, by Nylas' clock
    Index(None, "run_id", "grant_id"),
)

skips = Table(
    "skips",
    metadata,
    Column("run_id", ID, ForeignKey("runs.id"), primary_key=True),
    Column("provider", String(20), primary_key=True),
    Column("email", Exact, primary_key=True),
    Column("tenant", Exact, nullable=True),
    Column("grant_id", String(100), nullable=True),
    Column("reason", String(40), nullable=False),
    Column("detail", Text, nullable=False, default=""),
)

batches = Table(
    "batches",
    metadata,
    Column("run_id", ID, ForeignKey("runs.id"), primary_key=True),
    Column("batch", Integer, primary_key=True, autoincrement=False),  # from 1
    Column("first_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("claim", Integer, nullable=False, default=0),  # grows each time a task takes it up
    Column("closed_at", Moment, nullable=True),
)

attempts = Table(
    "attempts",
    metadata,
    Column("run_id", ID, ForeignKey("runs.id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),  # of the change
    Column("number", Integer, primary_key=True, autoincrement=False),  # from 1, over all tasks
    Column("claim", Integer, nullable=False),  # the batch's claim under which it was made
    Column("intended_at", Moment, nullable=False),
    Column("ended_at", Moment, nullable=True),  # null: the process died before it knew
    Column("outcome", String(20), nullable=True),  # an Outcome, `retried` or `stopped`
    Column("http_status", Integer, nullable=True),
    Column("message", Text, nullable=False, default=""),  # bounded, without secrets
)

STAGING = (entries, observed)
"""Tables that hold one run's input; unlogged on PostgreSQL, as the run can always read it again."""

ONBOARDING = (consents, consent_attempts, probes)
"""Described in a file of their own, and named here so that importing this one imports all."""
