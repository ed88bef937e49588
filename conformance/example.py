"""Runs an example as its reader does, on a platform whose services have other ports than the usual ones:
conformance/python -m conformance.example FILE 50055=41234 ..."""

import runpy
import sys

from isa_common.async_base_client import AsyncBaseGRPCClient
from isa_common.base_client import BaseGRPCClient


def move(ports: dict[int, int]) -> None:
    """Makes clients that are given no port look where the services are."""
    for base in (BaseGRPCClient, AsyncBaseGRPCClient):
        discover = base._discover_service_endpoint

        def moved(self, discover=discover) -> tuple[str, int]:
            host, port = discover(self)
            return host, ports.get(port, port)

        base._discover_service_endpoint = moved


if __name__ == "__main__":
    file, *pairs = sys.argv[1:]
    move({int(usual): int(port) for usual, port in (pair.split("=") for pair in pairs)})
    sys.argv = [file]
    runpy.run_path(file, run_name="__main__")
