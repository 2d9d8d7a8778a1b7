"""The ledger's tables in SQLAlchemy Core. Their comments become `docs/ledger.md`.

Every table has the application (its Nylas client id), so that several can share a ledger. E-mail
addresses sort and compare by code point (collation "C") on every database.
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
    text,
)

from bulkgrants.ledger.database import ID, Exact, Moment, added_text, metadata


def _application(*, primary_key: bool = True) -> Column[str]:
    return Column(
        "application",
        String(200),
        primary_key=primary_key,
        nullable=False,
        comment="The Nylas application, by its client id.",
    )


def _run_id(*, primary_key: bool = False) -> Column[int]:
    return Column(
        "run_id",
        ID,
        ForeignKey("runs.id"),
        primary_key=primary_key,
        nullable=False,
        comment="The run, `runs.id`.",
    )


# Laid out by hand, with the meaning below each column, so that a table can be read at a glance.
# fmt: off
runs = Table(
    "runs", metadata,
    Column("id", ID, primary_key=True, autoincrement=True, comment="Names the run elsewhere."),
    _application(primary_key=False),
    Column("key", String(300), nullable=False,
           comment="DAG id and run id, such as `reconcile_grants/scheduled__2026-01-31…`. It ends "
                   "in ` #2` if a person cleared the DAG run to start over."),
    Column("kind", String(20), nullable=False,
           comment="Which DAG it belongs to: `reconcile` or `audit`."),
    Column("mode", String(20), nullable=False,
           comment="What it may do: `apply`, `dry_run` or `audit`; `audit` until it begins."),
    Column("mode_reason", Text, nullable=False, default="",
           comment="Why it did nothing at all, in one sentence; empty if it continued."),
    Column("roster_date", Date, comment="The roster's day; null for a table without days."),
    Column("tenants", JSON(none_as_null=True),
           comment="The names of the tenants it is limited to; null, in SQL or JSON, means all."),
    Column("mailbox", Text, comment="The one mailbox it is limited to; null means all."),
    Column("token", BigInteger, nullable=False, default=0,
           comment="The lease's token, which rises with each run that takes the lease; 0 before "
                   "that."),
    Column("opened_at", Moment, nullable=False,
           comment="When it first tried to begin; it may have waited after that."),
    Column("closed_at", Moment,
           comment="When it ended; null while it is active, or if it was killed."),
    Column("entries", BigInteger,
           comment="Entries of the whole roster, whatever the run is limited to; null until read."),
    Column("rejected", BigInteger, comment="Rejected rows of the whole roster; null until read."),
    Column("observed", BigInteger,
           comment="Mailboxes with a grant in the listing; null until the listing is complete."),
    Column("planned_at", Moment, comment="When its plan was complete; null before."),
    Column("fingerprint", String(64),
           comment="SHA-256 of the plan's changes, in hex: equal plans have equal fingerprints. "
                   "Null before the plan."),
    Column("counts", JSON,
           comment="What the view `run_counts` shows as columns, and `skip:` with each reason of a "
                   "skip. Null until it is planned; empty if it closed without a plan."),
    Column("report", Text,
           comment="The report in Markdown, at most 50 rows of each list; null until it is "
                   "closed."),
    added_text("listing_note",
               "What was odd about the listing, in a sentence; empty if nothing was."),
    UniqueConstraint("application", "key"),
    comment="One row for each run, written by every step. Keep the rows: they tell which roster "
            "was applied last.",
)

leases = Table(
    "leases", metadata,
    _application(),
    Column("run_id", ID, comment="The run that holds the lease; null when it is free."),
    Column("token", BigInteger, nullable=False, comment="Rises when another run takes the lease."),
    Column("expires_at", Moment, nullable=False,
           comment="When another run may take the lease, unless the run renews it before."),
    comment="Which run may write, one row for each application.",
)

budgets = Table(
    "budgets", metadata,
    _application(),
    Column("next_slot", Float(53), nullable=False,
           comment="The next free slot, in Unix seconds with fractions, by the database's clock."),
    Column("per_second", Float(53), nullable=False,
           comment="The present rate in calls per second; each 429 from Nylas lowers it."),
    Column("ceiling", Float(53), nullable=False,
           comment="The highest rate in calls per second, from the Airflow connection."),
    Column("changed_at", Float(53), nullable=False,
           comment="When `per_second` last changed, in Unix seconds by the database's clock."),
    Column("asked_at", Float(53), nullable=False, server_default="0",
           comment="When a process last took slots or was refused, in Unix seconds by the "
                   "database's clock: shows if that clock is set back."),
    comment="The rate budget that all processes share, one row for each application.",
)

tenants = Table(
    "tenants", metadata,
    _application(),
    Column("tenant", Exact, primary_key=True, comment="The tenant's name."),
    Column("provider", String(20), nullable=False,
           comment="Its provider: `google` or `microsoft`."),
    Column("credential", Text, nullable=False, comment="The name of its credential at Nylas."),
    Column("secret_conn_id", Text, nullable=False,
           comment="The id of the Airflow connection with the credential's secret. Empty for "
                   "Microsoft if the connector's own secret is used."),
    Column("scopes", Text, nullable=False,
           comment="The scopes for entries that do not name any; empty for Microsoft."),
    Column("grace_seconds", BigInteger, nullable=False,
           comment="How long an owned orphan is left alone, in seconds."),
    Column("enabled", Boolean, nullable=False, comment="Whether anything is done for it."),
    Column("listed", Boolean, nullable=False,
           comment="Whether the tenants table still has the tenant."),
    Column("awaiting", String(20),
           comment="What it waits for: `consent` or `propagation`. Null when it is ready, as a "
                   "new Google tenant without a canary is at once."),
    Column("quarantined_until", Moment,
           comment="Until when it is left alone; null if it never was quarantined, or was freed."),
    Column("quarantine_reason", Text, nullable=False, default="",
           comment="Why it was quarantined last; empty if it never was, or was freed."),
    added_text("microsoft_tenant",
               "The tenant's id or domain at Microsoft, or `common`. Empty for Google, and if the "
               "tenants table leaves it to the connection."),
    added_text("canary", "The address of the mailbox it is probed with; empty if there is none."),
    added_text("required_scopes",
               "The scopes that the canary's grant must carry, sorted and separated by blanks."),
    added_text("consent_scopes",
               "The scopes that the consent link asks for; empty if it asks for the Azure app's "
               "own."),
    added_text("azure_manifest", "The file with the Azure app's manifest; empty if there is none."),
    Column("awaiting_since", Moment,
           comment="When its wait began; null once it is ready, and until `onboard_tenants` has "
                   "taken it up."),
    added_text("stopped",
               "`refused`, `expired`, or `unhonoured` after several consents that the provider "
               "did not honour: it is not taken up again until a person asks for it. Otherwise "
               "empty."),
    Column("ready_at", Moment,
           comment="When its canary's grant carried all required scopes; null before that, after "
                   "its consent was lost, and if nothing had to be probed."),
    Column("claimed_by", String(300),
           comment="DAG id and run id of the onboarding run that works on it; null if none does."),
    Column("claimed_until", Moment,
           comment="When another onboarding run may take it; null if `claimed_by` is null."),
    comment="The tenants table of the warehouse as it was read last, and what each tenant waits "
            "for. The view `onboarding` shows it in words.",
)

consents = Table(
    "consents", metadata,
    Column("id", ID, primary_key=True, autoincrement=True, comment="Names the row."),
    _application(primary_key=False),
    Column("tenant", Exact, nullable=False, comment="The tenant."),
    Column("credential_id", String(100), nullable=False,
           comment="The credential at Nylas that the link is for."),
    Column("microsoft_tenant", Text, nullable=False,
           comment="Whose admin was asked: a tenant's id or domain, or `common` for any."),
    Column("redirect_uri", Text, nullable=False, comment="Where the answer should go."),
    Column("state_hash", String(64), nullable=False,
           comment="SHA-256 of the link's state, in hex; the state itself is not stored."),
    Column("status", String(10), nullable=False,
           comment="`pending` until the admin said yes (`given`) or no (`refused`); `expired` if "
                   "the link was replaced before it was answered, or was for other settings; "
                   "`lost` if the provider no longer honours the yes."),
    Column("requested_at", Moment, nullable=False, comment="When the link was made."),
    Column("expires_at", Moment, nullable=False, comment="Until when it can be answered."),
    Column("answered_at", Moment, comment="When it was answered; null before that."),
    Column("admin_tenant", Text, nullable=False, default="",
           comment="The tenant's id in the answer; a hint, not a proof; empty if it had none."),
    Column("error", Text, nullable=False, default="",
           comment="The answer's error; empty for a yes."),
    Column("error_code", Text, nullable=False, default="",
           comment="Nylas' number for the error; empty if there is none."),
    Column("error_description", Text, nullable=False, default="",
           comment="Microsoft's words, which may quote an address; empty if there are none."),
    Column("error_uri", Text, nullable=False, default="",
           comment="Microsoft's page about the error; empty if there is none."),
    added_text("key_id",
               "A keyed fingerprint of the key that signed the link, in hex; empty in old rows.",
               64),
    added_text("asked_by",
               "DAG id and run id of the onboarding run that made the link; empty in old rows.",
               300),
    UniqueConstraint("state_hash"),
    Index(None, "application", "tenant"),
    comment="One row for each consent link that was made for a Microsoft tenant, and the admin's "
            "answer.",
)

consent_attempts = Table(
    "consent_attempts", metadata,
    Column("id", ID, primary_key=True, autoincrement=True, comment="Names the row."),
    Column("consent_id", ID, ForeignKey("consents.id"),
           comment="`consents.id`; null if the state does not belong to a consent."),
    Column("at", Moment, nullable=False, comment="When it arrived."),
    Column("verdict", String(20), nullable=False,
           comment="`given`, `refused`, `repeated`, `malformed`, `too_long`, `unknown`, `used`, "
                   "`expired`, `stale`, `mismatched` or `passing`. Only the first two change a "
                   "consent."),
    Column("detail", Text, nullable=False, default="",
           comment="The error and Microsoft's words, at most 300 characters, never the state; "
                   "empty without an error."),
    Index(None, "consent_id", "at"),
    comment="Attempts to answer a consent link, at most 20 for each consent and 60 an hour "
            "without one. Rows without a consent are kept for 90 days at most. What cannot be "
            "read, or has a state that was not made with the application's key, is not kept.",
)

probes = Table(
    "probes", metadata,
    Column("id", ID, primary_key=True, autoincrement=True, comment="Names the row."),
    _application(primary_key=False),
    Column("tenant", Exact, nullable=False, comment="The tenant."),
    Column("email", Exact, nullable=False, comment="The canary."),
    Column("at", Moment, nullable=False, comment="When the canary's grant was asked for."),
    Column("outcome", String(10), nullable=False,
           comment="`granted`: with all required scopes; `partial`: scopes are missing; "
                   "`refused`: by Nylas or the provider; `unserved`: not answered, so nothing is "
                   "known."),
    Column("missing", Text, nullable=False, default="",
           comment="The required scopes that the grant lacked, separated by blanks; all of them "
                   "if there was no grant."),
    added_text("reason", "Why it was refused, as in `changes`; empty if it was not.", 40),
    added_text("code", "The known error, such as `AADSTS65001`; empty if there is none.", 100),
    Column("message", Text, nullable=False, default="",
           comment="The answer if it was not a grant; otherwise what was odd about the grant, or "
                   "empty. At most 1000 characters."),
    Index(None, "application", "tenant", "at"),
    comment="One row for each probe, which asks for the canary's grant to see what the provider "
            "honours.",
)

credentials = Table(
    "credentials", metadata,
    _application(),
    Column("provider", String(20), primary_key=True, comment="Its connector's provider."),
    Column("name", Exact, primary_key=True,
           comment="Its name at Nylas, as the tenants table has it."),
    Column("credential_type", String(20), nullable=False,
           comment="As Nylas names it: `serviceaccount`, `adminconsent` or `connector`, which is "
                   "not written yet."),
    Column("credential_id", String(100), nullable=False, comment="Its id at Nylas."),
    Column("fingerprint", String(64), nullable=False,
           comment="HMAC-SHA-256 of its secret, in hex, with a key derived from the API key."),
    Column("registered_at", Moment, nullable=False,
           comment="When the ledger first knew it under this id."),
    Column("rotated_at", Moment, comment="When its secret last changed; null if it never did."),
    comment="What `register_credentials` has registered at Nylas, by name.",
)

former_credentials = Table(
    "former_credentials", metadata,
    _application(),
    Column("provider", String(20), primary_key=True, comment="Its connector's provider."),
    Column("credential_id", String(100), primary_key=True, comment="Its id at Nylas."),
    Column("name", Exact, nullable=False, comment="The name that it had."),
    Column("replaced_at", Moment, nullable=False,
           comment="When the ledger first knew another id under its name."),
    comment="Credentials whose names belong to others now, as they were made anew. Invalid grants "
            "that still carry such an id are renewed under the new one.",
)

entries = Table(
    "entries", metadata,
    _application(primary_key=False),
    Column("provider", String(20), nullable=False, comment="The tenant's provider."),
    Column("email", Exact, nullable=False, comment="The mailbox."),
    Column("tenant", Exact, nullable=False, comment="The tenant."),
    Column("scopes", Text, nullable=False, comment="The scopes asked for; empty for Microsoft."),
    Column("credential_id", String(100),
           comment="The credential at Nylas; null while it is not registered."),
    Column("row_number", BigInteger, nullable=False, comment="From 1, in the warehouse's order."),
    Index(None, "application", "provider", "email"),
    comment="The entries of the roster that was read last, replaced by the next. Unlogged on "
            "PostgreSQL: empty after a crash of the server.",
)

rejects = Table(
    "rejects", metadata,
    Column("id", ID, primary_key=True, autoincrement=True, comment="Names the row."),
    _run_id(),
    Column("row_number", BigInteger, nullable=False, comment="From 1, in the warehouse's order."),
    Column("tenant", Text, nullable=False, comment="As written, cut at 200 characters."),
    Column("email", Text, nullable=False,
           comment="As written, cut at 200 characters; for duplicates the normalised address."),
    Column("provider", String(20), comment="The tenant's provider; null if it is unknown."),
    Column("mailbox", Exact,
           comment="The normalised address, whose grant is left alone; null if it cannot be read."),
    Column("reason", String(40), nullable=False,
           comment="`unreadable_date`, `empty_tenant`, `unknown_tenant`, `empty_email`, "
                   "`bad_address`, `not_text`, `provider_mismatch`, `unknown_credential`, "
                   "`scopes_not_allowed`, `unreadable_scopes`, `duplicate` or "
                   "`conflicting_duplicate`."),
    Column("sentence", Text, nullable=False, comment="What the row's author should change."),
    Index(None, "run_id", "mailbox"),
    comment="The roster's rows that could not become entries.",
)

observed = Table(
    "observed", metadata,
    _application(primary_key=False),
    Column("grant_id", String(100), nullable=False, comment="The grant at Nylas."),
    Column("provider", String(20), nullable=False, comment="Its provider."),
    Column("email", Exact, nullable=False, comment="The mailbox."),
    Column("status", String(10), nullable=False, comment="At Nylas: `valid` or `invalid`."),
    Column("scopes", Text, nullable=False, comment="As in `grants`."),
    Column("credential_id", String(100), comment="The credential that made it; may be null."),
    Column("blocked", Boolean, nullable=False, comment="Whether Nylas has blocked it."),
    Column("created_at", BigInteger, nullable=False, comment="When it was made; Unix seconds."),
    Column("updated_at", BigInteger, nullable=False,
           comment="When it was last authenticated; Unix seconds."),
    added_text("address", "As in `grants`."),
    Column("alias_of", Exact, comment="As in `grants`; mostly null."),
    Index(None, "application", "provider", "email"),
    comment="The listing of grants that was read last, replaced by the next. Unlogged on "
            "PostgreSQL: empty after a crash of the server.",
)

unreadable_grants = Table(
    "unreadable_grants", metadata,
    Column("id", ID, primary_key=True, autoincrement=True, comment="Names the row."),
    _application(primary_key=False),
    # no foreign key: the rows stay until the next listing, and old runs may be deleted before
    Column("run_id", ID, nullable=False, comment="The run that listed it, `runs.id`."),
    Column("grant_id", String(100), comment="The grant at Nylas; null if it cannot be read."),
    Column("provider", String(20), comment="Its provider; null if it cannot be read."),
    Column("email", Exact, comment="The mailbox; null if it cannot be read."),
    Column("fault", Text, nullable=False,
           comment="The field of the item that cannot be read, and why; never its value."),
    Index(None, "run_id", "email"),
    Index(None, "run_id", "grant_id"),
    comment="Items of the newest listing that could not be read as grants. They exist: their "
            "mailboxes are left alone, and what the ledger knew about their grants is kept.",
)

grants = Table(
    "grants", metadata,
    _application(),
    Column("provider", String(20), primary_key=True,
           comment="The provider; foreign grants may have others than `google` and `microsoft`."),
    Column("email", Exact, primary_key=True, comment="The mailbox."),
    Column("grant_id", String(100), nullable=False, comment="The grant at Nylas."),
    Column("status", String(10), nullable=False, comment="At Nylas: `valid` or `invalid`."),
    Column("scopes", Text, nullable=False,
           comment="Sorted and separated by blanks, without the identity scopes."),
    Column("credential_id", String(100), comment="The credential that made it; may be null."),
    Column("blocked", Boolean, nullable=False, comment="Whether Nylas has blocked it."),
    Column("created_at", BigInteger, nullable=False,
           comment="When it was made, in Unix seconds by Nylas' clock."),
    Column("updated_at", BigInteger, nullable=False,
           comment="When it was last authenticated, in Unix seconds by Nylas' clock."),
    Column("owned", Boolean, nullable=False, default=False,
           comment="Whether we made it, or found it exactly as the roster asks."),
    Column("tenant", Exact, comment="The tenant of its last entry; null if it never had one."),
    Column("orphan_since", Moment,
           comment="When a plan first found it, as an owned grant, without an entry; null while "
                   "it has one, and for foreign grants."),
    Column("gone_at", Moment,
           comment="When a listing first did not have it; null while it exists."),
    added_text("address",
               "The address as Nylas writes it, which is sent when it is authenticated again; "
               "empty if it is the same as `email`."),
    Column("alias_of", Exact,
           comment="The mailbox that Nylas lists the grant under, if this one is another address "
                   "of it; otherwise null."),
    Index("ix_grants_alias_of", "application", "provider", "alias_of",
          postgresql_where=text("alias_of IS NOT NULL"),
          sqlite_where=text("alias_of IS NOT NULL")),
    comment="The application's grants, one row for each mailbox. A grant that is missing from a "
            "listing is kept as gone until you delete the row.",
)

escrow = Table(
    "escrow", metadata,
    _application(),
    Column("provider", String(20), primary_key=True, comment="`google` or `microsoft`."),
    Column("email", Exact, primary_key=True, comment="The mailbox."),
    Column("tenant", Exact, nullable=False, comment="The entry's tenant when it was refused."),
    Column("reason", Text, nullable=False,
           comment="Why it was refused last: `mailbox_unknown`, `grant_blocked`, "
                   "`delegation_missing`, `secret_invalid`, `consent_missing`, "
                   "`tenant_misconfigured` or `other`; `not_served` if it gets no answer."),
    added_text("code", "The known error of that refusal; empty if there is none.", 100),
    added_text("message", "That refusal in a sentence, at most 400 characters; empty in old rows."),
    added_text("scopes", "The scopes that were asked for."),
    Column("credential_id", String(100),
           comment="The credential that was used. Null in rows of before revision 0004, which "
                   "do not count."),
    Column("refusals", Integer, nullable=False,
           comment="How often it was refused in a row; 0 while it gets no answer, but not for "
                   "long yet."),
    Column("first_refused_at", Moment, nullable=False,
           comment="When the first of those refusals was, or since when it gets no answer."),
    Column("due_at", Moment,
           comment="When it may be tried again: after 6 hours, 12 hours, then daily. Null once it "
                   "is given up: after 14 refusals and 28 days, if the mailbox itself is the "
                   "reason."),
    comment="Mailboxes that were refused; all others come before them. A row is deleted when a "
            "change succeeds, when the mailbox is as the roster asks or leaves the roster, and "
            "when its tenant becomes ready or its credential's secret changes. It does not count "
            "while the roster asks for another tenant, scopes or credential.",
)

changes = Table(
    "changes", metadata,
    _run_id(primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False,
           comment="From 1, in plan order: broken grants, missing ones, other scopes, orphans."),
    Column("kind", String(10), nullable=False, comment="`create`, `renew`, `rescope` or `revoke`."),
    Column("provider", String(20), nullable=False, comment="The mailbox's provider."),
    Column("email", Exact, nullable=False, comment="The mailbox."),
    Column("tenant", Exact, comment="The entry's tenant, or its last one; null if it had none."),
    Column("scopes", Text, nullable=False,
           comment="The scopes asked for, sorted and separated by blanks; for a `revoke` those "
                   "that the grant has."),
    Column("credential_id", String(100), comment="The credential at Nylas; null for a `revoke`."),
    Column("grant_id", String(100),
           comment="The grant before the change, then the one after it; null while there is none."),
    Column("state", String(10), nullable=False,
           comment="`planned`, `held` or `done`. Runs of another mode than `apply` leave it "
                   "`planned`; a `held` change is never applied."),
    Column("outcome", String(10),
           comment="`granted`, `renewed`, `rescoped`, `refused` or `skipped`; null until it is "
                   "done."),
    added_text("reason",
               "Why it was refused (`mailbox_unknown`, `grant_blocked`, `delegation_missing`, "
               "`secret_invalid`, `consent_missing`, `tenant_misconfigured`, `not_served` or "
               "`other`) or "
               "skipped (`tenant_quarantined`, `awaiting_consent` or `awaiting_propagation`); or, "
               "if it was made, that Nylas answered with `another_grant` or "
               "`another_address`; otherwise empty.", 40),
    added_text("code", "The known error, such as `AADSTS65001`; empty if there is none.", 100),
    Column("message", Text, nullable=False, default="",
           comment="The reason in a sentence, at most 400 characters; empty without a reason."),
    Column("verified", String(10),
           comment="What reading back showed: `verified`, `drift`, or `unchecked` if the listing "
                   "did not show it and it was not asked for. Null before that, and if nothing "
                   "was made."),
    Column("done_at", Moment, comment="When it was done; null before that."),
    Column("grant_updated_at", BigInteger,
           comment="When Nylas authenticated the grant, in Unix seconds; null if nothing was "
                   "made."),
    Index(None, "run_id", "grant_id"),
    comment="The plan of each run: one row for each intended change, and what became of it.",
)

skips = Table(
    "skips", metadata,
    _run_id(primary_key=True),
    Column("provider", String(20), primary_key=True, comment="`google` or `microsoft`."),
    Column("email", Exact, primary_key=True, comment="The mailbox."),
    Column("tenant", Exact, comment="The entry's tenant, or its last one; null if it had none."),
    Column("grant_id", String(100), comment="Its grant; null if it has none."),
    Column("reason", String(40), nullable=False,
           comment="The first that applies of `tenant_disabled`, `grant_blocked`, "
                   "`grant_unreadable`, `awaiting_consent`, `awaiting_propagation`, "
                   "`tenant_quarantined`, `given_up`, `in_escrow`, `grant_shared`, "
                   "`credential_not_registered`, `credential_differs`, `roster_row_rejected` "
                   "and `in_grace`."),
    Column("detail", Text, nullable=False, default="",
           comment="Until when, or because of what; may be empty."),
    comment="Mailboxes that differ and were left as they are on purpose, by run. Foreign grants "
            "are not here but in the view `orphans`.",
)

batches = Table(
    "batches", metadata,
    _run_id(primary_key=True),
    Column("batch", Integer, primary_key=True, autoincrement=False, comment="From 1."),
    Column("first_seq", BigInteger, nullable=False, comment="Its first `changes.seq`."),
    Column("last_seq", BigInteger, nullable=False, comment="Its last `changes.seq`."),
    Column("claim", Integer, nullable=False, default=0,
           comment="How often it was claimed; only the task with the last claim may write."),
    Column("closed_at", Moment, comment="When all of it was done; null before that."),
    comment="The parts of a plan, one for each mapped task; only runs of mode `apply` have any.",
)

attempts = Table(
    "attempts", metadata,
    _run_id(primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False, comment="The `changes.seq`."),
    Column("number", Integer, primary_key=True, autoincrement=False,
           comment="From 1, over all tasks that worked on the change."),
    Column("claim", Integer, nullable=False, comment="The `batches.claim` that made it."),
    Column("intended_at", Moment, nullable=False, comment="When it was about to be made."),
    Column("ended_at", Moment,
           comment="When its end was recorded; null while it is active, or if the process died."),
    Column("outcome", String(20),
           comment="`granted`, `renewed`, `rescoped`, `refused` or `skipped` (nothing was sent), "
                   "which end the change; `retried` or `stopped`, which do not. Null if "
                   "`ended_at` is null."),
    Column("http_status", Integer,
           comment="The answer's status; 0 if there was none, null if `ended_at` is null."),
    Column("message", Text, nullable=False, default="",
           comment="The error in a sentence, at most 400 characters; empty if there is none."),
    comment="One row for each API call for a change, written before the call and again after it.",
)

# fmt: on

STAGING = (entries, observed)
"""Tables with one run's input; unlogged on PostgreSQL, because a run can always read it again."""

INTERNAL = (*STAGING, batches, leases, budgets)
"""Tables that may change with any release; readers can rely on all others."""
