"""The ledger's first tables and views."""

import re

import sqlalchemy as sa
from alembic import op

from bulkgrants.ledger.database import Exact, Moment

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_VIEWS = {
    "run_counts": """
        SELECT r.id AS run_id, r.application, r.key, r.kind, r.mode, r.mode_reason, r.roster_date,
               (r.mailbox IS NULL AND r.tenants IS NULL) AS whole,
               r.opened_at, r.planned_at, r.closed_at, r.entries, r.rejected, r.observed,
               coalesce(CAST(r.counts ->> 'unchanged' AS BIGINT), 0) AS unchanged,
               coalesce(CAST(r.counts ->> 'foreign' AS BIGINT), 0) AS foreign_grants,
               coalesce(CAST(r.counts ->> 'create' AS BIGINT), 0) AS creates,
               coalesce(CAST(r.counts ->> 'renew' AS BIGINT), 0) AS renews,
               coalesce(CAST(r.counts ->> 'rescope' AS BIGINT), 0) AS rescopes,
               coalesce(CAST(r.counts ->> 'revoke' AS BIGINT), 0) AS revokes,
               coalesce(CAST(r.counts ->> 'granted' AS BIGINT), 0) AS granted,
               coalesce(CAST(r.counts ->> 'renewed' AS BIGINT), 0) AS renewed,
               coalesce(CAST(r.counts ->> 'rescoped' AS BIGINT), 0) AS rescoped,
               coalesce(CAST(r.counts ->> 'refused' AS BIGINT), 0) AS refused,
               coalesce(CAST(r.counts ->> 'skipped' AS BIGINT), 0) AS skipped,
               coalesce(CAST(r.counts ->> 'open' AS BIGINT), 0) AS left_open,
               coalesce(CAST(r.counts ->> 'verified' AS BIGINT), 0) AS verified,
               coalesce(CAST(r.counts ->> 'drift' AS BIGINT), 0) AS drifted,
               coalesce(CAST(r.counts ->> 'attempts' AS BIGINT), 0) AS attempts
        FROM runs r
    """,
    "latest_runs": """
        SELECT p.run_id, p.application, p.kind, p.mode, p.roster_date, p.whole, p.planned_at,
               p.closed_at
        FROM (
            SELECT c.run_id, c.application, c.kind, c.mode, c.roster_date, c.whole, c.planned_at,
                   c.closed_at, row_number() OVER (
                       PARTITION BY c.application, c.kind ORDER BY c.planned_at DESC, c.run_id DESC
                   ) AS place
            FROM run_counts c
            WHERE c.planned_at IS NOT NULL
        ) p
        WHERE p.place = 1
    """,
    "latest_rosters": """
        WITH staged AS MATERIALIZED (
            SELECT e.application, count(*) AS entries FROM entries e GROUP BY e.application
        )
        SELECT r.application, r.run_id, r.roster_date, r.entries, r.rejected,
               (coalesce(s.entries, 0) = r.entries) AS complete
        FROM (
            SELECT n.application, n.id AS run_id, n.roster_date, n.entries, n.rejected,
                   row_number() OVER (
                       PARTITION BY n.application ORDER BY n.token DESC, n.id DESC
                   ) AS place
            FROM runs n
            WHERE n.entries IS NOT NULL
        ) r
        LEFT JOIN staged s ON s.application = r.application
        WHERE r.place = 1
    """,
    "coverage": """
        SELECT t.application, t.tenant, t.provider, n.run_id, n.roster_date,
               coalesce(s.desired, 0) AS desired, coalesce(s.granted, 0) AS granted,
               coalesce(s.missing, 0) AS missing, coalesce(s.invalid, 0) AS invalid,
               coalesce(s.blocked, 0) AS blocked, coalesce(s.in_escrow, 0) AS in_escrow
        FROM latest_rosters n
        JOIN tenants t ON t.application = n.application
        LEFT JOIN (
            SELECT e.application, e.tenant, count(*) AS desired,
                   count(CASE WHEN g.status = 'valid' AND NOT g.blocked THEN 1 END) AS granted,
                   count(CASE WHEN g.email IS NULL THEN 1 END) AS missing,
                   count(CASE WHEN g.status = 'invalid' AND NOT g.blocked THEN 1 END) AS invalid,
                   count(CASE WHEN g.blocked THEN 1 END) AS blocked,
                   count(x.email) AS in_escrow
            FROM entries e
            LEFT JOIN grants g
              ON g.application = e.application AND g.provider = e.provider AND g.email = e.email
             AND g.gone_at IS NULL
            LEFT JOIN escrow x
              ON x.application = e.application AND x.provider = e.provider AND x.email = e.email
            GROUP BY e.application, e.tenant
        ) s ON s.application = t.application AND s.tenant = t.tenant
        WHERE n.complete AND (t.listed OR s.desired IS NOT NULL)
    """,
    "orphans": """
        SELECT g.application, g.provider, g.email, g.tenant, g.grant_id, g.status, g.owned,
               g.orphan_since,
               EXISTS (
                   SELECT 1 FROM rejects j
                   WHERE j.run_id = n.run_id AND j.mailbox = g.email
                     AND (j.provider IS NULL OR j.provider = g.provider)
               ) AS rejected
        FROM latest_rosters n
        JOIN grants g ON g.application = n.application
        WHERE n.complete AND g.gone_at IS NULL AND NOT EXISTS (
            SELECT 1 FROM entries e
            WHERE e.application = g.application AND e.provider = g.provider AND e.email = g.email
        )
    """,
    "fates": """
        SELECT c.run_id, r.application, r.roster_date, c.provider, c.email, c.tenant, c.grant_id,
               c.kind AS change, coalesce(c.outcome, c.kind || ' ' || c.state) AS fate, c.detail,
               c.verified, coalesce(c.done_at, r.planned_at) AS happened_at
        FROM changes c
        JOIN runs r ON r.id = c.run_id
        UNION ALL
        SELECT s.run_id, r.application, r.roster_date, s.provider, s.email, s.tenant, s.grant_id,
               NULL AS change, 'skipped' AS fate,
               CASE WHEN s.detail = '' THEN s.reason ELSE s.reason || ': ' || s.detail END,
               NULL AS verified, r.planned_at AS happened_at
        FROM skips s
        JOIN runs r ON r.id = s.run_id
        UNION ALL
        SELECT j.run_id, r.application, r.roster_date, j.provider, j.mailbox, j.tenant,
               NULL AS grant_id, NULL AS change, 'rejected' AS fate,
               j.reason || ': ' || j.sentence, NULL AS verified, r.opened_at AS happened_at
        FROM rejects j
        JOIN runs r ON r.id = j.run_id
        WHERE j.mailbox IS NOT NULL
    """,
}
_ARROW = re.compile(r"(\w+\.\w+) ->> '(\w+)'")
_JSON_EXTRACT = r"json_extract(\1, '$.\2')"


