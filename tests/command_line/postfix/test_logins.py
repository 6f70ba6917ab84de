"""Settings about logins that are imported from Postfix."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line.postfix.test_next_hops import plan_of


@pytest.mark.parametrize(
    ("parameters", "is_forbidden"),
    [
        ("smtpd_tls_security_level = may", False),
        ("smtpd_tls_security_level = may\nsmtpd_tls_auth_only = yes", True),
        ("smtpd_tls_security_level = encrypt", True),
        ("smtpd_tls_security_level = encrypt\nsmtpd_tls_auth_only = no", True),
        ("smtpd_tls_security_level = none\nsmtpd_tls_auth_only = no", False),
    ],
)
def test_logins_without_tls_stay_forbidden_where_postfix_forbids_them(
    parameters: str, is_forbidden: bool, tmp_path: Path
) -> None:
    plan = plan_of(f"smtpd_sasl_auth_enable = yes\n{parameters}\n", tmp_path)
    assert plan.settings["general"]["smtp_auth"]["forbid_plaintext_auth_without_tls"] is is_forbidden
