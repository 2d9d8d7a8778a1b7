"""The steps of a tenant's onboarding: take up, check the manifest, ask for consent, announce."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, BaseOperatorLink, Context
from airflow.sdk.exceptions import AirflowSkipException

from bulkgrants.azure.manifest import MAX_BYTES, Manifest, read_manifest
from bulkgrants.azure.preflight import Weight, check_manifest
from bulkgrants.errors import Misconfigured
from bulkgrants.ledger.onboarding import begin_anew, take_up
from bulkgrants.ledger.rights import keep_hold, release_hold, writing
from bulkgrants.model import Awaiting, Onboarding
from bulkgrants.onboarding.propagation import require_probable
from bulkgrants.onboarding.waiting import AwaitAnswer, MakeLink, not_taken_up, step_of
from bulkgrants.ports import utc_now
from bulkgrants_airflow.consent_links import ConsentLink, ask_admin
from bulkgrants_airflow.defaults import TENANT_READY
from bulkgrants_airflow.operators.base import TenantOperator, saying_clearly
from bulkgrants_airflow.operators.credentials import CredentialReference
from bulkgrants_airflow.workspace import Workspace, run_key


class TakeUpTenantsOperator(BaseOperator):
    """Reads the tenants table, and holds for this run the tenants that are not ready.

    A tenant that another run has taken up stays with that run. A tenant whose admin refused is
    taken up only if the param `tenants` names it. Fails if the API key is that of another
    application than its connection names.
    """

    def execute(self, context: Context) -> list[dict[str, object]]:
        """References `{"tenant", "credential"}`, one for each tenant; no secrets."""
        from bulkgrants.rosters.tenants import read_tenants, require_known  # noqa: PLC0415 - imports pandas

        names = context["params"].get("tenants") or ()
        with saying_clearly():
            workspace = Workspace.open()
            source = workspace.tenants()
            listed = read_tenants(workspace.warehouse(), source)
            require_known(names, listed, source)
            workspace.require_application()
            taken = take_up(
                workspace.ledger,
                workspace.application,
                run_key(context),
                utc_now(),
                listed=listed,
                names=names,
            )
        for name in sorted({*names} - {one.tenant for one in taken}):
            self.log.info("Tenant %s is ready or disabled; there is nothing to do for it", name)
        for one in taken:
            self.log.info("Tenant %s awaits %s", one.tenant, one.awaiting)
        return [{"tenant": one.tenant, "credential": _reference(one).shown()} for one in taken]


def _reference(one: Onboarding) -> CredentialReference:
    return CredentialReference(
        one.provider, one.credential, one.secret_conn_id, one.microsoft_tenant
    )


class CheckManifestOperator(TenantOperator):
    """Checks the Azure app manifest that the tenant names, before its admin is asked.

    If something would make the consent fail or the grants useless, it fails and says what to change
    in the Azure portal. Anything less is a warning in the log. Skips a tenant that does not name a
    manifest.
    """

    def work(self, workspace: Workspace, onboarding: Onboarding, context: Context) -> int:  # noqa: ARG002 - the base's interface
        """How many findings there are, all of them warnings."""
        if not onboarding.azure_manifest:
            raise AirflowSkipException(f"The tenant {self.tenant} does not name an Azure manifest.")
        findings = check_manifest(
            _manifest(workspace.settings.manifests_folder, onboarding.azure_manifest),
            required=onboarding.required,
            base_url=workspace.nylas.base_url,
            now=utc_now(),
        )
        for finding in findings:
            self.log.warning("%s: %s %s", finding.weight, finding.what, finding.change)
        musts = [one for one in findings if one.weight is Weight.MUST]
        if musts:
            raise Misconfigured(
                f"The Azure app of the tenant {self.tenant} is not ready for consent: "
                + " ".join(f"{one.what} {one.change}" for one in musts[:5])
            )
        return len(findings)


def _manifest(folder: Path, name: str) -> Manifest:
    """The file. Its name has no path in it: the reader of the tenants table checks that."""
    try:
        with (folder / name).open(encoding="utf-8") as file:
            text = file.read(MAX_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"The Azure manifest {name} cannot be read in {folder} ({type(error).__name__}); put "
            "the exported file there, or correct `azure_manifest` in the tenants table."
        ) from None
    return read_manifest(text, name=name)


class RequestConsentOperator(TenantOperator):
    """Makes the consent link of a Microsoft tenant, records the consent as pending, shows the link.

    The link is in the log and on a button of the task, and the notifier of the settings sends it.
    Links are not stored, so if this task is repeated it makes a new one; the older ones stay valid.
    A link that an earlier run has sent is left as it is, until a reminder is due: otherwise each
    run would send another while no triggerer is running. Before the first link it looks at the
    canary, without which a consent leads nowhere. Skips a tenant that does not await consent. Run
    `RegisterCredentialOperator` for the tenant first.
    """

    operator_extra_links: Sequence[BaseOperatorLink] = (ConsentLink(),)

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**kwargs)
        self.link: str | None = None

    def work(self, workspace: Workspace, onboarding: Onboarding, context: Context) -> str | None:
        """The link; None if there is one from an earlier run, or an answer, as the sensor finds."""
        if onboarding.awaiting is not Awaiting.CONSENT:
            raise AirflowSkipException(f"The tenant {self.tenant} does not await consent.")
        hold = onboarding.held_by(run_key(context))
        if onboarding.stop is not None:  # a person has cleared this task to start over
            with writing(workspace.ledger, hold, utc_now()) as write:
                begin_anew(write)
            onboarding = workspace.onboarding(self.tenant)
        if onboarding.since is None:
            release_hold(workspace.ledger, hold)
            raise not_taken_up(onboarding)
        keep_hold(workspace.ledger, hold, utc_now())
        require_probable(workspace.ledger, workspace.single_sender(), onboarding)
        terms, key_id = workspace.settings.consent, workspace.key_id
        match step_of(workspace.ledger, onboarding, terms, utc_now(), key_id):
            case MakeLink(is_reminder=again):
                self.link = ask_admin(workspace, onboarding, context, is_reminder=again)
            case AwaitAnswer(until, asked_by) if asked_by not in {"", hold.run_key}:
                self.log.info(
                    "The run %s has sent a link that is still valid; the next one is due at %s "
                    "UTC. To send one now, trigger onboard_tenants with `tenants` set to %s",
                    asked_by,
                    f"{until:%Y-%m-%d %H:%M}",
                    self.tenant,
                )
            case AwaitAnswer():
                self.link = ask_admin(workspace, onboarding, context, is_reminder=True)
            case _:
                self.log.info("There is an answer already")
        return self.link


class AnnounceReadyOperator(TenantOperator):
    """Releases the tenant, and emits an event of the asset `TENANT_READY` with its name.

    A DAG that is scheduled on that asset then starts, for example a first reconcile of the tenant.
    """

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(outlets=[TENANT_READY], **kwargs)

    def work(self, workspace: Workspace, onboarding: Onboarding, context: Context) -> None:
        """Skips the task, and emits no event, if the tenant awaits something again."""
        release_hold(workspace.ledger, onboarding.held_by(run_key(context)))
        if onboarding.awaiting is not None:
            raise AirflowSkipException(
                f"The tenant {self.tenant} awaits {onboarding.awaiting} again."
            )
        context["outlet_events"][TENANT_READY].extra = {"tenant": self.tenant}
