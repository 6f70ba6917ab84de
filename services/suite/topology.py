"""The processes of the suite, with their addresses and environments. This module is pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from libs.runtime import addresses
from libs.runtime.addresses import TcpAddress, UnixSocket, of_worker

# The ports of each replica on one machine are higher by this number than those of the previous replica.
PORT_STEP = 10

# The texts that the services' settings read as true.
_TRUE = ("1", "on", "t", "true", "y", "yes")
# The services whose processes are pinned to a processor.
_KEEPING = ("ingress", "relay")

SERVICES = ("config_api", "policy", "relay", "ingress", "console")

# The default of each variable. 0 means off.
_PORTS: Mapping[str, Mapping[str, int]] = {
    "config_api": {"CONFIG_API_PORT": 8080, "CONFIG_API_METRICS_PORT": 0},
    "policy": {"POLICY_METRICS_PORT": 0},
    "relay": {"RELAY_METRICS_PORT": 0},
    "ingress": {
        "INGRESS_SMTP_PORT": 8025,
        "INGRESS_SUBMISSION_PORT": 8587,
        "INGRESS_SMTPS_PORT": 8465,
        "INGRESS_METRICS_PORT": 0,
    },
    "console": {"CONSOLE_PORT": 8081},
}
# The variables with the address on which each service listens for gRPC.
LISTEN_VARIABLES = {
    "config_api": "CONFIG_API_GRPC_LISTEN",
    "policy": "POLICY_LISTEN",
    "relay": "RELAY_LISTEN",
    "ingress": "INGRESS_LISTEN",
}
# For each variable, the service whose address it has.
_TARGETS = (
    ("INGRESS_POLICY_TARGET", "policy"),
    ("INGRESS_RELAY_TARGET", "relay"),
    ("POLICY_CONFIG_TARGET", "config_api"),
    ("RELAY_CONFIG_TARGET", "config_api"),
    ("CONFIG_API_POLICY_TARGET", "policy"),
    ("CONFIG_API_RELAY_TARGET", "relay"),
    ("CONFIG_API_INGRESS_TARGET", "ingress"),
)
GRPC_SERVICES = tuple(LISTEN_VARIABLES)
_PREFIXES = {service: f"{service.upper()}_" for service in SERVICES}
# Variables of another service that a service reads too: config_api recognises a relay host that is this gateway.
_SHARED_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "config_api": ("INGRESS_SMTP_PORT", "INGRESS_SUBMISSION_PORT", "INGRESS_SMTPS_PORT"),
}


class TopologyError(Exception):
    """The suite cannot have this layout. The message says what to change."""


@dataclass(frozen=True, slots=True)
class Process:
    """One child: a service, its addresses, and its environment."""

    service: str
    # The name, for example policy, or policy-2 for the second replica.
    name: str
    # The host under which other services call this process.
    host: str
    ports: Mapping[str, int]
    environment: Mapping[str, str] = field(repr=False)
    # The addresses at which it listens, which may be "0.0.0.0".
    listen_hosts: tuple[str, ...] = ()
    # The address under which others call its gRPC: unix:PATH or host:port.
    grpc: str = ""

    @property
    def url_host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def lay_out(
    environment: Mapping[str, str],
    replicas: Mapping[str, int] | None = None,
    *,
    sockets: Path,
    postgres_url: str = "",
    redis_url: str = "",
    cpus: Sequence[int] = (),
) -> tuple[Process, ...]:
    """Returns the processes of the suite in the order of SERVICES. Each replica has its own ports and socket. `sockets`
    is the folder of the Unix sockets. `cpus` are the machine's processors, if the suite may choose among them.
    `environment` is that of the user. Ports and addresses in it are used, and the targets between the services follow
    from them unless they are also set. Raises TopologyError.
    """
    counts = {service: (replicas or {}).get(service, 1) for service in SERVICES}
    if environment.get("CONSOLE_PORT") == "0":
        counts["console"] = 0
    _refuse_unshared(environment, counts, postgres_url, redis_url)
    hosts = {service: _listen_hosts(environment, service) for service in SERVICES}
    ports = {service: _ports(environment, service, counts[service]) for service in SERVICES}
    listens = {service: _listens(environment, service, counts[service], sockets) for service in GRPC_SERVICES}
    places = _places(environment, counts, cpus)
    shared = dict(environment)
    if postgres_url:
        shared.setdefault("RELAY_DATABASE_URL", postgres_url)
        shared.setdefault("CONFIG_API_DATABASE_URL", postgres_url)
    if redis_url:
        shared.setdefault("POLICY_STATE_URL", redis_url)
    workers = {"ingress": _ingress_workers(environment)}
    for variable, service in _TARGETS:
        if not shared.get(variable):
            every = [
                of_worker(listen, number) for listen in listens[service] for number in range(workers.get(service, 1))
            ]
            shared[variable] = ",".join(map(_target, every))
    shared.setdefault("RELAY_OWN_ADDRESSES", ",".join(_listeners(hosts["ingress"], ports["ingress"])))
    if counts["console"]:
        api_port, console_port = ports["config_api"][0]["CONFIG_API_PORT"], ports["console"][0]["CONSOLE_PORT"]
        _join_console(shared, hosts["config_api"][0], api_port, hosts["console"][0], console_port)
    return tuple(
        Process(
            service=service,
            name=_name(service, number),
            host=_reachable(hosts[service][0]).strip("[]"),
            listen_hosts=hosts[service],
            ports=of_replica,
            grpc=_target(listens[service][number]) if service in listens else "",
            environment={
                **_of_service(service, shared),
                **{variable: str(port) for variable, port in of_replica.items()},
                **({LISTEN_VARIABLES[service]: str(listens[service][number])} if service in listens else {}),
                **_own_folder(shared, service, number),
                **places.get((service, number), {}),
            },
        )
        for service in SERVICES
        for number, of_replica in enumerate(ports[service])
    )


def longest_socket_name(replicas: Mapping[str, int], workers: int) -> str:
    """Returns the longest name of a socket of these processes."""
    names = [f"{_name(service, replicas.get(service, 1) - 1)}.{workers}.sock" for service in GRPC_SERVICES]
    return max(names, key=len)


def parse_replicas(text: str) -> dict[str, int]:
    """Reads a text such as `ingress=2,policy=2` as counts. Raises TopologyError."""
    counts: dict[str, int] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        service, _, count = part.partition("=")
        if service not in SERVICES:
            raise TopologyError(f"--replicas: {service!r} is none of {', '.join(SERVICES)}")
        if not (count.isascii() and count.isdigit() and 1 <= int(count) <= 32):
            raise TopologyError(f"--replicas: {service} needs a number from 1 to 32, not {count!r}")
        counts[service] = int(count)
    return counts


def _join_console(shared: dict[str, str], host: str, port: int, console_host: str, console_port: int) -> None:
    """Gives console and API each other's addresses, and makes the API accept the addresses of users that the console
    reports.
    """
    if not shared.get("CONSOLE_API_URL"):
        shared["CONSOLE_API_URL"] = f"{scheme_of(shared, 'CONFIG_API')}://{_reachable(host)}:{port}"
    if not shared.get("CONFIG_API_PROXY_NETWORKS"):
        shared["CONFIG_API_PROXY_NETWORKS"] = "127.0.0.1/32,::1/128"
    if not shared.get("CONFIG_API_CONSOLE_URL"):
        shared["CONFIG_API_CONSOLE_URL"] = f"{scheme_of(shared, 'CONSOLE')}://{_reachable(console_host)}:{console_port}"


def scheme_of(environment: Mapping[str, str], prefix: str) -> str:
    """Returns the scheme that a service uses: http or https. `prefix` is the prefix of its variables."""
    is_self_signed = environment.get(f"{prefix}_TLS_SELF_SIGNED", "").lower() in _TRUE
    return "https" if is_self_signed or environment.get(f"{prefix}_TLS_CERT") else "http"


def _refuse_unshared(
    environment: Mapping[str, str], counts: Mapping[str, int], postgres_url: str, redis_url: str
) -> None:
    for service in ("config_api", "relay"):
        url = environment.get(f"{service.upper()}_DATABASE_URL", postgres_url)
        if counts[service] > 1 and not url.startswith("postgresql"):
            raise TopologyError(
                f"{counts[service]} replicas of {service} need one PostgreSQL to share: "
                f"give --postgres or {service.upper()}_DATABASE_URL"
            )
    state = environment.get("POLICY_STATE_URL", redis_url)
    if counts["policy"] > 1 and not state.startswith(("redis://", "rediss://")):
        raise TopologyError(
            f"{counts['policy']} replicas of policy need one Redis to share counters: give --redis or POLICY_STATE_URL"
        )


def _of_service(service: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables for the service, without the settings and secrets of the others."""
    others = tuple(prefix for other, prefix in _PREFIXES.items() if other != service)
    also = _SHARED_VARIABLES.get(service, ())
    return {name: value for name, value in environment.items() if name in also or not name.upper().startswith(others)}


