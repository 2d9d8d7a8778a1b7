"""`python -m bulkgrants.ledger upgrade` brings a ledger to the revision of this code.

The ledger's URL is in the environment, in BULKGRANTS_LEDGER_URL.
"""

from __future__ import annotations

import argparse
import os
import sys

from bulkgrants.errors import BulkgrantsError
from bulkgrants.ledger.database import has_password, ledger_url, open_ledger, shown
from bulkgrants.ledger.upgrade import upgrade


def main() -> int:
    """Run the command. A URL in the environment does not show in the list of processes."""
    parser = argparse.ArgumentParser(prog="python -m bulkgrants.ledger", description=__doc__)
    parser.add_argument("command", choices=["upgrade"])
    parser.add_argument(
        "--url",
        default="",
        help="SQLAlchemy URL of the ledger, if it has no password; default: $BULKGRANTS_LEDGER_URL",
    )
    given = parser.parse_args().url
    url = given or os.environ.get("BULKGRANTS_LEDGER_URL")  # noqa: TID251 - a command, no operator
    if not url:
        parser.error("put the ledger's URL into the environment as BULKGRANTS_LEDGER_URL")
    try:
        if given and has_password(ledger_url(given)):
            parser.error(
                "every user of this machine can read a password on a command line; put the URL "
                "into the environment as BULKGRANTS_LEDGER_URL, and change the password"
            )
        engine = open_ledger(url)
        upgrade(engine)
    except BulkgrantsError as error:
        parser.error(str(error))
    sys.stdout.write(f"The ledger at {shown(engine.url)} is up to date.\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
