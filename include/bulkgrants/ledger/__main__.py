"""`python -m bulkgrants.ledger upgrade --url URL` brings a ledger to the revision of this code."""

from __future__ import annotations

import argparse
import os
import sys

from sqlalchemy.exc import ArgumentError

from bulkgrants.errors import BulkgrantsError
from bulkgrants.ledger.database import open_ledger, shown
from bulkgrants.ledger.upgrade import upgrade


def main() -> int:
    """Run the command. A URL in the environment does not show in the list of processes."""
    parser = argparse.ArgumentParser(prog="python -m bulkgrants.ledger", description=__doc__)
    parser.add_argument("command", choices=["upgrade"])
    parser.add_argument(
        "--url",
        default=os.environ.get("BULKGRANTS_LEDGER_URL"),  # noqa: TID251 - a command, no operator
        help="SQLAlchemy URL of the ledger; default: $BULKGRANTS_LEDGER_URL",
    )
    arguments = parser.parse_args()
    if not arguments.url:
        parser.error("name the ledger with --url or BULKGRANTS_LEDGER_URL")
    try:
        engine = open_ledger(arguments.url)
        upgrade(engine)
    except ArgumentError:
        parser.error("the ledger's URL is not one that SQLAlchemy understands")
    except BulkgrantsError as error:
        parser.error(str(error))
    sys.stdout.write(f"The ledger at {shown(engine.url)} is up to date.\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
