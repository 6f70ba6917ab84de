"""`posthouse install systemd`: installs units that run Posthouse under systemd, with restrictions, as a separate
user.
"""

from __future__ import annotations

import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from libs.runtime.lifecycle import StartupError

USER = "posthouse"
UNIT_FOLDER = Path("/etc/systemd/system")
SETTINGS_FOLDER = Path("/etc/posthouse")
_USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,30}")  # useradd(8)
SERVICES = ("config_api", "policy", "relay", "ingress", "console")

# The restrictions of every unit. The only privilege that mail needs is to listen on ports under 1024. Calls of
# @privileged, @mount and similar groups fail with EPERM. The call that chooses a processor is in @resources, which
# stays allowed.
_HARDENING = """\
AmbientCapabilities={capabilities}
CapabilityBoundingSet={capabilities}
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @keyring
UMask=0077
"""

_UNIT = """\
# Made by `posthouse install systemd`. Put changes into a drop-in: systemctl edit {name}
[Unit]
Description={description}
Wants=network-online.target
After=network-online.target nss-lookup.target postgresql.service redis-server.service

[Service]
Type=notify
NotifyAccess=all
User={user}
Group={user}
ExecStart={program} {arguments}
{environment}
StateDirectory={state}
StateDirectoryMode=0700
WorkingDirectory=%S/{state}
Restart=on-failure
RestartSec=2
# Wrong settings: starting again would change nothing.
RestartPreventExitStatus=2
TimeoutStartSec=180
TimeoutStopSec=150
WatchdogSec=60
LimitNOFILE=65536
# Mailbox folders and databases outside of %S/{state} need a line ReadWritePaths= in a drop-in.
{hardening}
[Install]
WantedBy=multi-user.target
"""

_SETTINGS = """\
# Settings of Posthouse, read by its units: one VARIABLE=value a line. `posthouse settings` lists all of them.
#INGRESS_HOST=0.0.0.0
#INGRESS_SMTP_PORT=25
#INGRESS_SUBMISSION_PORT=587
#INGRESS_SMTPS_PORT=465
"""


def units(program: Path, user: str = USER) -> dict[str, str]:
    """Returns the content of each file by its name: one unit for the whole suite, and a template for each service that
    runs alone. `program` is the `posthouse` command. An instance of a template, for example posthouse-relay@1, has its
    own state folder, and reads its own settings file after the shared one.
    """
    contents = {
        "posthouse.service": _unit(
            "posthouse.service",
            program,
            user,
            description="Posthouse, a mail delivery gateway",
            arguments="up",
            state="posthouse",
            settings=(SETTINGS_FOLDER / "posthouse.env",),
            capabilities="CAP_NET_BIND_SERVICE",
        )
    }
    for service in SERVICES:
        name = service.replace("_", "-")
        stem = f"posthouse-{name}"
        # A settings file has the name of its unit. Earlier releases called that of config_api config_api-1.env.
        own_files = dict.fromkeys((f"{service}-%i.env", f"{name}-%i.env"))
        contents[f"{stem}@.service"] = _unit(
            f"{stem}@%i.service",
            program,
            user,
            description=f"{service} %i of Posthouse",
            arguments=service,
            state=f"{stem}-%i",
            settings=(SETTINGS_FOLDER / "posthouse.env", *(SETTINGS_FOLDER / file for file in own_files)),
            # An empty value removes every capability.
            capabilities="CAP_NET_BIND_SERVICE" if service == "ingress" else "",
        )
    return contents


def _unit(
    name: str,
    program: Path,
    user: str,
    *,
    description: str,
    arguments: str,
    state: str,
    settings: tuple[Path, ...],
    capabilities: str,
) -> str:
    environment = [f"Environment=POSTHOUSE_DATA_DIR=%S/{state}", *(f"EnvironmentFile=-{path}" for path in settings)]
    return _UNIT.format(
        name=name,
        description=description,
        user=user,
        program=program,
        arguments=arguments,
        environment="\n".join(environment),
        state=state,
        hardening=_HARDENING.format(capabilities=capabilities),
    )


def install(
    user: str = USER, unit_folder: Path = UNIT_FOLDER, settings_folder: Path = SETTINGS_FOLDER
) -> Iterator[str]:
    """Makes the user, the settings and the units, and yields a line for the user and each file that it made, and the
    next step. Raises StartupError. An existing settings file is not changed. Units are written again, because changes
    belong in drop-ins.
    """
    program = Path(sys.argv[0]).absolute()
    if program.name != "posthouse" or not program.exists():
        raise StartupError(f"call the installed command, not {program}: the units name it")
    if any(home in program.parents for home in (Path("/root"), Path("/home"))):
        raise StartupError(
            f"{program} is in a home folder, which the units may not read: install it for example in /opt"
        )
    try:
        yield from _make_user(user)
        settings_folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        shutil.chown(settings_folder, group=user)
        settings_file = settings_folder / "posthouse.env"
        if not settings_file.exists():
            settings_file.touch(mode=0o640)
            settings_file.write_text(_SETTINGS)
            shutil.chown(settings_file, group=user)
            yield f"wrote {settings_file}"
        for name, content in units(program, user).items():
            path = unit_folder / name
            if not path.exists() or path.read_text() != content:
                path.write_text(content)
                yield f"wrote {path}"
    except OSError as error:
        raise StartupError(f"{error.filename}: {error.strerror}") from error
    yield "next: systemctl daemon-reload && systemctl enable --now posthouse"


def _make_user(user: str) -> Iterator[str]:
    if not _USER_NAME.fullmatch(user):
        raise StartupError(f"{user!r} is not a valid name for a user")
    try:
        pwd.getpwnam(user)
    except KeyError:
        process = subprocess.run(  # noqa: S603 - the name holds no option and no path
            ["/usr/sbin/useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", user],
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode != 0:
            raise StartupError(f"the user {user} could not be made: {process.stderr.strip()}") from None
        yield f"made the user {user}"
