"""The ledger's views: the stable interface for readers of SQL (`docs/ledger.md`).

A view may use those before it, and one that is added needs a revision that makes it. Columns are
named one by one, since PostgreSQL reads a star when the view is made and SQLite when it is asked.
Only `orphans` and `fates` show e-mail addresses; `onboarding` shows what Microsoft said, which may
quote one.
"""

from __future__ import annotations

import re

VIEWS: dict[str, str] = {
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
    # Tokens, not ids, tell the order: a run may wait while a later one takes the lease before it.
    # Materialized, since PostgreSQL would otherwise count the entries anew for every orphan.
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
    # Several links may be open at once, so the newest word counts and not the newest link.
    "onboarding": """
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
}


def views(dialect: str) -> dict[str, str]:
    """The query of each view, in the order in which they can be made.

    SQLite reads `->>` from 3.38 on, and distributions in wide use have an older one.
    """
    if dialect != "sqlite":
        return VIEWS
    arrow = re.compile(r"(\w+\.\w+) ->> '(\w+)'")
    return {name: arrow.sub(r"json_extract(\1, '$.\2')", query) for name, query in VIEWS.items()}
