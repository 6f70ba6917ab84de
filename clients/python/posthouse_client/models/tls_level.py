from typing import Literal, cast

TlsLevel = Literal["encrypt", "may", "none", "verify"]


def check_tls_level(value: str) -> TlsLevel:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(TlsLevel, value)
