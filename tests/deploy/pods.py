"""The pods of deploy/kubernetes as processes of this machine, with their arguments, environments, Secrets, probes."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import trustme
import yaml

from tests.peers.ports import LOOPBACK, free_port
from tests.peers.process import PeerProcess, program, run

ROOT = Path(__file__).parents[2]
HOSTNAME = "gw.test"
Object = dict[str, Any]
_LISTEN = re.compile(r"0\.0\.0\.0:(\d+)")
# Kubernetes sets these variables in every pod, for each Service of the namespace, unless the pod says
# enableServiceLinks: false.
_SERVICE_LINKS = {
    f"{name}_{ending}": value
    for name in ("POLICY", "RELAY", "CONFIG_API", "API", "MAIL", "INGRESS", "CONSOLE")
    for ending, value in {
        "SERVICE_HOST": "10.96.0.7",
        "SERVICE_PORT": "25",
        "SERVICE_PORT_GRPC": "50051",
        "PORT": "tcp://10.96.0.7:25",
        "PORT_25_TCP": "tcp://10.96.0.7:25",
        "PORT_25_TCP_PROTO": "tcp",
        "PORT_25_TCP_PORT": "25",
        "PORT_25_TCP_ADDR": "10.96.0.7",
    }.items()
}


class Pods:
    """One pod of each Deployment, and the jobs. PostgreSQL and Redis run elsewhere, as in a cluster."""

    def __init__(self, folder: Path, config_url: str, queue_url: str, redis_url: str) -> None:
        self._folder = folder
        self._ports: dict[tuple[str, int], int] = {}
        self._running: list[PeerProcess] = []
        self.authority = trustme.CA()
        self.admin_key = "an-admin-key-of-this-test"
        self._objects = self._render()
        self._secrets = {
            object_["metadata"]["name"]: {name: base64.b64decode(text) for name, text in object_["data"].items()}
            for object_ in self._objects
            if object_["kind"] == "Secret"
        }
        self._secrets |= {
            "posthouse-config-api": {
                "config_database_url": config_url.encode(),
                "admin_key": self.admin_key.encode(),
                "secret_key": base64.urlsafe_b64encode(os.urandom(32)),
            },
            "posthouse-relay": {"queue_database_url": queue_url.encode()},
            "posthouse-policy": {"state_url": redis_url.encode()},
            "posthouse-mail-tls": self._certificate(HOSTNAME),
            "posthouse-console": {"secret_key": os.urandom(32).hex().encode()},
            "posthouse-console-tls": self._certificate("localhost"),
        }

    def _certificate(self, name: str) -> dict[str, bytes]:
        leaf = self.authority.issue_cert(name)
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        return {"tls.crt": chain, "tls.key": leaf.private_key_pem.bytes()}

    def _render(self) -> list[Object]:
        """Renders the overlay with certificates from files, in a copy in which `posthouse certificates` was run."""
        copy = self._folder / "kubernetes"
        shutil.copytree(ROOT / "deploy/kubernetes", copy)
        overlay = copy / "certificates-from-files"
        run([sys.executable, "-m", "services", "certificates", self._folder / "authority", overlay / "certificates"])
        rendered = subprocess.run(
            [program("kubectl"), "kustomize", overlay], capture_output=True, text=True, check=True
        )
        return list(yaml.safe_load_all(rendered.stdout))

    def stop(self) -> None:
        for process in self._running:
            process.signal(signal.SIGTERM)
        for process in self._running:
            process.stop()

    def port(self, name: str, port: int) -> int:
        """Returns the port on this machine that replaces a port of a pod."""
        return self._ports.setdefault((name, port), free_port())

    def start(self, kind: str, name: str) -> PeerProcess:
        """Starts one pod of a Deployment or Job, and does not wait for it."""
        pod = self._pod(kind, name)
        (container,) = pod["containers"]
        process = PeerProcess(
            [sys.executable, "-m", "services", *container["args"]],
            self._folder / f"{name}.log",
            name=name,
            folder=self._folder,
            environment=self._environment(name, pod),
            end_signal=signal.SIGTERM,
        )
        self._running.append(process)
        return process

    def passes(self, name: str, probe: str) -> bool:
        """Returns whether a probe of the Deployment's container passes."""
        (container,) = self._pod("Deployment", name)["containers"]
        request = container[probe]["httpGet"]
        port = next(port["containerPort"] for port in container["ports"] if port["name"] == request["port"])
        url = f"{request.get('scheme', 'HTTP').lower()}://{LOOPBACK}:{self.port(name, port)}{request['path']}"
        # The kubelet calls a pod by its IP address and accepts any certificate.
        headers = {"Host": f"192.0.2.1:{port}"}
        headers |= {header["name"]: header["value"] for header in request.get("httpHeaders", ())}
        try:
            return httpx.get(url, headers=headers, timeout=10, verify=False).is_success
        except httpx.TransportError:
            return False

    def _pod(self, kind: str, name: str) -> Object:
        workload = next(
            object_ for object_ in self._objects if object_["kind"] == kind and object_["metadata"]["name"] == name
        )
        pod: Object = workload["spec"]["template"]["spec"]
        return pod

    def _environment(self, name: str, pod: Object) -> dict[str, str]:
        (container,) = pod["containers"]
        mounts = self._mount(name, pod)
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}",
            "POSTHOUSE_DATA_DIR": str(mounts.get("/var/lib/posthouse", "/nonexistent")),
            **_SERVICE_LINKS,
        }
        for variable in container["env"]:
            environment[variable["name"]] = self._here(name, variable["name"], variable["value"], mounts)
        return environment

    def _mount(self, name: str, pod: Object) -> dict[str, Path]:
        """Maps each path in the container to the folder here. A folder for a Secret contains the Secret's files."""
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {}
        (container,) = pod["containers"]
        for mount in container["volumeMounts"]:
            folder = self._folder / name / mount["name"]
            folder.mkdir(parents=True, mode=0o700)
            secret = volumes[mount["name"]].get("secret")
            for file, content in self._secrets[secret["secretName"]].items() if secret else ():
                (folder / file).write_bytes(content)
            mounts[mount["mountPath"]] = folder
        return mounts

    def _url_of_service(self, url: str) -> str:
        """Returns the URL of an HTTP Service, with the port of its pod on this machine."""
        host = urlsplit(url).hostname
        spec = next(
            each["spec"] for each in self._objects if each["kind"] == "Service" and each["metadata"]["name"] == host
        )
        (port,) = spec["ports"]
        component = spec["selector"]["app.kubernetes.io/component"]
        (container,) = self._pod("Deployment", component)["containers"]
        target = next(each["containerPort"] for each in container["ports"] if each["name"] == port["targetPort"])
        return f"http://{LOOPBACK}:{self.port(component, target)}"

    def _here(self, name: str, variable: str, value: str, mounts: dict[str, Path]) -> str:
        """Replaces the addresses and folders of the pod in a value by those of this machine."""
        for path, folder in mounts.items():
            if value.startswith(f"{path}/"):
                return str(folder / value.removeprefix(f"{path}/"))
        if variable.endswith("_HOST"):
            return LOOPBACK
        if variable.endswith("_NETWORKS"):
            return f"{LOOPBACK}/32"
        if variable == "CONSOLE_API_URL":
            return self._url_of_service(value)
        if variable.endswith("_PORT"):
            return str(self.port(name, int(value)))
        if variable.endswith("_TARGET"):
            service, _, port = value.partition(":")
            return f"{LOOPBACK}:{self.port(service, int(port))}"
        return _LISTEN.sub(lambda match: f"{LOOPBACK}:{self.port(name, int(match[1]))}", value)
