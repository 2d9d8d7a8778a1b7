"""Tables and columns for onboarding: consents, probes, and how far each tenant is."""

import sqlalchemy as sa
from alembic import op

from bulkgrants.ledger.database import Exact, Moment

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXTS = ("microsoft_tenant", "canary", "required_scopes", "consent_scopes", "azure_manifest")

_ONBOARDING = """
    SELECT t.application, t.tenant, t.provider, t.enabled,
           CASE WHEN NOT t.enabled THEN 'disabled'
                WHEN t.awaiting IS NULL THEN 'ready'
                WHEN t.stopped <> '' THEN t.stopped
                ELSE 'awaiting ' || t.awaiting END AS standing,
           t.awaiting_since AS since, c.status AS consent,
           CASE WHEN c.status = 'pending' THEN c.expires_at END AS link_expires_at,
           c.error, c.error_description, p.at AS last_probe_at, p.missing, t.ready_at
    FROM tenants t
    LEFT JOIN (
        SELECT n.application, n.tenant, n.status, n.expires_at, n.error, n.error_description,
               row_number() OVER (
                   PARTITION BY n.application, n.tenant
                   ORDER BY coalesce(n.answered_at, n.requested_at) DESC, n.id DESC
               ) AS place
        FROM consents n
    ) c ON c.application = t.application AND c.tenant = t.tenant AND c.place = 1
    LEFT JOIN (
        SELECT o.application, o.tenant, o.at, o.missing,
               row_number() OVER (
                   PARTITION BY o.application, o.tenant ORDER BY o.at DESC, o.id DESC
               ) AS place
        FROM probes o
        WHERE o.outcome <> 'unserved'
    ) p ON p.application = t.application AND p.tenant = t.tenant AND p.place = 1
    WHERE t.listed
"""


def upgrade() -> None:
    """Add columns to `tenants`, tables for consents and probes, and the view `onboarding`."""
    for name in _TEXTS:
        op.add_column("tenants", sa.Column(name, sa.Text(), server_default="", nullable=False))
    op.add_column("tenants", sa.Column("awaiting_since", Moment(), nullable=True))
    op.add_column("tenants", sa.Column("stopped", sa.Text(), server_default="", nullable=False))
    op.add_column("tenants", sa.Column("ready_at", Moment(), nullable=True))
    op.add_column("tenants", sa.Column("claimed_by", sa.String(length=300), nullable=True))
    op.add_column("tenants", sa.Column("claimed_until", Moment(), nullable=True))
    op.create_table(
        "consents",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("application", sa.String(length=200), nullable=False),
        sa.Column("tenant", Exact(), nullable=False),
        sa.Column("credential_id", sa.String(length=100), nullable=False),
        sa.Column("microsoft_tenant", sa.Text(), nullable=False),
        sa.Column("redirect_uri", sa.Text(), nullable=False),
        sa.Column("state_hash", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("requested_at", Moment(), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.Column("answered_at", Moment(), nullable=True),
        sa.Column("admin_tenant", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=False),
        sa.Column("error_description", sa.Text(), nullable=False),
        sa.Column("error_uri", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consents")),
        sa.UniqueConstraint("state_hash", name=op.f("uq_consents_state_hash")),
    )
    op.create_index(
        op.f("ix_consents_application_tenant"), "consents", ["application", "tenant"], unique=False
    )
    op.create_table(
        "consent_attempts",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("consent_id", _ID, nullable=True),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("verdict", sa.String(length=20), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["consent_id"], ["consents.id"], name=op.f("fk_consent_attempts_consent_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent_attempts")),
    )
    op.create_index(
        op.f("ix_consent_attempts_consent_id_at"),
        "consent_attempts",
        ["consent_id", "at"],
        unique=False,
    )
    op.create_table(
        "probes",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("application", sa.String(length=200), nullable=False),
        sa.Column("tenant", Exact(), nullable=False),
        sa.Column("email", Exact(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("missing", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_probes")),
    )
    op.create_index(
        op.f("ix_probes_application_tenant_at"),
        "probes",
        ["application", "tenant", "at"],
        unique=False,
    )
    op.execute(f"CREATE VIEW onboarding AS {_ONBOARDING}")
