"""The published client, sync and async, as its users make it."""

import logging
from typing import Any

import isa_common

CLASSES: dict[tuple[str, str], type] = {
    ("redis", "sync"): isa_common.RedisClient,
    ("redis", "async"): isa_common.AsyncRedisClient,
    ("postgres", "sync"): isa_common.PostgresClient,
    ("postgres", "async"): isa_common.AsyncPostgresClient,
    ("minio", "sync"): isa_common.MinIOClient,
    ("minio", "async"): isa_common.AsyncMinIOClient,
    ("nats", "sync"): isa_common.NATSClient,
    ("nats", "async"): isa_common.AsyncNATSClient,
    ("qdrant", "sync"): isa_common.QdrantClient,
    ("qdrant", "async"): isa_common.AsyncQdrantClient,
    ("neo4j", "sync"): isa_common.Neo4jClient,
    ("neo4j", "async"): isa_common.AsyncNeo4jClient,
    ("mqtt", "sync"): isa_common.MQTTClient,
    ("mqtt", "async"): isa_common.AsyncMQTTClient,
    ("loki", "sync"): isa_common.LokiClient,
    ("duckdb", "sync"): isa_common.DuckDBClient,
    ("duckdb", "async"): isa_common.AsyncDuckDBClient,
}


class Noted:
    """A stub that notes which of its methods are called; otherwise the stub itself."""

    def __init__(self, stub: Any, called: set[str]) -> None:
        self._stub = stub
        self._called = called

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._stub, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self._called.add(name)
            return method(*args, **kwargs)

        return call


def make(service: str, kind: str, address: str, user: str, organization: str, called: set[str], **options: Any) -> Any:
    """A client for one user. Note that a second sync one for an address closes the channel of the first."""
    host, _, port = address.rpartition(":")
    if service in ("redis", "nats", "mqtt", "loki"):
        options["organization_id"] = organization
    base = CLASSES[service, kind]
    noted = {"_create_stub": lambda self: Noted(base._create_stub(self), called)}
    return type(base.__name__, (base,), noted)(host=host, port=int(port), user_id=user, **options)


class Log(logging.Handler):
    """Keeps what the published client logs of the errors that it swallows."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("isa_common"):
            self.lines.append(" ".join(record.getMessage().split()))

    def take(self) -> list[str]:
        """The lines so far, each once."""
        lines, self.lines = self.lines, []
        return list(dict.fromkeys(lines))


LOG = Log()


def capture_logs() -> None:
    logging.root.handlers = [LOG]
