from typing import Literal, cast

RelayDomainRecipients = Literal["any", "list", "verify"]


def check_relay_domain_recipients(value: str) -> RelayDomainRecipients:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(RelayDomainRecipients, value)
