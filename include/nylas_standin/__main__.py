"""`python -m nylas_standin` prints a line of JSON with its base URL, and serves until SIGTERM."""

import argparse
import json
import os
import signal
import sys

from nylas_standin.config import Config
from nylas_standin.server import serve


def _arguments() -> tuple[Config, str, int]:
    parser = argparse.ArgumentParser(prog="nylas_standin", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    parser.add_argument(
        "--api-key",
        default=os.environ.get("STANDIN_API_KEY"),  # noqa: TID251 - a command of its own
        help="default: $STANDIN_API_KEY, which does not show in the list of processes",
    )
    parser.add_argument("--client-id", default=Config().client_id)
    parser.add_argument("--seed-grants", type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=1, help="of all generators of ids")
    parser.add_argument(
        "--redirect-uri",
        action="append",
        default=[],
        metavar="URI",
        help="a registered redirect URI of the application; can be repeated",
    )
    given = parser.parse_args()
    if not given.api_key:
        parser.error("put an API key into the environment as STANDIN_API_KEY, or name --api-key")
    try:
        config = Config(
            api_key=given.api_key,
            client_id=given.client_id,
            seed=given.seed,
            seed_grants=given.seed_grants,
            redirect_uris=tuple(given.redirect_uri),
        )
    except ValueError as error:
        parser.error(str(error))
    return config, given.host, given.port


def main() -> int:
    """Serves until SIGTERM or SIGINT, which end the process with status 0."""
    config, host, port = _arguments()

    def announce(base_url: str) -> None:
        line = {"base_url": base_url, "client_id": config.client_id}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    # uvicorn stops at these signals and then raises them again, which would end the process with
    # a signal instead of status 0. A process that is still seeding must end too.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    serve(config, host, port, announce)
    return 0


if __name__ == "__main__":
    sys.exit(main())
