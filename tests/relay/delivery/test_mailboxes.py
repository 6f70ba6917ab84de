"""Mail for local domains is delivered to mailbox servers and to mail directories."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from pathlib import Path

import pytest

from libs.runtime.maildir_roots import maildir_roots
from services.relay.configuration.model import Mailbox, MailboxKind
from services.relay.delivery.maildir import mailbox_directory
from services.relay.model.attempt import Result
from tests.peers.smtp_sink import Close, Offer, SmtpSink, Stage, reply
from tests.relay.delivery.conftest import CONTENT, Gateway

BOB, EVE = b"bob@local.test", b"eve@local.test"


def maildir(path: Path | str) -> Mailbox:
    return Mailbox(MailboxKind.MAILDIR, path=str(path))


def only_file(directory: Path) -> bytes:
    (file,) = directory.iterdir()
    return file.read_bytes()


def files_below(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


# Maildir


async def test_a_message_is_stored_with_its_envelope_addresses_in_front(gateway: Gateway, tmp_path: Path) -> None:
    gateway.into_mailbox("local.test", maildir(tmp_path / "mail"))
    outcome = await gateway.deliver_one(b"Bob@local.test", content=CONTENT + b".\r\n..\r\n")
    assert (outcome.result, outcome.code) == (Result.DELIVERED, 250)
    box = tmp_path / "mail" / "bob"
    assert sorted(folder.name for folder in box.iterdir()) == ["cur", "new", "tmp"]
    text = only_file(box / "new")
    head = b"Return-Path: <ann@example.org>\nDelivered-To: Bob@local.test\n"
    assert text == head + CONTENT.replace(b"\r\n", b"\n") + b".\n..\n"
    assert list((box / "tmp").iterdir()) == []


async def test_only_its_owner_can_read_mail(gateway: Gateway, tmp_path: Path) -> None:
    gateway.into_mailbox("local.test", maildir(tmp_path))
    await gateway.deliver_one(BOB)
    for path in (tmp_path / "bob").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


async def test_the_null_sender_is_an_empty_return_path(gateway: Gateway, tmp_path: Path) -> None:
    gateway.into_mailbox("local.test", maildir(tmp_path))
    await gateway.deliver_one(BOB, sender=b"")
    assert only_file(tmp_path / "bob" / "new").startswith(b"Return-Path: <>\n")


async def test_each_recipient_has_a_copy_in_a_file_with_a_unique_name(gateway: Gateway, tmp_path: Path) -> None:
    gateway.into_mailbox("local.test", maildir(tmp_path))
    await asyncio.gather(*(gateway.deliver(BOB, EVE) for _ in range(20)))
    assert len(list((tmp_path / "bob" / "new").iterdir())) == 20
    assert len(list((tmp_path / "eve" / "new").iterdir())) == 20


@pytest.mark.parametrize("missing", ["tmp", "new", "cur"])
async def test_a_missing_directory_of_a_maildir_is_made_again(gateway: Gateway, tmp_path: Path, missing: str) -> None:
    gateway.into_mailbox("local.test", maildir(tmp_path))
    for name in {"tmp", "new", "cur"} - {missing}:
        (tmp_path / "bob" / name).mkdir(parents=True)
    assert (await gateway.deliver_one(BOB)).result is Result.DELIVERED
    only_file(tmp_path / "bob" / "new")


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (b"bob@x.test", "bob"),
        (b"J.Doe+tag@x.test", "j.doe+tag"),
        (b"../../etc@x.test", "%2E.%2F..%2Fetc"),
        (b".@x.test", "%2E"),
        (b"..@x.test", "%2E."),
        (b'"a/b"@x.test', "%22a%2Fb%22"),
        (b'"a b"@x.test', "%22a%20b%22"),
        (b"a%2fb@x.test", "a%252fb"),
        (b"a\x00b@x.test", "a%00b"),
        ("J\u00dcRGEN@x.test".encode(), "j%C3%BCrgen"),
        ("ju\u0308rgen@x.test".encode(), "j%C3%BCrgen"),
        (b"{domain}@x.test", "%7Bdomain%7D"),
    ],
)
def test_no_local_part_leads_out_of_its_directory(address: bytes, name: str) -> None:
    directory = mailbox_directory("/srv/mail", address)
    assert directory == Path("/srv/mail") / name
    assert Path(os.path.normpath(directory)).parent == Path("/srv/mail")


def test_long_local_parts_have_different_directories() -> None:
    one, other = (mailbox_directory("/srv", b"/" * 300 + tail + b"@x.test") for tail in (b"a", b"b"))
    assert one != other
    assert len(one.name) < 255


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/srv/{domain}/{local_part}/Maildir", "/srv/x.test/bob/Maildir"),
        ("/srv/{domain}", "/srv/x.test"),
        ("/home/{local_part}/Maildir", "/home/bob/Maildir"),
    ],
)
def test_placeholders_are_replaced_by_the_address(template: str, path: str) -> None:
    assert mailbox_directory(template, b"Bob@x.test") == Path(path)
    assert "etc" not in mailbox_directory(template, b"../etc/passwd@x.test").parts


@pytest.mark.parametrize("link", ["bob", "bob/new", "bob/tmp"])
@pytest.mark.parametrize("template", ["", "/{local_part}", "/{local_part}/Maildir"])
async def test_no_symbolic_link_is_followed_out_of_the_mailboxes_directory(
    gateway: Gateway, tmp_path: Path, link: str, template: str
) -> None:
    """The owner of a mailbox may create links there, and relay writes with rights that the owner does not have."""
    root, outside = tmp_path / "mail", tmp_path / "outside"
    place = root / (link.replace("bob", "bob/Maildir") if "Maildir" in template else link)
    place.parent.mkdir(parents=True)
    outside.mkdir()
    place.symlink_to(outside)
    gateway.into_mailbox("local.test", maildir(Path(f"{root}{template}")))
    outcome = await gateway.deliver_one(BOB)
    assert (outcome.result, outcome.enhanced_code) == (Result.DEFERRED, "4.3.5")
    assert list(outside.iterdir()) == []
    assert (await gateway.deliver_one(EVE)).result is Result.DELIVERED


async def test_symbolic_links_within_the_mailboxes_directory_and_to_it_are_followed(
    gateway: Gateway, tmp_path: Path
) -> None:
    (tmp_path / "disk" / "robert").mkdir(parents=True)
    (tmp_path / "disk" / "bob").symlink_to("robert")
    (tmp_path / "mail").symlink_to("disk")
    gateway.into_mailbox("local.test", maildir(tmp_path / "mail"))
    assert (await gateway.deliver_one(BOB)).result is Result.DELIVERED
    only_file(tmp_path / "disk" / "robert" / "new")


async def test_mail_is_deferred_when_the_path_is_not_a_directory(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    gateway.into_mailbox("local.test", maildir(tmp_path / "file"))
    outcome = await gateway.deliver_one(BOB)
    assert (outcome.result, outcome.enhanced_code) == (Result.DEFERRED, "4.3.0")
    assert str(tmp_path) not in outcome.text


async def test_a_maildir_that_fails_delays_no_other(gateway: Gateway, tmp_path: Path) -> None:
    gateway.into_mailbox("local.test", maildir(tmp_path))
    (tmp_path / "bob").write_text("no directory")
    for _ in range(6):
        assert (await gateway.deliver_one(BOB)).result is Result.DEFERRED
    assert gateway.transport.capacity("mailbox:local.test", gateway.configuration) > 1
    assert (await gateway.deliver_one(EVE)).result is Result.DELIVERED


async def test_mail_is_deferred_and_leaves_no_file_when_the_disk_is_full(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case C133 of docs/cases.md describes this behaviour."""
    gateway.into_mailbox("local.test", maildir(tmp_path))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "bob").mkdir()
    for folder in ("tmp", "new", "cur"):
        (tmp_path / "bob" / folder).mkdir()
    outcome = await gateway.deliver_one(BOB)
    assert (outcome.result, outcome.code, outcome.enhanced_code) == (Result.DEFERRED, 452, "4.3.1")
    assert files_below(tmp_path) == []


