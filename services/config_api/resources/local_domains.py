"""The collection `/v1/local-domains`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from libs.smtp.address import canonical_domain
from services.config_api.problems import invalid_field
from services.config_api.resources.aliases import followed
from services.config_api.resources.description import Body, CheckContext, Collection, Finding, UniqueKey, member, named
from services.config_api.resources.existing_recipients import existing_recipients, listed_recipients
from services.config_api.resources.fields import Domain, MailAddress, Model, address_key, fault
from services.config_api.resources.filters import exact
from services.config_api.resources.general import of_local_domains, postmasters
from services.config_api.resources.mailbox_servers import LmtpMailbox, Mailbox, SmtpMailbox
from services.config_api.resources.relay_host_checks import refuse_this_gateway


def _absolute(path: str) -> str:
    if ".." in path.split("/"):
        raise fault("path", "must not contain ..")
    return path.rstrip("/") or "/"


class MaildirMailbox(Mailbox):
    """Mail is written to a directory of relay's machine."""

    kind: Literal["maildir"] = Field(description="The mailbox is a directory.")
    path: Annotated[
        str,
        Field(
            max_length=1000,
            pattern=r"^/[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$",
            description="The absolute path of the directory that contains one Maildir for each recipient.",
            examples=["/var/mail/example.com"],
        ),
        AfterValidator(_absolute),
    ]


AnyMailbox = Annotated[SmtpMailbox | LmtpMailbox | MaildirMailbox, Field(discriminator="kind")]


_MAILBOXES = ("mailbox", "quarantine_mailbox")


class LocalDomain(Model):
    """A domain whose mail is delivered to a server or a directory."""

    name: Domain
    mailbox: AnyMailbox | None = Field(
        default=None, description="The mailbox of the domain. null means that its mail is held."
    )
    quarantine_mailbox: AnyMailbox | None = Field(
        default=None, description="The mailbox for quarantined mail. null means that it goes to mailbox, with a mark."
    )
    recipients: Literal["accounts", "list", "any", "verify"] = Field(
        default="accounts",
        description="Which addresses exist. accounts: those of accounts and aliases. list: also those of "
        "/v1/recipients. any: all. verify: also those that the mailbox server accepts, which is asked.",
    )
    catch_all: MailAddress | None = Field(
        default=None,
        description="The address that gets the mail for all addresses that do not exist. null means "
        "that this mail is refused.",
    )
    recipient_delimiter: Literal["+", "-", "_", "."] | None = Field(
        default=None,
        description="With +, mail for user+tag@ goes to user@, if that exists and user+tag@ does not. The tag stays "
        "in the address. null means that addresses have no tags.",
    )


async def _forbidden_maildirs(body: Body, check_context: CheckContext) -> Sequence[str]:
    """Returns the names of the members that are a maildir to which no mail may be written (F43)."""
    return [
        name
        for name in _MAILBOXES
        if body[name] is not None
        and body[name]["kind"] == "maildir"
        and not check_context.is_maildir_allowed(body[name]["path"])
    ]


