"""Hypothesis strategies for the octets that SMTP clients send: mostly valid, mixed with all kinds of invalid octets."""

from __future__ import annotations

from hypothesis import strategies as st

_EVIL = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\0", b"\r", b"\n", b"\xff", b"\r\n..\r\n", b"."]

octets = st.binary(max_size=40)
words = st.sampled_from(
    [
        b"a@example.org",
        b"bad@example.com",
        b"b@example.com",
        b"postmaster",
        b"",
        b"@x:y@z.example",
        b'"a b"@example.com',
    ]
)
parameters = st.lists(
    st.sampled_from([b"SIZE=10", b"SIZE=99999999", b"BODY=8BITMIME", b"SMTPUTF8", b"NOTIFY=NEVER", b"AUTH=<>", b"X=Y"]),
    max_size=2,
).map(lambda found: b"".join(b" " + each for each in found))
paths = st.tuples(words, parameters).map(lambda pair: b"<%b>%b" % pair)
lines = st.one_of(
    st.sampled_from(
        [b"From: a@example.org", b"From: refuse@example.org", b"Received: x", b"Subject: y", b"", b".", b"..", b".x"]
    ),
    st.binary(max_size=30).map(lambda found: found.replace(b"\r", b"").replace(b"\n", b"")),
    st.integers(990, 1010).map(lambda length: b"z" * length),
)
content = st.one_of(
    st.lists(lines, max_size=8).map(b"\r\n".join),
    st.lists(st.one_of(lines, st.sampled_from(_EVIL)), max_size=8).map(b"".join),
    st.integers(0, 300).map(lambda count: (b"y" * 98 + b"\r\n") * count),
)
data = content.map(lambda found: b"DATA\r\n%b\r\n.\r\n" % found)
chunks = st.tuples(content, st.booleans()).map(
    lambda pair: b"BDAT %d%b\r\n%b" % (len(pair[0]), b" LAST" if pair[1] else b"", pair[0])
)
commands = st.one_of(
    st.sampled_from(
        [
            *(b"EHLO client.example\r\n", b"HELO client.example\r\n", b"RSET\r\n", b"NOOP\r\n", b"QUIT\r\n"),
            *(b"VRFY x\r\n", b"HELP\r\n", b"AUTH PLAIN AGFsaWNlAHg=\r\n", b"AUTH LOGIN\r\nYWxpY2U=\r\nYQ==\r\n"),
            *(b"AUTH PLAIN\r\n*\r\n", b"BDAT x\r\n", b"BDAT 3\r\nabc", b"BDAT 0 LAST\r\n", b"DATA x\r\n"),
        ]
    ),
    paths.map(lambda path: b"MAIL FROM:%b\r\n" % path),
    paths.map(lambda path: b"RCPT TO:%b\r\n" % path),
    data,
    chunks,
    octets,
    st.integers(2_000, 13_000).map(lambda length: b"NOOP " + b"x" * length + b"\r\n"),
)
_GREETING = b"EHLO client.example\r\n"
# Streams often begin with valid commands, so that most of them reach a transaction.
streams = st.tuples(
    st.sampled_from(
        [b"", b"EHLO client.example\r\n", b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"]
    ),
    st.lists(commands, max_size=12).map(b"".join),
).map(b"".join)
cuts = st.lists(st.integers(0, 6_000), max_size=30)
