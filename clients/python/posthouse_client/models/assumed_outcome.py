from typing import Literal, cast

AssumedOutcome = Literal["found", "no_answer", "none"]


def check_assumed_outcome(value: str) -> AssumedOutcome:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(AssumedOutcome, value)
