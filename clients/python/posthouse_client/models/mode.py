from typing import Literal, cast

Mode = Literal["enforce", "off", "shadow"]


def check_mode(value: str) -> Mode:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(Mode, value)
