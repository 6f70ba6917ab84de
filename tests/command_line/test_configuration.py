"""`posthouse config set` converts each value to the type that the section has at present."""

from __future__ import annotations

import pytest

from services.command_line.configuration import _operation, with_parsed_lists
from services.command_line.failures import CommandError, ExitStatus

CURRENT = {
    "external_postmasters": [],
    "listeners": {"ports": [25], "banner": "ESMTP"},
    "relay_host": None,
    "zones": [{"zone": "bl.test"}],
}


@pytest.mark.parametrize(
    ("patch", "sent"),
    [
        ({"external_postmasters": "a@b.test"}, {"external_postmasters": ["a@b.test"]}),
        ({"external_postmasters": "a@b.test,c@d.test"}, {"external_postmasters": ["a@b.test", "c@d.test"]}),
        ({"external_postmasters": ""}, {"external_postmasters": []}),
        ({"external_postmasters": ["a@b.test"]}, {"external_postmasters": ["a@b.test"]}),
        ({"external_postmasters": None}, {"external_postmasters": None}),
        ({"listeners": {"ports": 2525}}, {"listeners": {"ports": [2525]}}),
        ({"listeners": {"ports": "25,2525"}}, {"listeners": {"ports": [25, 2525]}}),
        ({"listeners": {"banner": "a,b"}}, {"listeners": {"banner": "a,b"}}),
        ({"zones": {"zone": "x.test"}}, {"zones": [{"zone": "x.test"}]}),
        ({"relay_host": {"host": "a,b"}, "unknown": "x"}, {"relay_host": {"host": "a,b"}, "unknown": "x"}),
    ],
)
def test_a_list_accepts_one_value_and_several_values_with_commas(
    patch: dict[str, object], sent: dict[str, object]
) -> None:
    assert with_parsed_lists(patch, CURRENT) == sent


def test_the_error_for_an_incomplete_section_name_contains_the_complete_name() -> None:
    with pytest.raises(CommandError, match=r"no section 'profile', but there is general.profile; the sec") as refused:
        _operation("profile", "update")
    assert refused.value.status is ExitStatus.USAGE
    with pytest.raises(CommandError, match=r"no section 'nonsense'; the sections are"):
        _operation("nonsense", "update")