def _listens(environment: Mapping[str, str], service: str, count: int, sockets: Path) -> tuple[addresses.Address, ...]:
    """Returns the gRPC address of each replica: a Unix socket, unless the user chose another one."""
    variable = LISTEN_VARIABLES[service]
    try:
        first = addresses.parse(environment.get(variable) or f"unix:{sockets / service}.sock")
    except ValueError as error:
        raise TopologyError(str(error)) from error
    if isinstance(first, TcpAddress):
        return tuple(replace(first, port=first.port + number * PORT_STEP) for number in range(count))
    path = first.path
    return tuple(UnixSocket(path.with_name(f"{_name(path.stem, number)}{path.suffix}")) for number in range(count))


def _target(listen: addresses.Address) -> str:
    """Returns the address under which others call a service that listens there."""
    if isinstance(listen, UnixSocket):
        return str(listen)
    return str(replace(listen, host=_reachable(listen.host).strip("[]")))


def _name(service: str, number: int) -> str:
    return service if number == 0 else f"{service}-{number + 1}"


def _own_folder(environment: Mapping[str, str], service: str, number: int) -> dict[str, str]:
    """Returns the variable with the data folder of a replica. Each replica has a separate folder for its files
    (snapshots, spools, a first certificate), as on separate machines. All replicas of config_api share one folder, and
    so do those of the console, because the keys in it must be the same.
    """
    if number == 0 or service in ("config_api", "console"):
        return {}
    return {"POSTHOUSE_DATA_DIR": f"{environment.get('POSTHOUSE_DATA_DIR', 'var')}/{_name(service, number)}"}