# Folders to which mail may be written


@pytest.mark.parametrize(
    "template",
    [
        "{own}/relay/q",
        "{own}",
        "{own}/{{local_part}}",
        "/{{local_part}}",
        "/proc/x",
        "/{own}/relay/q",
        "//{{local_part}}",
    ],
)
async def test_f43_no_mail_is_written_to_system_folders(gateway: Gateway, tmp_path: Path, template: str) -> None:
    """Relay refuses system folders even in settings older than config_api's check, or when the address completes the
    path.
    """
    own = tmp_path / "data"
    own.mkdir()
    gateway.options_are(maildir_roots=maildir_roots("", own))
    gateway.into_mailbox("local.test", maildir(template.format(own=own)), "proc", "relay")
    recipient = b"proc@local.test" if template.startswith(("/{{", "//{{")) else b"relay@local.test"
    outcome = await gateway.deliver_one(recipient)
    assert (outcome.result, outcome.code, outcome.enhanced_code) == (Result.DEFERRED, 451, "4.3.5")
    assert list(own.iterdir()) == []


async def test_f43_mail_beside_the_files_of_the_services_is_allowed(gateway: Gateway, tmp_path: Path) -> None:
    gateway.options_are(maildir_roots=maildir_roots("", tmp_path))
    gateway.into_mailbox("local.test", maildir(tmp_path / "mail"))
    assert (await gateway.deliver_one(BOB)).result is Result.DELIVERED