async def check(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    findings = [
        Finding(f"/{name}/path", "maildir_root", "No mail may be written to this folder, so it is deferred.")
        for name in await _forbidden_maildirs(body, check_context)
    ]
    if body["mailbox"] is None:
        findings.append(Finding("/mailbox", "no_mailbox", "Without a mailbox, the mail of the domain is held."))
    findings += await existing_recipients(body["name"], body["recipients"], check_context)
    findings += await _catch_all(body, check_context)
    external = (await check_context.settings("settings/general"))["external_postmasters"]
    if not external:
        findings += await postmasters([body["name"]], check_context, "/name")
    if of_local_domains(external, [body["name"]]):
        findings.append(
            Finding("/name", "loop", "The external postmasters are postmasters of this domain, so their mail is held.")
        )
    return findings


async def _catch_all(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    if body["catch_all"] is None:
        return ()
    if body["recipients"] == "any":
        return [
            Finding(
                "/catch_all", "never_acts", "This mailbox never gets mail, because every address of the domain exists."
            )
        ]
    leads_back, ends = await followed(address_key(body["catch_all"]), "", check_context)
    if leads_back or not ends:
        return [
            Finding(
                "/catch_all",
                "no_account",
                "This address leads to no existing address, so mail for unknown addresses is refused.",
            )
        ]
    return ()


async def refuse(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Raises Problem 422 for a mailbox server that is a listener of this gateway, for a new maildir in a forbidden
    folder, and for `verify` in a domain that cannot use it.

    A forbidden path that is already stored causes only a warning, so that its domain can still be changed.
    """
    if body["recipients"] == "verify":
        _refuse_unverifiable(body)
    stored = await check_context.present("local-domains")
    for name in await _forbidden_maildirs(body, check_context):
        if member(stored, (name, "path")) != body[name]["path"]:
            raise invalid_field(
                f"/{name}/path", "maildir_root", "No mail may be written to this folder: see POSTHOUSE_MAILDIR_ROOTS."
            )
    for name in _MAILBOXES:
        if body[name] is not None and body[name]["kind"] != "maildir":
            await refuse_this_gateway(body[name], f"/{name}", check_context)
    return ()


def _refuse_unverifiable(body: Body) -> None:
    """Raises Problem 422 when no mailbox server can be asked which recipients exist, or when a catch-all contradicts
    `verify`.
    """
    if body["mailbox"] is None or body["mailbox"]["kind"] == "maildir":
        raise invalid_field(
            "/recipients", "nobody_to_ask", "verify needs a mailbox server: the mailbox must be of kind smtp or lmtp."
        )
    if body["catch_all"] is not None:
        raise invalid_field(
            "/catch_all",
            "verified_domain",
            "With verify, the mailbox server decides which addresses exist, so the catch-all must be configured there.",
        )


async def references(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Warns about accounts, aliases, DKIM keys, catch-alls, postmasters and listed recipients of a domain that is
    removed (F21).
    """
    at_domain = f"@{body['name']}"
    accounts = [
        account["login"]
        for account in await check_context.others("accounts")
        if any(address.endswith(at_domain) for address in account["addresses"])
    ]
    aliases = [
        alias["address"]
        for alias in await check_context.others("aliases")
        if any(address.endswith(at_domain) for address in (alias["address"], *alias["targets"]))
    ]
    keys = [key["selector"] for key in await check_context.matching("dkim-keys", "domain", body["name"])]
    catch_alls = [
        domain["name"]
        for domain in await check_context.others("local-domains")
        if domain["catch_all"] is not None and domain["catch_all"].endswith(at_domain)
    ]
    general = await check_context.settings("settings/general")
    postmasters = [address for address in general["external_postmasters"] if address.endswith(at_domain)]
    return [
        *named("domain_of_account", "The account {} has an address at this domain.", accounts),
        *named("domain_of_alias", "The alias {} is at this domain, or leads there.", aliases),
        *named("domain_of_dkim_key", "The DKIM key {} signs for this domain.", keys),
        *named("domain_of_postmaster", "The external postmaster {} is at this domain.", postmasters),
        *named("domain_of_catch_all", "The catch-all of {} is at this domain.", catch_alls),
        *await listed_recipients(body["name"], check_context),
    ]


LOCAL_DOMAINS = Collection(
    kind="local-domains",
    noun="LocalDomain",
    plural="LocalDomains",
    label="local domain",
    tag="local domains",
    model=LocalDomain,
    refuse=refuse,
    check=check,
    references=references,
    lost=lambda before, after: before if before["name"] != after["name"] else None,
    unique=lambda body: [UniqueKey("domain", body["name"], "/name")],
    filters={"name": exact("name", "The domain.", canonical_domain)},
)
