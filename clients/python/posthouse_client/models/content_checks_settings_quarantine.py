from typing import Literal, cast

ContentChecksSettingsQuarantine = Literal["hold", "mailbox", "mark"]


def check_content_checks_settings_quarantine(value: str) -> ContentChecksSettingsQuarantine:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(ContentChecksSettingsQuarantine, value)
