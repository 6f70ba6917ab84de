from typing import Literal, cast

ReturnedContent = Literal["full", "headers"]


def check_returned_content(value: str) -> ReturnedContent:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(ReturnedContent, value)
