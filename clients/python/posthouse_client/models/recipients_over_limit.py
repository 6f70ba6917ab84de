from typing import Literal, cast

RecipientsOverLimit = Literal["defer_excess", "reject_message"]


def check_recipients_over_limit(value: str) -> RecipientsOverLimit:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(RecipientsOverLimit, value)
