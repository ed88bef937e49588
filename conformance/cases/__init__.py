"""The cases, one file for each service and kind of client."""

import importlib
import pkgutil

from conformance.case import ALL, Case


def load() -> list[Case]:
    """All cases, in the order of their files."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return ALL
