from typing import Literal, cast

ExportConfigurationFormat = Literal["json", "yaml"]


def check_export_configuration_format(value: str) -> ExportConfigurationFormat:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(ExportConfigurationFormat, value)