def _places(
    environment: Mapping[str, str], counts: Mapping[str, int], cpus: Sequence[int]
) -> dict[tuple[str, int], dict[str, str]]:
    """Returns the processors of each process. Each worker of ingress, and each relay, has its own processor if there
    are enough. The threads of one process wake each other all the time, which costs more over several processors, and
    most when both services use the same processor (docs/performance.md). Other processes are not limited to a
    processor.
    """
    if any(f"{service.upper()}_CPUS" in environment for service in _KEEPING):
        return {}
    workers_of = {"ingress": _ingress_workers(environment), "relay": 1}
    if sum(counts[service] * workers_of[service] for service in _KEEPING) > len(cpus):
        return {}
    left = iter(map(str, cpus))
    return {
        (service, number): {f"{service.upper()}_CPUS": ",".join(itertools.islice(left, workers_of[service]))}
        for service in _KEEPING
        for number in range(counts[service])
    }


def _ingress_workers(environment: Mapping[str, str]) -> int:
    text = environment.get("INGRESS_WORKERS") or "1"
    return int(text) if text.isascii() and text.isdigit() else 1


def _ports(environment: Mapping[str, str], service: str, count: int) -> tuple[dict[str, int], ...]:
    first: dict[str, int] = {}
    for variable, default in _PORTS[service].items():
        text = environment.get(variable) or str(default)
        if not (text.isascii() and text.isdigit() and int(text) <= 65535):
            raise TopologyError(f"{variable} must be a port from 0 to 65535, not {text!r}")
        first[variable] = int(text)
    # Port 0 means off, for every replica.
    return tuple(
        {variable: port and port + number * PORT_STEP for variable, port in first.items()} for number in range(count)
    )


def _listeners(hosts: Sequence[str], replicas: Sequence[Mapping[str, int]]) -> list[str]:
    """Returns the listeners of ingress for relay, which recognises a loop by them before it connects. A wildcard
    address does not change. For relay it stands for every address that the machine has at the time (F51).
    """
    variables = ("INGRESS_SMTP_PORT", "INGRESS_SUBMISSION_PORT", "INGRESS_SMTPS_PORT")
    return [
        f"{_bracketed(host)}:{replica[variable]}"
        for host in hosts
        for replica in replicas
        for variable in variables
        if replica[variable]
    ]


def _listen_hosts(environment: Mapping[str, str], service: str) -> tuple[str, ...]:
    """Returns the addresses at which a service listens. Only ingress has several. Each service checks its own
    addresses.
    """
    text = environment.get(f"{service.upper()}_HOST", "")
    return tuple(part.strip() for part in text.split(",") if part.strip()) or ("127.0.0.1",)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _reachable(host: str) -> str:
    """Returns the address for calls to a service that listens at `host`, with brackets around an IPv6 address."""
    return _bracketed({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host))
