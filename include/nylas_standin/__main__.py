"""`python -m nylas_standin`: one line of JSON with its base URL, then service until SIGTERM."""

import argparse
import json
import signal
import sys

from nylas_standin.config import Config
from nylas_standin.redirect_uris import checked
from nylas_standin.server import serve


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nylas_standin", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--api-key", required=True)
    parser.add_argument("--client-id", default=Config().client_id)
    parser.add_argument("--seed-grants", type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=1, help="of all ids")
    parser.add_argument(
        "--redirect-uri",
        action="append",
        default=[],
        metavar="URI",
        help="one that the application has registered; may be given several times",
    )
    given = parser.parse_args()
    try:
        checked(given.redirect_uri)
    except ValueError as error:
        parser.error(str(error))
    return given


def main() -> int:
    """Serves, and returns 0 when told to end."""
    given = _arguments()
    config = Config(
        api_key=given.api_key,
        client_id=given.client_id,
        seed=given.seed,
        seed_grants=given.seed_grants,
        redirect_uris=tuple(given.redirect_uri),
    )

    def announce(base_url: str) -> None:
        line = {"base_url": base_url, "client_id": config.client_id}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    # uvicorn stops at these and then raises them again, which would end the process by signal;
    # and a process that is still seeding has to end as well.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    serve(config, given.host, given.port, announce)
    return 0


if __name__ == "__main__":
    sys.exit(main())