def _unlogged() -> list[str]:
    """Staging does not need a write-ahead log, because a run can always read its input again."""
    return ["UNLOGGED"] if op.get_bind().dialect.name == "postgresql" else []


def upgrade() -> None:
    """Create every table, then the views over them."""
    # ### commands auto generated by Alembic - please adjust! ###
    op.create_table(
        "budgets",
        sa.Column("application", sa.String(length=200), nullable=False),
        sa.Column("next_slot", sa.Float(precision=53), nullable=False),
        sa.Column("per_second", sa.Float(precision=53), nullable=False),
        sa.Column("ceiling", sa.Float(precision=53), nullable=False),
        sa.Column("changed_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("application", name=op.f("pk_budgets")),
    )
    op.create_table(
        "credentials",
        sa.Column("application", sa.String(length=200), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("name", Exact(), nullable=False),
        sa.Column("credential_type", sa.String(length=20), nullable=False),
        sa.Column("credential_id", sa.String(length=100), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("registered_at", Moment(), nullable=False),
        sa.Column("rotated_at", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("application", "provider", "name", name=op.f("pk_credentials")),
    )
    op.create_table(
        "entries",
        sa.Column("application", sa.String(length=200), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("email", Exact(), nullable=False),
        sa.Column("tenant", Exact(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("credential_id", sa.String(length=100), nullable=True),
        sa.Column("row_number", sa.BigInteger(), nullable=False),
        prefixes=_unlogged(),
    )
    op.create_index(
        op.f("ix_entries_application_provider_email"),
        "entries",
        ["application", "provider", "email"],
        unique=False,
    )
    op.create_table(
        "escrow",
        sa.Column("application", sa.String(length=200), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("email", Exact(), nullable=False),
        sa.Column("tenant", Exact(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("refusals", sa.Integer(), nullable=False),
        sa.Column("first_refused_at", Moment(), nullable=False),
        sa.Column("due_at", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("application", "provider", "email", name=op.f("pk_escrow")),
    )
    op.create_table(
        "grants",
        sa.Column("application", sa.String(length=200), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("email", Exact(), nullable=False),
        sa.Column("grant_id", sa.String(length=100), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("credential_id", sa.String(length=100), nullable=True),
        sa.Column("blocked", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("owned", sa.Boolean(), nullable=False),
        sa.Column("tenant", Exact(), nullable=True),
        sa.Column("orphan_since", Moment(), nullable=True),
        sa.Column("gone_at", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("application", "provider", "email", name=op.f("pk_grants")),
    )
    op.create_table(
        "leases",
        sa.Column("application", sa.String(length=200), nullable=False),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("application", name=op.f("pk_leases")),
    )
    op.create_table(
        "observed",
        sa.Column("application", sa.String(length=200), nullable=False),
        sa.Column("grant_id", sa.String(length=100), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("email", Exact(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("credential_id", sa.String(length=100), nullable=True),
        sa.Column("blocked", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        prefixes=_unlogged(),
    )
    op.create_index(
        op.f("ix_observed_application_provider_email"),
        "observed",
        ["application", "provider", "email"],
        unique=False,
    )
    op.create_table(
        "runs",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("application", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("mode", sa.String(length=20), nullable=False),
        sa.Column("mode_reason", sa.Text(), nullable=False),
        sa.Column("roster_date", sa.Date(), nullable=True),
        sa.Column("tenants", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("mailbox", sa.Text(), nullable=True),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", Moment(), nullable=False),
        sa.Column("closed_at", Moment(), nullable=True),
        sa.Column("entries", sa.BigInteger(), nullable=True),
        sa.Column("rejected", sa.BigInteger(), nullable=True),
        sa.Column("observed", sa.BigInteger(), nullable=True),
        sa.Column("planned_at", Moment(), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.Column("counts", sa.JSON(), nullable=True),
        sa.Column("report", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("application", "key", name=op.f("uq_runs_application_key")),
    )
    op.create_table(
        "tenants",
        sa.Column("application", sa.String(length=200), nullable=False),
        sa.Column("tenant", Exact(), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("credential", sa.Text(), nullable=False),
        sa.Column("secret_conn_id", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("grace_seconds", sa.BigInteger(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("listed", sa.Boolean(), nullable=False),
        sa.Column("awaiting", sa.String(length=20), nullable=True),
        sa.Column("quarantined_until", Moment(), nullable=True),
        sa.Column("quarantine_reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("application", "tenant", name=op.f("pk_tenants")),
    )
    op.create_table(
        "attempts",
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("claim", sa.Integer(), nullable=False),
        sa.Column("intended_at", Moment(), nullable=False),
        sa.Column("ended_at", Moment(), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=True),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_attempts_run_id")),
        sa.PrimaryKeyConstraint("run_id", "seq", "number", name=op.f("pk_attempts")),
    )
    op.create_table(
        "batches",
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("batch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("claim", sa.Integer(), nullable=False),
        sa.Column("closed_at", Moment(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_batches_run_id")),
        sa.PrimaryKeyConstraint("run_id", "batch", name=op.f("pk_batches")),
    )
    op.create_table(
        "changes",
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("email", Exact(), nullable=False),
        sa.Column("tenant", Exact(), nullable=True),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("credential_id", sa.String(length=100), nullable=True),
        sa.Column("grant_id", sa.String(length=100), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("verified", sa.String(length=10), nullable=True),
        sa.Column("done_at", Moment(), nullable=True),
        sa.Column("grant_updated_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_changes_run_id")),
        sa.PrimaryKeyConstraint("run_id", "seq", name=op.f("pk_changes")),
    )
    op.create_index(
        op.f("ix_changes_run_id_grant_id"), "changes", ["run_id", "grant_id"], unique=False
    )
    op.create_table(
        "rejects",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("row_number", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=True),
        sa.Column("mailbox", Exact(), nullable=True),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_rejects_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejects")),
    )
    op.create_index(
        op.f("ix_rejects_run_id_mailbox"), "rejects", ["run_id", "mailbox"], unique=False
    )
    op.create_table(
        "skips",
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("email", Exact(), nullable=False),
        sa.Column("tenant", Exact(), nullable=True),
        sa.Column("grant_id", sa.String(length=100), nullable=True),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_skips_run_id")),
        sa.PrimaryKeyConstraint("run_id", "provider", "email", name=op.f("pk_skips")),
    )
    # ### end Alembic commands ###
    for name, query in _VIEWS.items():
        if op.get_bind().dialect.name == "sqlite":  # before 3.38 it does not have `->>`
            op.execute(f"CREATE VIEW {name} AS {_ARROW.sub(_JSON_EXTRACT, query)}")
        else:
            op.execute(f"CREATE VIEW {name} AS {query}")