@pytest.mark.parametrize(
    ("path", "result"),
    [
        ("mail/a", Result.DELIVERED),
        ("mail", Result.DELIVERED),
        # The second and the third configured root are symbolic links.
        ("linked/a", Result.DELIVERED),
        ("way-in", Result.DELIVERED),
        ("mailbox", Result.DEFERRED),
        ("elsewhere", Result.DEFERRED),
        ("mail/../elsewhere", Result.DEFERRED),
        ("mail/way-out", Result.DEFERRED),
    ],
)
async def test_f43_mail_is_written_only_below_the_named_roots(
    gateway: Gateway, tmp_path: Path, path: str, result: Result
) -> None:
    for folder in ("mail", "disk", "elsewhere"):
        (tmp_path / folder).mkdir()
    (tmp_path / "linked").symlink_to("disk")
    (tmp_path / "mail" / "way-out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "way-in").symlink_to("mail")
    roots = f"{tmp_path}/mail, {tmp_path}/linked, {tmp_path}/way-in"
    gateway.options_are(maildir_roots=maildir_roots(roots, tmp_path / "data"))
    gateway.into_mailbox("local.test", maildir(f"{tmp_path}/{path}"))
    outcome = await gateway.deliver_one(BOB)
    assert (outcome.result, outcome.enhanced_code) == (result, "2.0.0" if result is Result.DELIVERED else "4.3.5")
    assert bool(files_below(tmp_path)) == (result is Result.DELIVERED)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("link", ["bob", "bob/new"])
async def test_f43_no_mail_is_written_through_a_link_into_a_folder_of_the_services(
    gateway: Gateway, tmp_path: Path, link: str
) -> None:
    (tmp_path / "relay").mkdir()
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path / "relay")
    gateway.options_are(maildir_roots=maildir_roots("", tmp_path))
    gateway.into_mailbox("local.test", maildir(f"{tmp_path}/{{local_part}}"))
    outcome = await gateway.deliver_one(BOB)
    assert (outcome.result, outcome.enhanced_code) == (Result.DEFERRED, "4.3.5")
    assert list((tmp_path / "relay").iterdir()) == []


# LMTP and SMTP


@pytest.mark.parametrize("pipelining", [True, False])
async def test_lmtp_answers_for_each_recipient(gateway: Gateway, pipelining: bool) -> None:
    with SmtpSink(Offer(lmtp=True, pipelining=pipelining)) as sink:
        sink.on(Stage.END_OF_DATA, reply("452 4.2.2 Mailbox full"), address=EVE)
        sink.on(Stage.RCPT, reply("550 5.1.1 Unknown"), address=b"ghost@local.test")
        gateway.into_mailbox("local.test", Mailbox(MailboxKind.LMTP, sink.host, sink.port))
        outcomes = await gateway.deliver(BOB, b"ghost@local.test", EVE, b"zoe@local.test")
        assert [(outcome.result, outcome.code) for outcome in outcomes] == [
            (Result.DELIVERED, 250),
            (Result.FAILED, 550),
            (Result.DEFERRED, 452),
            (Result.DELIVERED, 250),
        ]
        assert sink.sessions[0].greeting_word == "LHLO"
        # The mailbox server does the final delivery, so relay adds no field.
        assert sink.messages[0].content == CONTENT


async def test_a_lost_lmtp_connection_defers_only_unanswered_recipients(gateway: Gateway) -> None:
    with SmtpSink(Offer(lmtp=True)) as sink:
        sink.on(Stage.END_OF_DATA, Close(), address=EVE)
        gateway.into_mailbox("local.test", Mailbox(MailboxKind.LMTP, sink.host, sink.port))
        outcomes = await gateway.deliver(BOB, EVE)
        assert [(outcome.result, outcome.possible_duplicate) for outcome in outcomes] == [
            (Result.DELIVERED, False),
            (Result.DEFERRED, True),
        ]


async def test_lmtp_works_over_a_unix_socket(gateway: Gateway, tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 box.test LMTP\r\n")
        while line := await reader.readline():
            heard.append(line)
            if line == b"DATA\r\n":
                writer.write(b"354 Go\r\n")
                await reader.readuntil(b"\r\n.\r\n")
            writer.write(b"250 2.0.0 Ok\r\n")
        writer.close()

    path = tmp_path / "lmtp"
    server = await asyncio.start_unix_server(serve, path)
    gateway.into_mailbox("local.test", Mailbox(MailboxKind.LMTP, path=str(path)))
    outcome = await gateway.deliver_one(BOB)
    assert (outcome.result, outcome.address) == (Result.DELIVERED, str(path))
    assert heard[0].startswith(b"LHLO ")
    await gateway.transport.close(1)
    server.close()


async def test_an_smtp_mailbox_is_found_by_name_not_by_mx(gateway: Gateway) -> None:
    with SmtpSink() as sink:
        gateway.into_mailbox("local.test", Mailbox(MailboxKind.SMTP, "localhost", sink.port))
        outcome = await gateway.deliver_one(BOB)
        assert (outcome.result, outcome.host) == (Result.DELIVERED, "localhost")
