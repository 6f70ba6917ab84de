from typing import Literal, cast

ScanFailureAction = Literal["accept", "tempfail"]


def check_scan_failure_action(value: str) -> ScanFailureAction:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(ScanFailureAction, value)
