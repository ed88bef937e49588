"""Where services and engines answer: `.isa/services.json` and `.isa/endpoints.json`."""

import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Endpoint:
    """An engine and its credentials, as `crates/config/src/endpoint.rs` writes it."""

    url: str
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class Links:
    """Addresses of services (`host:port`) and endpoints of engines, by name, and whose calls are that name nobody."""

    services: dict[str, str]
    engines: dict[str, Endpoint]
    default_tenant: str

    @classmethod
    def read(cls, services: Path, endpoints: Path, default_tenant: str) -> "Links":
        engines = {
            name: Endpoint(entry["url"], entry.get("username") or "", entry.get("password") or "")
            for name, entry in json.loads(endpoints.read_text()).items()
        }
        addresses = {name: url.removeprefix("http://") for name, url in json.loads(services.read_text()).items()}
        return cls(addresses, engines, default_tenant)
