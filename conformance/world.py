"""What a case works with."""

from functools import cached_property
from typing import Any

from conformance import names, published
from conformance.background import Blocking
from conformance.engines import clean, drop_collections, drop_nodes, drop_tables
from conformance.plain import DEADLINE, Plain, Stream


class World:
    """One tenant that nobody had before, of one service, with the clients to reach it and its engine.

    `client` is the published client, blocking whichever kind it is; `call`, `stream` and `upload` are plain gRPC with
    the caller filled in; `engine` is the engine's own client."""

    def __init__(
        self,
        service: str,
        kind: str,
        address: str,
        plain: Plain,
        engine: Any,
        default_tenant: str,
        user: str = "",
        organization: str = "",
    ) -> None:
        self.service = service
        self.kind = kind
        self.address = address
        self.plain = plain
        self.engine = engine
        # Of calls that name nobody. The published client's calls never do, of the services in `names.NAMELESS`.
        self.default_tenant = default_tenant
        self.user = user or names.fresh("user")
        self.organization = organization or names.fresh("org")
        self.called: set[str] = set()
        self.others: list[World] = []

    @property
    def tenant(self) -> str:
        if not self.user or (self.service in names.NAMELESS and self.kind != "plain"):
            return self.default_tenant
        return names.tenant(self.service, self.user, self.organization)

    @property
    def open(self) -> bool:
        """Whether the server believes what requests say of their caller; else it wants tokens, and ours may act-as."""
        return self.default_tenant == names.DEFAULT_TENANT

    @property
    def slug(self) -> str:
        return names.slug(self.tenant)

    @cached_property
    def raw(self) -> Any:
        """The published client as it is."""
        return self.make()

    @cached_property
    def client(self) -> Any:
        return self.raw if self.kind == "sync" else Blocking(self.raw)

    def renew(self) -> None:
        """A new client: a sync one is of no use once another was made."""
        self.__dict__.pop("raw", None)
        self.__dict__.pop("client", None)

    def make(self, **options: Any) -> Any:
        """Another published client of the same user. In the sync form it closes the channel of the one before."""
        return published.make(
            self.service, self.kind, self.address, self.user, self.organization, self.called, **options
        )

    def other(self, user: str = "", organization: str = "") -> "World":
        """Another tenant, or another user of this organization."""
        world = World(
            self.service, self.kind, self.address, self.plain, self.engine, self.default_tenant, user, organization
        )
        world.called = self.called
        self.others.append(world)
        return world

    def leave_organization(self) -> None:
        """For calls that name a thing by an id and have no room for an organization: an open server believes the id; with
        tokens only the user's own are found."""
        if not self.open:
            self.organization = ""

    def call(self, method: str, deadline: float = DEADLINE, **fields: Any) -> Any:
        self.called.add(method)
        return self.plain.call(method, self.identified(method, fields), deadline)

    def stream(self, method: str, deadline: float = DEADLINE, **fields: Any) -> Stream:
        self.called.add(method)
        return self.plain.stream(method, self.identified(method, fields), deadline)

    def upload(self, method: str, metadata: dict[str, Any], *chunks: bytes) -> Any:
        """A stream of requests: metadata, then chunks."""
        self.called.add(method)
        first = {"metadata": {"user_id": self.user, **metadata}}
        return self.plain.upload(method, [first, *({"chunk": chunk} for chunk in chunks)])

    def send(self, method: str, requests: list[dict[str, Any]]) -> Any:
        """A stream of requests that are all alike."""
        self.called.add(method)
        return self.plain.upload(method, [self.identified(method, fields) for fields in requests])

    def identified(self, method: str, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields, and who calls where the request has room for it."""
        request = self.plain.descriptor.methods_by_name[method].input_type
        known = request.fields_by_name
        caller = {"user_id": self.user}
        if self.service not in ("minio", "duckdb"):
            caller["organization_id"] = self.organization
        if self.service in names.NAMELESS and "metadata" in known:
            return {"metadata": caller, **fields}
        return {name: value for name, value in caller.items() if name in known} | fields

    def clean(self) -> None:
        """Removes what the tenant, and the others of this case, have on the engine."""
        if self.service == "postgres" and self.tenant == self.default_tenant:
            drop_tables(self.engine, self.tenant, self.user)
        if self.service == "qdrant" and self.tenant == self.default_tenant:
            drop_collections(self.engine, self.tenant, self.user)
        if self.service == "neo4j" and self.tenant == self.default_tenant:
            drop_nodes(self.engine, self.tenant, self.user)
        for world in [self, *self.others]:
            for tenant in {world.tenant, f"user:{world.user}"} - {self.default_tenant}:
                clean(self.service, self.engine, tenant)
