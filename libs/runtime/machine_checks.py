"""Checks that the services make of their machines: disk, clock, limit of open files, certificates, name servers."""

from __future__ import annotations

import asyncio
import ctypes
import datetime
import os
import resource
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from libs.runtime.checks import Check, CheckResult, Level

_GIGABYTE = 1024**3
_LOW_DISK = 2 * _GIGABYTE
_FULL_DISK = _GIGABYTE // 4
_LOW_INODES = 0.02
_LOW_DAYS = 21
_LAST_DAYS = 3
# The status of adjtimex(2) for a clock that is not synchronised.
_TIME_ERROR = 5
_TIMEX_OCTETS = 512


def disk(folder: Path) -> Check:
    """Checks the free space and the free inodes of the file system that a folder lies in."""

    async def check() -> Sequence[CheckResult]:
        return [await asyncio.to_thread(_disk, folder)]

    return check


def _disk(folder: Path) -> CheckResult:
    remedy = "Delete what is not needed there, make the file system larger, or move the data folder."
    try:
        state = os.statvfs(folder)
    except OSError as error:
        return CheckResult("disk", Level.ERROR, f"{folder} can't be read: {error.strerror}.", "Mount or make it.")
    free = state.f_bavail * state.f_frsize
    if state.f_files and state.f_favail / state.f_files < _LOW_INODES:
        return CheckResult("disk", Level.ERROR, f"The file system of {folder} has hardly any free inodes.", remedy)
    text = f"{free / _GIGABYTE:.1f} GB are free in the file system of {folder}."
    if free < _FULL_DISK:
        return CheckResult("disk", Level.ERROR, text, remedy)
    if free < _LOW_DISK:
        return CheckResult("disk", Level.WARNING, text, remedy)
    return CheckResult("disk", Level.OK, text)


def _kernel_clock_state() -> int:
    """Returns the result of adjtimex(2), which is -1 when the call fails."""
    # The buffer is large enough for any struct timex. Zeros request no change.
    return int(ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_OCTETS)))


def clock(state_of: Callable[[], int] = _kernel_clock_state) -> Check:
    """Checks whether something keeps the clock correct. `state_of` returns the kernel's state, as adjtimex(2) does."""

    async def check() -> Sequence[CheckResult]:
        state = state_of()
        if state == _TIME_ERROR:
            text = "Nothing keeps the clock of this machine right: the kernel calls it not synchronised."
            remedy = "Run a time service, such as chrony or systemd-timesyncd. Mail is dated and expires by this clock."
            return [CheckResult("clock", Level.WARNING, text, remedy)]
        if state < 0:
            return [CheckResult("clock", Level.OK, "The kernel does not tell whether the clock is synchronised.")]
        return [CheckResult("clock", Level.OK, "The clock is synchronised.")]

    return check


def open_files(wanted: int) -> Check:
    """Checks whether the limit of open files is high enough for the service."""

    async def check() -> Sequence[CheckResult]:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit != resource.RLIM_INFINITY and limit < wanted:
            text = f"The limit of open files is {limit}, and {wanted} may be needed."
            remedy = f"Raise it to {wanted}: LimitNOFILE= in a systemd unit, ulimit -n, or nofile of a container."
            return [CheckResult("open_files", Level.WARNING, text, remedy)]
        return [CheckResult("open_files", Level.OK, f"The limit of open files is {limit}.")]

    return check


def certificate(
    path: Path, name: Callable[[], str] = lambda: "", *, public: bool = False, check_id: str = "certificate"
) -> Check:
    """Checks the expiry of the certificate in a file, and its names. `name` returns the name for which the certificate
    must be valid, or an empty text if any name is right. `public` means that unknown clients must trust the
    certificate, so it must not be self-signed.
    """

    async def check() -> Sequence[CheckResult]:
        try:
            chain = await asyncio.to_thread(path.read_bytes)
            leaf = x509.load_pem_x509_certificates(chain)[0]
        except (OSError, ValueError) as error:
            text = f"The certificate {path} can't be read: {getattr(error, 'strerror', None) or 'it is not PEM'}."
            return [CheckResult(check_id, Level.ERROR, text, "Put a certificate there that this user may read.")]
        return [_certificate(path, leaf, name(), datetime.datetime.now(datetime.UTC), check_id, public=public)]

    return check


def _certificate(
    path: Path, leaf: x509.Certificate, name: str, now: datetime.datetime, check_id: str, *, public: bool
) -> CheckResult:
    end = leaf.not_valid_after_utc
    days = (end - now).total_seconds() / 86400
    renew = "Renew it, and look why that did not happen by itself. The new file is taken up without a restart."
    if days < 0:
        return CheckResult(check_id, Level.ERROR, f"The certificate {path} ended on {end:%Y-%m-%d}.", renew)
    if leaf.not_valid_before_utc > now:
        text = f"The certificate {path} is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC."
        return CheckResult(check_id, Level.ERROR, text, "Look whether the clock of this machine is right.")
    if days < _LOW_DAYS:
        level = Level.ERROR if days < _LAST_DAYS else Level.WARNING
        return CheckResult(check_id, level, f"The certificate {path} ends on {end:%Y-%m-%d}.", renew)
    if name and not any(_matches(pattern, name) for pattern in _names(leaf)):
        text = f"The certificate {path} is not for {name}, the hostname in the settings."
        return CheckResult(check_id, Level.WARNING, text, f"Get a certificate for {name}, or change the hostname.")
    if public and leaf.issuer == leaf.subject:
        text = f"The certificate {path} is signed by itself: clients that verify certificates refuse it."
        return CheckResult(check_id, Level.WARNING, text, "Get a certificate of an authority that others trust.")
    return CheckResult(check_id, Level.OK, f"The certificate {path} is valid until {end:%Y-%m-%d}.")


def _names(leaf: x509.Certificate) -> set[str]:
    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return {str(each.value).lower() for each in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
    return {name.lower() for name in alternatives.get_values_for_type(x509.DNSName)}


def _matches(pattern: str, name: str) -> bool:
    """Whether a name of a certificate, perhaps with a wildcard for one whole label, covers a host name
    (RFC 9525 6.3).
    """
    return pattern == name or (pattern.startswith("*.") and name.partition(".")[2] == pattern[2:])


def name_servers(look: Callable[[], Awaitable[Iterable[tuple[str, bool, bool]]]]) -> Check:
    """Checks whether the name servers answer and validate. `look` returns for each server whether it answers and
    whether it validates.
    """

    async def check() -> Sequence[CheckResult]:
        servers = list(await look())
        if not servers:
            text = "There is no name server: /etc/resolv.conf names none, and no setting does."
            return [CheckResult("name_servers", Level.ERROR, text, "Name one in /etc/resolv.conf or in the settings.")]
        silent = [server for server, is_answering, _ in servers if not is_answering]
        if silent:
            level = Level.ERROR if len(silent) == len(servers) else Level.WARNING
            text = f"These name servers do not answer: {', '.join(silent)}."
            return [CheckResult("name_servers", level, text, "Name others, or look into the network.")]
        careless = [server for server, _, validates in servers if not validates]
        if careless:
            text = f"These name servers do not validate DNSSEC: {', '.join(careless)}. DANE can't be used with them."
            remedy = "Use a validating resolver, such as unbound, on this machine or on a network that you trust."
            return [CheckResult("name_servers", Level.WARNING, text, remedy)]
        names = ", ".join(server for server, _, _ in servers)
        return [CheckResult("name_servers", Level.OK, f"These name servers answer and validate: {names}.")]

    return check
