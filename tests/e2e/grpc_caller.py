"""Calls every method of every gRPC service. As a program, it may run as another user, and prints the results."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
from collections.abc import Iterator, Mapping

import grpc
import posthouse
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

_ANSWER_SECONDS = 60.0
# The result of a call that gets an answer within the time limit. The result of any other call is the name of a status.
NOTHING = "nothing was refused"


def described_services() -> Iterator[ServiceDescriptor]:
    """Yields every gRPC service of the contracts, and the services that every server has."""
    for module in pkgutil.walk_packages(posthouse.__path__, "posthouse."):
        if module.name.endswith("_pb2"):
            yield from importlib.import_module(module.name).DESCRIPTOR.services_by_name.values()
    yield from health_pb2.DESCRIPTOR.services_by_name.values()
    yield from reflection_pb2.DESCRIPTOR.services_by_name.values()


def described_methods() -> list[str]:
    """Returns `package.Service/Method` for each method."""
    return [_path(method) for service in described_services() for method in service.methods]


def call_all(channel: grpc.Channel) -> dict[str, str]:
    """Returns for each method the name of the status with which the call failed, or NOTHING."""
    return {_path(method): _call(channel, method) for service in described_services() for method in service.methods}


def _path(method: MethodDescriptor) -> str:
    return f"{method.containing_service.full_name}/{method.name}"


def _call(channel: grpc.Channel, method: MethodDescriptor) -> str:
    """Calls a method with an empty request, or with no request when requests are streamed."""
    takes = "stream" if method.client_streaming else "unary"
    gives = "stream" if method.server_streaming else "unary"
    call = getattr(channel, f"{takes}_{gives}")(f"/{_path(method)}")
    request = iter(()) if method.client_streaming else b""
    try:
        answer = call(request, timeout=_ANSWER_SECONDS)
        if method.server_streaming:
            # When a call fails, the first read raises, because nothing is sent before the status.
            next(answer, None)
            answer.cancel()
    except grpc.RpcError as error:
        return str(error.code().name)
    return NOTHING


def main(user: int, targets: Mapping[str, str]) -> None:
    """Prints the results of all methods by target, as the given user."""
    if user:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    results = {}
    for name, target in targets.items():
        with grpc.insecure_channel(target) as channel:
            results[name] = call_all(channel)
    print(json.dumps(results))


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
