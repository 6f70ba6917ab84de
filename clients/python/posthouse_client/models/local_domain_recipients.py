from typing import Literal, cast

LocalDomainRecipients = Literal["accounts", "any", "list", "verify"]


def check_local_domain_recipients(value: str) -> LocalDomainRecipients:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(LocalDomainRecipients, value)
