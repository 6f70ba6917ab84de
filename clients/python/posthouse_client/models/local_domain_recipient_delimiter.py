from typing import Literal, cast

LocalDomainRecipientDelimiter = Literal["+", "-", ".", "_"]


def check_local_domain_recipient_delimiter(value: str) -> LocalDomainRecipientDelimiter:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(LocalDomainRecipientDelimiter, value)
