from typing import Literal, cast

SpamFactsAction = Literal["add_header", "error", "greylist", "no_action", "reject", "rewrite_subject", "soft_reject"]


def check_spam_facts_action(value: str) -> SpamFactsAction:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(SpamFactsAction, value)
