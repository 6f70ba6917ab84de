from typing import Literal, cast

TlsPolicy = Literal["dane", "implicit", "mta-sts", "none", "opportunistic", "required"]


def check_tls_policy(value: str) -> TlsPolicy:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(TlsPolicy, value)
