"""Recognises data that is not SMTP: other protocols that reach our port, and headers of the PROXY protocol. This module
is pure.
"""

from __future__ import annotations

import re

# These lines are mostly HTTP of a misused browser (C31): a request, whose method a script may choose; an answer; or a
# field of a header.
_OTHER = re.compile(
    rb"[^\r\n]* (?:HTTP|RTSP|SIP|ICAP)/[0-9](?:\.[0-9])?\Z|(?:HTTP|RTSP|SIP|ICAP)/[0-9]|SSH-[0-9]"
    rb"|(?:GET|POST|PUT|HEAD|OPTIONS|CONNECT|DELETE|PATCH|TRACE) "
    rb"|(?:Host|User-Agent|Referer|Origin|Accept|Content-Length|Cookie|Connection|Sec-Fetch-[a-z]+|Via):",
    re.IGNORECASE,
).match
_HTTP_VERSION = (b" HTTP/1.1", b" HTTP/1.0", b" HTTP/2.0")
_TLS_RECORD = (b"\x16\x03", b"\x80")

# The PROXY protocol is recognised by the verb of version 1, by a line in the signature of version 2 that no SMTP client
# sends, and by the beginning of this signature.
_PROXY_VERB = b"PROXY"
_PROXY_2_LINE = b"\x00"
_PROXY_2 = b"\r\n\r\n\x00\r\n"


def is_other_protocol(line: bytes) -> bool:
    """Whether `line` belongs to another protocol. `line` is not an SMTP command, and has no CRLF."""
    return line.startswith(_TLS_RECORD) or _OTHER(line) is not None


def is_http_request(line: bytes) -> bool:
    """Whether a line is an HTTP request, although its first word may be an SMTP verb. It is called for every
    command.
    """
    return line.endswith(_HTTP_VERSION)


def is_tls(received: bytes | bytearray) -> bool:
    """Whether the received octets begin like TLS."""
    return received.startswith(_TLS_RECORD)


def is_proxy_line(line: bytes) -> bool:
    """Whether a line that is not an SMTP command is a part of a PROXY header."""
    return line[:6].partition(b" ")[0].upper() == _PROXY_VERB or line == _PROXY_2_LINE


def is_proxy_header(received: bytes) -> bool:
    """Whether the received octets begin like a PROXY header."""
    return received.startswith(_PROXY_2) or received[:6].upper() == _PROXY_VERB + b" "
