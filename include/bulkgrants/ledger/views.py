"""The ledger's views: the stable interface for people who query it with SQL (`docs/ledger.md`).

Here is the newest form of each view, with the meaning of its columns. The revisions make the views
from their own copies of the SQL, so a change here also needs a new revision. A view may use those
before it. Columns are named one by one, because PostgreSQL expands a star when the view is made and
SQLite when it is queried. On SQLite `->>` is `json_extract`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class View:
    """A view as readers see it."""

    meaning: str
    columns: dict[str, str]
    """What each column means."""
    query: str


VIEWS: dict[str, View] = {
    "run_counts": View(
        meaning="One row for each run, with its counts as columns. It shows no address.",
        columns={
            "run_id": "`runs.id`.",
            "application": "The Nylas application, by its client id.",
            "key": "DAG id and run id.",
            "kind": "`reconcile` or `audit`.",
            "mode": "`apply`, `dry_run` or `audit`.",
            "mode_reason": "Why it did nothing at all; empty if it continued.",
            "roster_date": "The roster's day; null for a table without days.",
            "whole": "Whether it was for every tenant and mailbox.",
            "opened_at": "When it first tried to begin.",
            "planned_at": "When its plan was complete; null before that.",
            "closed_at": "When it ended; null while it is active, or if it was killed.",
            "entries": "Entries of the whole roster; null until read.",
            "rejected": "Rejected rows of the whole roster; null until read.",
            "observed": (
                "Mailboxes with a grant in the listing; null until the listing is complete."
            ),
            "unchanged": "Mailboxes that were as they should be.",
            "foreign_grants": "Grants without an entry that are not owned.",
            "creates": "Planned changes of kind `create`.",
            "renews": "Planned changes of kind `renew`.",
            "rescopes": "Planned changes of kind `rescope`.",
            "revokes": "Changes of kind `revoke`; they are held, and nothing is deleted.",
            "granted": (
                "Changes with the outcome `granted`; outcomes are 0 until the run is closed."
            ),
            "renewed": "Changes with the outcome `renewed`.",
            "rescoped": "Changes with the outcome `rescoped`.",
            "refused": "Changes with the outcome `refused`.",
            "skipped": "Changes with the outcome `skipped`: they were planned, then overtaken.",
            "left_open": "Planned changes that were not done when the run was closed.",
            "verified": "Changes that were found as they were made when they were read back.",
            "drifted": "Changes that were not found as they were made when they were read back.",
            "attempts": "API calls made, or about to be made, for changes.",
            "unreadable": "Items of the listing that could not be read as grants.",
        },
        query="""
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
               coalesce(CAST(r.counts ->> 'attempts' AS BIGINT), 0) AS attempts,
               coalesce(CAST(r.counts ->> 'unreadable' AS BIGINT), 0) AS unreadable
        FROM runs r
    """,
    ),
    "latest_runs": View(
        meaning="The newest run of each kind that has a plan. It shows no address.",
        columns={
            "run_id": "`runs.id`.",
            "application": "The Nylas application, by its client id.",
            "kind": "`reconcile` or `audit`.",
            "mode": "`apply`, `dry_run` or `audit`.",
            "roster_date": "The roster's day; null for a table without days.",
            "whole": "Whether it was for every tenant and mailbox.",
            "planned_at": "When its plan was complete.",
            "closed_at": "When it ended; null while it is active, or if it was killed.",
        },
        query="""
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
    ),
    # Tokens, not ids, show the order: a run may wait while a later one takes the lease before it.
    # Materialized, because PostgreSQL would otherwise count the entries again for every orphan.
    "latest_rosters": View(
        meaning="The roster that was read last, for each application. It shows no address.",
        columns={
            "application": "The Nylas application, by its client id.",
            "run_id": "The run that read it; its rejected rows are in `rejects`.",
            "roster_date": "Its day; null for a table without days.",
            "entries": "How many entries it has.",
            "rejected": "How many of its rows were rejected.",
            "complete": (
                "Whether all entries are still staged; false after a crash of PostgreSQL, until "
                "the next run reads its roster."
            ),
        },
        query="""
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
    ),
    "coverage": View(
        meaning=(
            "One row for each tenant: how many mailboxes of its newest roster have a grant. Empty "
            "while `latest_rosters.complete` is false. It shows no address."
        ),
        columns={
            "application": "The Nylas application, by its client id.",
            "tenant": "The tenant; it may have no entries.",
            "provider": "Its provider: `google` or `microsoft`.",
            "run_id": "The run that read the roster.",
            "roster_date": "The roster's day; null for a table without days.",
            "desired": "How many entries it has: the sum of the next four columns.",
            "granted": (
                "Those with a valid grant that is not blocked, whatever its scopes and credential."
            ),
            "missing": "Those without a grant.",
            "invalid": "Those whose grant is invalid and not blocked.",
            "blocked": "Those whose grant Nylas has blocked.",
            "in_escrow": "Those in escrow or given up, whether or not they have a grant.",
        },
        query="""
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
             AND x.tenant = e.tenant AND x.scopes = e.scopes AND x.credential_id = e.credential_id
             AND x.refusals > 0
            GROUP BY e.application, e.tenant
        ) s ON s.application = t.application AND s.tenant = t.tenant
        WHERE n.complete AND (t.listed OR s.desired IS NOT NULL)
    """,
    ),
    "orphans": View(
        meaning=(
            "Grants whose mailbox has no entry in the newest roster, both owned and foreign. Empty "
            "while `latest_rosters.complete` is false."
        ),
        columns={
            "application": "The Nylas application, by its client id.",
            "provider": (
                "The provider; foreign grants may have others than `google` and `microsoft`."
            ),
            "email": "The mailbox.",
            "tenant": "The tenant of its last entry; null if it never had one.",
            "grant_id": "The grant at Nylas.",
            "status": "At Nylas: `valid` or `invalid`.",
            "owned": "Whether it is owned; if not, it is foreign.",
            "orphan_since": (
                "When a plan first found it without an entry; null for foreign grants, and until "
                "a plan was made."
            ),
            "rejected": (
                "Whether its mailbox is in a rejected row of the roster; if so, it is left alone, "
                "and its grace does not end."
            ),
        },
        query="""
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
    ),
    "fates": View(
        meaning=(
            "What happened to each mailbox in each run, from changes, skips and rejected rows. "
            "There is no row for a mailbox that was as it should be, or for a rejected row "
            "without a readable address."
        ),
        columns={
            "run_id": "`runs.id`.",
            "application": "The Nylas application, by its client id.",
            "roster_date": "The roster's day; null for a table without days.",
            "provider": "The provider; null for a rejected row of an unknown tenant.",
            "email": "The mailbox.",
            "tenant": "The tenant; null for an orphan that never had one.",
            "grant_id": "The grant; null if it is not known.",
            "change": (
                "The planned `create`, `renew`, `rescope` or `revoke`; null for skips and rejected "
                "rows."
            ),
            "fate": (
                "`granted`, `renewed`, `rescoped`, `refused`, `skipped`, `rejected`, or "
                "`revoke held`; if the change was not done, `create planned`, `renew planned` "
                "or `rescope planned`."
            ),
            "reason": "The `reason` of `changes`, `skips` or `rejects`; empty if all went well.",
            "message": "The reason in a sentence, which may quote an address; may be empty.",
            "verified": (
                "What reading back showed: `verified`, `drift` or `unchecked`; null if nothing was "
                "read back."
            ),
            "happened_at": (
                "When the change was done; if it was not, when the plan was made; for a rejected "
                "row, when the run was opened."
            ),
        },
        query="""
        SELECT c.run_id, r.application, r.roster_date, c.provider, c.email, c.tenant, c.grant_id,
               c.kind AS change, coalesce(c.outcome, c.kind || ' ' || c.state) AS fate, c.message,
               c.verified, coalesce(c.done_at, r.planned_at) AS happened_at, c.reason
        FROM changes c
        JOIN runs r ON r.id = c.run_id
        UNION ALL
        SELECT s.run_id, r.application, r.roster_date, s.provider, s.email, s.tenant, s.grant_id,
               NULL AS change, 'skipped' AS fate, s.detail, NULL AS verified,
               r.planned_at AS happened_at, s.reason
        FROM skips s
        JOIN runs r ON r.id = s.run_id
        UNION ALL
        SELECT j.run_id, r.application, r.roster_date, j.provider, j.mailbox, j.tenant,
               NULL AS grant_id, NULL AS change, 'rejected' AS fate, j.sentence, NULL AS verified,
               r.opened_at AS happened_at, j.reason
        FROM rejects j
        JOIN runs r ON r.id = j.run_id
        WHERE j.mailbox IS NOT NULL
    """,
    ),
    # Several links may be open at once, so the newest answer counts, not the newest link.
    "onboarding": View(
        meaning=(
            "One row for each tenant that the tenants table lists: whether it is ready, and what "
            "it waits for."
        ),
        columns={
            "application": "The Nylas application, by its client id.",
            "tenant": "The tenant.",
            "provider": "Its provider: `google` or `microsoft`.",
            "enabled": "Whether anything is done for it.",
            "standing": (
                "`ready`; `awaiting consent` or `awaiting propagation`; `refused` by its admin or "
                "Microsoft, `expired` without an answer, or `unhonoured` after several consents "
                "that Microsoft did not honour, until a person runs `onboard_tenants` for it by "
                "name; `disabled`."
            ),
            "since": (
                "When its wait began; null once it is ready, and until `onboard_tenants` has taken "
                "it up."
            ),
            "consent": "The newest `consents.status`; null if none was asked for.",
            "link_expires_at": (
                "Until when its link can be answered; null unless `consent` is `pending`."
            ),
            "error": (
                "The error that Microsoft answered; empty without one, null if no consent was "
                "asked for."
            ),
            "error_description": (
                "The error in Microsoft's words, which may quote an address; empty or null "
                "likewise."
            ),
            "last_probe_at": "When a probe of its canary was last answered; null before that.",
            "missing": (
                "The required scopes that the canary's grant lacked then; empty if it had all, "
                "null before that."
            ),
            "ready_at": (
                "When its canary's grant carried all required scopes; null before that, after its "
                "consent was lost, and if nothing had to be probed."
            ),
        },
        query="""
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
    """,
    ),
}
