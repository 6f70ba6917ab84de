"""chasquid's public SMTP dialogues, run against ingress. Where our answer differs, a table gives the reason.

`c -> text` sends a line. `c ~> expression` sends the value of a Python expression. `c <~ pattern` and `c <- text`
expect a reply. `c <... text` reads until this line. Only codes are compared, because each server has its own texts. The
dialogues write `RCPT TO: user@testserver`, which the smtp port refuses (C22), so they use the submission port.
Dialogues about wrong names in HELO use the smtp port, because the submission port accepts any name (F45).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from posthouse.policy.v1 import policy_pb2 as pb

from services.ingress.session import Listener
from tests.fakes.policy import accept, reject
from tests.ingress.client import Client
from tests.ingress.conftest import Ingress

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "smtp-dialogs" / "chasquid" / "test"
FILES = sorted((*FOLDER.glob("t-12-*/*.cmy"), *FOLDER.glob("t-05-*/*.cmy")))

# Maps a dialogue and the reply that it expects to the code that we answer and the reason.
DIFFERENCES: dict[tuple[str, str], tuple[int, str]] = {
    ("auth_multi_dialog", "534"): (504, "RFC 4954 4 names 504 for a mechanism that is not supported"),
    ("auth_not_tls", "503 5.7.10 You feel vulnerable"): (538, "538 5.7.11 is what SETTINGS promises before TLS"),
    ("auth_too_many_failures", "421 4.5.0 Too many errors, bye"): (
        501,
        "a response that is no base64 is a wrong command, of which 20 are allowed, not a wrong password",
    ),
    ("bad_data", "554 5.6.0 Error parsing message"): (
        250,
        "a header that ends early is passed on with the empty line that was meant (C13); Postfix does the same",
    ),
    ("bad_data_dot", "521 5.5.2 Error reading DATA: invalid line ending"): (550, "refused without hanging up (C02)"),
    ("bad_data_dot_2", "521 5.5.2 Error reading DATA: invalid line ending"): (550, "refused without hanging up (C02)"),
    ("bad_data_dot_on_message_too_big", "521 5.5.2 Error reading DATA: invalid line ending"): (
        552,
        "of several faults the size is named first; the smuggled lines are not run either way",
    ),
    ("bad_mail_from", "500 5.5.2 Unknown command"): (501, "MAIL is a command; its argument is wrong"),
    ("bad_mail_from", "500"): (501, "MAIL is a command; its argument is wrong"),
    ("bad_rcpt_to", "500 5.5.2 Unknown command"): (501, "RCPT is a command; its argument is wrong"),
    ("bad_rcpt_to", "500"): (501, "RCPT is a command; its argument is wrong"),
    ("bad_rcpt_to", "550 5.1.3 Destination address is invalid"): (553, "UTF-8 without SMTPUTF8 is 553 5.6.7 (C60)"),
    ("line_too_long", "554"): (501, "the line is within our limit; its name is not (RFC 5321 4.5.3.1.2)"),
    ("wrong_proto", "502 5.7.0 You hear someone cursing shoplifters"): (554, "closed at once (C31)"),
}


ON_THE_SMTP_PORT = {"empty_helo", "line_too_long"}


@pytest.fixture
def like_chasquid(ingress: Ingress) -> Ingress:
    """Scripts policy with the size limit and the user of chasquid's test server."""

    def login(request: pb.DecideRequest) -> pb.Verdict:
        known = (request.credentials.login, request.credentials.password) == (b"user@testserver", b"secretpassword")
        return accept(account="user@testserver") if known else reject(535, "5.7.8")

    ingress.policy.profile.max_message_size = 1024 * 1024
    ingress.policy.on(pb.STAGE_AUTH, login)
    return ingress


@pytest.mark.skipif(not FILES, reason="the public dialogues are not here")
@pytest.mark.parametrize("path", FILES, ids=[f"{path.parent.name}/{path.stem}" for path in FILES])
async def test_each_dialogue_gives_the_expected_replies(like_chasquid: Ingress, path: Path) -> None:
    client: Client | None = None
    for number, line in enumerate(lines_of(path), 1):
        words = line.strip().split(" ", 2)
        if words[0] != "c":
            continue
        action, argument = words[1], words[2] if len(words) > 2 else ""
        if action in ("tcp_connect", "tls_connect"):
            plain = Listener.SMTP if path.stem in ON_THE_SMTP_PORT else Listener.SUBMISSION
            client = await connect(like_chasquid, Listener.SUBMISSIONS if action == "tls_connect" else plain)
            continue
        assert client is not None
        match action:
            case "close":
                client.close()
            case "->":
                client.send(argument.encode() + b"\r\n")
            case "~>":
                client.send(eval(argument, {"__builtins__": {}}).encode())
            case "<..." | "<~" | "<-":
                reply = await client.reply()
                expected = int(argument[:3])
                different = DIFFERENCES.get((path.stem, argument))
                wanted = different[0] if different is not None else expected
                assert reply.code == wanted, f"{path.name}:{number}: {line!r} was answered {reply}"
            case _:
                pytest.fail(f"{path.name}:{number}: {action} is not a known action")


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


async def connect(ingress: Ingress, listener: Listener) -> Client:
    client = await ingress.connect(listener)
    if listener is Listener.SUBMISSIONS:
        await client.start_tls()
    return client


@pytest.mark.skipif(not FILES, reason="the public dialogues are not here")
def test_every_listed_difference_occurs_in_a_dialogue() -> None:
    texts = {path.stem: path.read_text(encoding="utf-8") for path in FILES if path.parent.name.startswith("t-12")}
    for (stem, expected), (code, reason) in DIFFERENCES.items():
        assert f" {expected}\n" in f"{texts[stem]}\n"
        assert str(code) != expected[:3]
        assert reason
