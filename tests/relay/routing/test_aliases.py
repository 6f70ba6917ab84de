"""Aliases and roles: the targets are in order and without duplicates, loops end, and depth and number of targets are
limited.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from services.relay.configuration.model import Alias, Configuration, LocalDomain
from services.relay.routing.aliases import MAX_ADDRESSES, MAX_DEPTH, Expanded, expand, expand_one, postmasters


def configuration(
    aliases: Mapping[bytes, tuple[bytes, ...]] | None = None,
    accounts: tuple[bytes, ...] = (),
    external: tuple[bytes, ...] = (),
    hostname: str = "gw.test",
    domains: tuple[str, ...] = ("local.test",),
) -> Configuration:
    return Configuration(
        revision=1,
        hostname=hostname,
        external_postmasters=external,
        aliases={key: Alias(f"id-{key.decode()}", key, targets) for key, targets in (aliases or {}).items()},
        account_addresses=frozenset(accounts),
        local_domains={domain: LocalDomain(domain, domain, None) for domain in domains},
    )


def targets(recipient: bytes, with_: Configuration) -> tuple[bytes, ...]:
    return expand_one(with_, recipient).targets


def test_an_address_without_an_alias_stands_for_itself() -> None:
    assert expand_one(configuration(), b"u@one.test") == Expanded(b"u@one.test", (b"u@one.test",))


def test_aliases_are_compared_without_case_and_their_targets_kept_as_written() -> None:
    with_ = configuration({b"info@local.test": (b"Anna@Far.test", b"bob@local.test")})
    assert targets(b"INFO@local.test", with_) == (b"Anna@Far.test", b"bob@local.test")


def test_nested_aliases_are_expanded_without_duplicates() -> None:
    with_ = configuration(
        {
            b"all@local.test": (b"left@local.test", b"right@local.test"),
            b"left@local.test": (b"x@one.test", b"y@one.test"),
            b"right@local.test": (b"y@one.test", b"z@one.test"),
        }
    )
    assert targets(b"all@local.test", with_) == (b"x@one.test", b"y@one.test", b"z@one.test")


def test_an_alias_to_itself_keeps_a_copy_in_its_account() -> None:
    forwards = {b"anna@local.test": (b"anna@local.test", b"anna@far.test")}
    with_account = configuration(forwards, accounts=(b"anna@local.test",))
    assert targets(b"anna@local.test", with_account) == (b"anna@local.test", b"anna@far.test")
    assert targets(b"anna@local.test", configuration(forwards)) == (b"anna@far.test",)


@pytest.mark.parametrize("role", [b"postmaster", b"mailer-daemon", b"POSTMASTER"])
def test_f20_roles_at_our_own_hostname_belong_to_us(role: bytes) -> None:
    """F20: mail to these roles goes to the external postmasters, or else where mail for the bare `postmaster` goes."""
    address = role + b"@gw.test"
    assert targets(address, configuration(external=(b"chief@far.test",))) == (b"chief@far.test",)
    alias = configuration({b"postmaster@local.test": (b"anna@far.test",)})
    assert targets(address, alias) == (b"anna@far.test",)
    assert targets(address, configuration(accounts=(b"postmaster@local.test",))) == (b"postmaster@local.test",)
    assert targets(address, configuration()) == (address,)


def test_loops_end() -> None:
    loop = configuration({b"a@local.test": (b"b@local.test",), b"b@local.test": (b"a@local.test",)})
    assert expand_one(loop, b"a@local.test").fault == ("5.4.6", "the alias leads back to itself")
    way_out = configuration({b"a@local.test": (b"b@local.test",), b"b@local.test": (b"a@local.test", b"c@far.test")})
    assert targets(b"a@local.test", way_out) == (b"c@far.test",)


def test_depth_is_bounded() -> None:
    chain = {b"a%d@local.test" % n: (b"a%d@local.test" % (n + 1),) for n in range(MAX_DEPTH + 1)}
    fault = expand_one(configuration(chain), b"a0@local.test").fault
    assert fault is not None
    assert fault[0] == "5.4.6"
    assert targets(b"a2@local.test", configuration(chain)) == (b"a%d@local.test" % (MAX_DEPTH + 1),)


def test_the_number_of_targets_is_bounded_and_takes_little_time() -> None:
    many = tuple(b"u%d@far.test" % n for n in range(MAX_ADDRESSES + 1))
    fault = expand_one(configuration({b"all@local.test": many}), b"all@local.test").fault
    assert fault is not None
    assert fault[0] == "5.2.4"
    # There are 2^15 paths through 16 aliases.
    web: dict[bytes, tuple[bytes, ...]] = {
        b"%d@local.test" % n: (b"%d@local.test" % (n + 1), b"%d@LOCAL.test" % (n + 1), b"end@far.test")
        for n in range(15)
    }
    web[b"15@local.test"] = (b"last@far.test",)
    assert set(targets(b"0@local.test", configuration(web))) == {b"end@far.test", b"last@far.test"}


def test_the_bound_holds_for_all_recipients_of_a_message_together() -> None:
    half = MAX_ADDRESSES // 2 + 1
    aliases = {
        b"x@local.test": tuple(b"x%d@far.test" % n for n in range(half)),
        b"y@local.test": tuple(b"y%d@far.test" % n for n in range(half)),
    }
    first, second = expand(configuration(aliases), [b"x@local.test", b"y@local.test"])
    assert len(first.targets) == half
    assert second.fault is not None


def test_external_postmasters_get_only_the_roles_of_local_domains() -> None:
    with_ = configuration(external=(b"chief@far.test", b"deputy@far.test"))
    for role in (b"postmaster@local.test", b"Mailer-Daemon@local.test", b"postmaster", b"PostMaster"):
        assert targets(role, with_) == (b"chief@far.test", b"deputy@far.test")
    assert targets(b"postmaster@elsewhere.test", with_) == (b"postmaster@elsewhere.test",)
    assert targets(b"other@local.test", with_) == (b"other@local.test",)


def test_postmaster_without_a_domain_is_the_account_or_alias_of_that_name() -> None:
    account = configuration(accounts=(b"postmaster@b.test",), domains=("a.test", "b.test"))
    assert targets(b"postmaster", account) == (b"postmaster@b.test",)
    alias = configuration({b"postmaster@local.test": (b"chief@far.test",)})
    assert targets(b"postmaster", alias) == (b"chief@far.test",)
    assert targets(b"postmaster", configuration()) == (b"postmaster",)


def test_an_external_postmaster_may_be_an_alias_or_a_role() -> None:
    with_ = configuration({b"team@local.test": (b"x@far.test",)}, external=(b"team@local.test",))
    assert targets(b"postmaster@local.test", with_) == (b"x@far.test",)
    itself = configuration(external=(b"postmaster@local.test",))
    assert targets(b"postmaster@local.test", itself) == (b"postmaster@local.test",)


def test_double_bounces_go_to_the_postmasters() -> None:
    assert postmasters(configuration(external=(b"chief@far.test",))) == (b"chief@far.test",)
    assert postmasters(configuration(accounts=(b"postmaster@local.test",))) == (b"postmaster@local.test",)
    assert postmasters(configuration()) == ()


def test_a_target_that_is_also_a_recipient_gets_one_copy() -> None:
    with_ = configuration({b"all@local.test": (b"x@one.test", b"y@one.test")})
    found = expand(with_, [b"x@one.test", b"all@local.test", b"x@one.test"])
    assert [one.targets for one in found] == [(b"x@one.test",), (b"y@one.test",)]


def test_an_accounts_address_in_other_case_is_the_same_recipient() -> None:
    """C56: only accounts are compared without case. At other domains Bob and bob may be two people."""
    with_account = configuration(accounts=(b"alice@ours.test",))
    given = [b"alice@ours.test", b"Alice@ours.test", b"bob@far.test", b"Bob@far.test"]
    assert [one.targets for one in expand(with_account, given)] == [
        (b"alice@ours.test",),
        (b"bob@far.test",),
        (b"Bob@far.test",),
    ]


def test_relay_ignores_case_and_composition_beyond_ascii_as_policy_does() -> None:
    """An address that policy recognizes as an alias or an account must be recognized by relay too."""
    composed, decomposed, upper = ("\u00fcmit@ours.test", "u\u0308mit@ours.test", "\u00dcMIT@ours.test")
    with_ = configuration({composed.encode(): (b"x@far.test",)}, domains=("ours.test",))
    for written in (composed, decomposed, upper):
        assert targets(written.encode(), with_) == (b"x@far.test",), written
    with_account = configuration(accounts=(composed.encode(),), domains=("ours.test",))
    found = expand(with_account, [each.encode() for each in (composed, decomposed, upper)])
    assert [one.targets for one in found] == [(composed.encode(),)]


def test_an_alias_may_lead_to_a_role_of_external_postmasters() -> None:
    aliases = {
        b"abuse@local.test": (b"Postmaster@local.test",),
        b"all@local.test": (b"abuse@local.test", b"mailer-daemon@local.test", b"x@far.test"),
    }
    with_ = configuration(aliases, external=(b"chief@far.test", b"deputy@far.test"))
    assert targets(b"abuse@local.test", with_) == (b"chief@far.test", b"deputy@far.test")
    assert targets(b"all@local.test", with_) == (b"chief@far.test", b"deputy@far.test", b"x@far.test")
    # Without external postmasters, mail to the role goes to its account, or is held.
    assert targets(b"abuse@local.test", configuration(aliases)) == (b"Postmaster@local.test",)
    # The external postmasters may be reached by an alias that leads back to a role.
    ring = configuration({b"abuse@local.test": (b"postmaster@local.test",)}, external=(b"abuse@local.test",))
    assert targets(b"postmaster@local.test", ring) == (b"postmaster@local.test",)
    assert expand_one(ring, b"abuse@local.test").fault == ("5.4.6", "the alias leads back to itself")
