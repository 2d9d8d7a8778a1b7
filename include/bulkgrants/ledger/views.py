"""The ledger's views: the stable interface for readers of SQL (`docs/ledger.md`)."""

VIEWS: dict[str, str] = {
    "latest_runs": """
        SELECT r.* FROM runs r
        WHERE r.id = (
            SELECT max(n.id) FROM runs n WHERE n.application = r.application AND n.kind = r.kind
        )
    """,
    "orphans": """
        SELECT g.application, g.provider, g.email, g.tenant, g.grant_id, g.status, g.owned,
               g.orphan_since
        FROM grants g
        WHERE g.gone_at IS NULL AND NOT EXISTS (
            SELECT 1 FROM entries e
            WHERE e.application = g.application AND e.provider = g.provider AND e.email = g.email
        )
    """,
    "coverage": """
        SELECT e.application, e.tenant, count(*) AS desired,
               sum(CASE WHEN g.status = 'valid' AND NOT g.blocked THEN 1 ELSE 0 END) AS granted
        FROM entries e
        LEFT JOIN grants g
          ON g.application = e.application AND g.provider = e.provider AND g.email = e.email
         AND g.gone_at IS NULL
        GROUP BY e.application, e.tenant
    """,
    "fates": """
        SELECT c.run_id, c.provider, c.email, c.tenant,
               coalesce(c.outcome, c.kind || ' ' || c.state) AS fate, c.detail, c.verified
        FROM changes c
        UNION ALL
        SELECT s.run_id, s.provider, s.email, s.tenant, 'skipped' AS fate,
               CASE WHEN s.detail = '' THEN s.reason ELSE s.reason || ': ' || s.detail END,
               NULL AS verified
        FROM skips s
    """,
}
