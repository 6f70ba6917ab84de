from typing import Literal, cast

DkimAlgorithm = Literal["ed25519-sha256", "rsa-sha256"]


def check_dkim_algorithm(value: str) -> DkimAlgorithm:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(DkimAlgorithm, value)
