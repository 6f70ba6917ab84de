from typing import Literal, cast

SessionStage = Literal["connect", "data", "end_of_data", "helo", "junk_command", "mail", "pipelining", "rcpt"]


def check_session_stage(value: str) -> SessionStage:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(SessionStage, value)
