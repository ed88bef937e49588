"""The published contract: nine services and their 275 methods, as the published client's package has them."""

import importlib
import inspect
import pkgutil
import re
from functools import cache

import isa_common.proto

from conformance import published

SUFFIX = "_service_pb2"


@cache
def services() -> dict[str, list[str]]:
    """The methods of each service, by its name."""
    found: dict[str, list[str]] = {}
    for module in pkgutil.iter_modules(isa_common.proto.__path__):
        if module.name.endswith(SUFFIX):
            file = importlib.import_module(f"isa_common.proto.{module.name}").DESCRIPTOR
            all_of_it = [method.name for service in file.services_by_name.values() for method in service.methods]
            found[module.name.removesuffix(SUFFIX)] = all_of_it
    return found


@cache
def called(service: str, kind: str) -> frozenset[str]:
    """The methods that the published client of this kind has a call of; none where there is no such client."""
    client = published.CLASSES.get((service, kind))
    return frozenset(re.findall(r"\bstub\.(\w+)", inspect.getsource(client)) if client else ())
