"""Microsoft's side of admin consent: without it, no mailbox of a tenant can be reached."""

from nylas_standin.provider_errors import FAILURES, ProviderFailure
from nylas_standin.records import Credential


class Microsoft:
    """The tenants that consented: none, while there is no page on which an admin could."""

    def refusal(self, credential: Credential, email: str) -> ProviderFailure:  # noqa: ARG002 - the question stays when the answer changes
        """Why Microsoft would not give this application a token for that mailbox."""
        return FAILURES["consent_missing"]
