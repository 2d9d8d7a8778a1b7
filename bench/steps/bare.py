"""DuckDB's bare set comparison, the measure for staging and planning."""

from __future__ import annotations

import statistics
import time

import duckdb

from bench.crowd import AS_WRITTEN, CREDENTIAL_ID, MAIL, TENANT, Crowd, numbers

_REPEATS = 5
_COMPARE = """
CREATE OR REPLACE TABLE differing AS
SELECT coalesce(d.provider, a.provider) AS provider, coalesce(d.email, a.email) AS email,
       d.tenant, d.scopes, d.credential_id, a.grant_id, a.status, a.scopes AS granted_scopes
FROM desired d FULL OUTER JOIN actual a ON d.provider = a.provider AND d.email = a.email
WHERE a.email IS NULL
   OR (d.email IS NULL AND a.owned)
   OR (d.email IS NOT NULL AND (a.status <> 'valid' OR a.scopes <> d.scopes
       OR a.credential_id IS DISTINCT FROM d.credential_id))
"""


def measured(rows: int, *, empty: bool) -> dict[str, float]:
    """The median of five comparisons of loaded tables, with the differing rows written down."""
    crowd = Crowd(rows)
    email = f"lower({AS_WRITTEN})"
    database = duckdb.connect()
    database.execute(
        f"CREATE TABLE desired AS SELECT 'google' AS provider, {email} AS email, "
        f"{TENANT} AS tenant, '{MAIL}' AS scopes, '{CREDENTIAL_ID}' AS credential_id "
        f"FROM {numbers('duckdb', 0, rows)}"
    )
    last = crowd.missing if empty else crowd.end
    database.execute(
        f"CREATE TABLE actual AS SELECT 'google' AS provider, {email} AS email, "
        f"md5(CAST(n AS VARCHAR)) AS grant_id, {crowd.status()} AS status, "
        f"{crowd.scopes()} AS scopes, '{CREDENTIAL_ID}' AS credential_id, {crowd.owned()} AS owned "
        f"FROM {numbers('duckdb', crowd.missing, last)}"
    )
    took = []
    for _ in range(_REPEATS):
        begun = time.monotonic()
        database.execute(_COMPARE)
        took.append(time.monotonic() - begun)
    found = database.execute("SELECT count(*) FROM differing").fetchone()
    return {"seconds": statistics.median(took), "differing": found[0] if found else 0}
