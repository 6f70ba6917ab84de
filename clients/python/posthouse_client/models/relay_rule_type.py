from typing import Literal, cast

RelayRuleType = Literal["recipient", "sender"]


def check_relay_rule_type(value: str) -> RelayRuleType:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(RelayRuleType, value)
