"""main.cf and master.cf are read as Postfix reads them."""

from __future__ import annotations

import pytest

from services.command_line.postfix.parameters import Parameters, read_main, read_master, split

MAIN = """
# A comment.
myhostname = mail.example.com
mynetworks = 127.0.0.0/8,
  # A comment within.
  [::1]/128
    192.0.2.0/24
relay_domains = $mydestination
    other.example
relay_domains = last.example
"""


def test_a_continued_line_is_joined_and_the_last_of_several_values_is_used() -> None:
    parameters = Parameters(read_main(MAIN))
    assert parameters.words("mynetworks") == ["127.0.0.0/8", "[::1]/128", "192.0.2.0/24"]
    assert parameters["relay_domains"] == "last.example"
    assert parameters["mydomain"] == "example.com"
    assert parameters.words("mydestination") == ["mail.example.com", "localhost.example.com", "localhost"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$a-$b", "1-2"),
        ("${a}x$(b)", "1x2"),
        ("$$a", "$a"),
        ("${a?yes}${none?no}", "yes"),
        ("${none:no}${a:yes}", "no"),
        ("${a?{yes}:{no}} ${none?{yes}:{no}}", "yes no"),
        ("$unknown.", "."),
        ("$loop", ""),
    ],
)
def test_variables_are_replaced_by_their_values(text: str, value: str) -> None:
    given = {"a": "1", "b": "2", "none": "", "loop": "$loop", "wanted": text}
    assert Parameters(given)["wanted"].replace("$loop", "") == value


def test_text_in_braces_is_not_split() -> None:
    assert split("inline:{ {a = b}, {c = d} }, hash:/x y") == ["inline:{ {a = b}, {c = d} }", "hash:/x", "y"]


def test_services_and_their_options_are_read() -> None:
    text = (
        "smtp inet n - y - - smtpd\n"
        "submission inet n - y - - smtpd\n  -o smtpd_sasl_auth_enable=yes\n  -o { mynetworks = a, b }\n"
        "pickup unix n - y 60 1 pickup\n"
    )
    smtp, submission = read_master(text)
    assert (smtp.name, smtp.command, smtp.overrides) == ("smtp", "smtpd", {})
    assert submission.overrides == {"smtpd_sasl_auth_enable": "yes", "mynetworks": "a, b"}


@pytest.mark.parametrize(("text", "seconds"), [("5d", 432000), ("5", 432000), ("300s", 300), ("soon", None)])
def test_times_without_a_unit_have_the_default_unit_of_their_parameter(text: str, seconds: int | None) -> None:
    assert Parameters({"maximal_queue_lifetime": text}).seconds("maximal_queue_lifetime") == seconds
