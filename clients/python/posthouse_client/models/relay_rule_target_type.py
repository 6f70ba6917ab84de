from typing import Literal, cast

RelayRuleTargetType = Literal["address", "domain"]


def check_relay_rule_target_type(value: str) -> RelayRuleTargetType:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(RelayRuleTargetType, value)
