"""What a tenant's things are called on the engines: the services' rules, once more, and nowhere else in this suite."""

import hashlib
import uuid
from collections.abc import Iterable

# Whose a call on an open server is that names nobody.
DEFAULT_TENANT = "user:default_user"

# Services whose published clients never say who calls: requests have `metadata` for it.
NAMELESS = ("postgres", "qdrant", "neo4j")

# Where the duckdb service keeps copies of databases whose tenant names no bucket; each tenant's below its slug.
DUCKDB_PLACE = "isa-platform-duckdb-copies"


def fresh(kind: str) -> str:
    """A name that no run had before; good for users, organizations, buckets, tables and subjects."""
    return f"{kind}{uuid.uuid4().hex[:12]}"


def tenant(service: str, user: str, organization: str) -> str:
    """Whose data a call touches that names these; of the calls of minio, duckdb and mqtt most name the user alone."""
    if service in ("minio", "duckdb", "mqtt") or not organization:
        return f"user:{user}"
    return f"org:{organization}"


def slug(tenant: str) -> str:
    return hashlib.sha256(tenant.encode()).digest()[:10].hex()


def redis_key(tenant: str, key: str) -> str:
    return f"{{{slug(tenant)}}}:{key}"


def redis_channel(tenant: str, channel: str) -> str:
    return redis_key(tenant, channel)


def postgres_schema(tenant: str) -> str:
    """Also the name of the tenant's role."""
    return f"t_{slug(tenant)}"


def neo4j_label(tenant: str, label: str = "") -> str:
    """The label of all nodes of the tenant, or that which stands beside one of its own. Schema names likewise."""
    return f"_isa_{slug(tenant)}_{label}".removesuffix("_" if not label else "")


def s3_bucket(tenant: str, bucket: str) -> str:
    return f"{slug(tenant)}-{bucket}"


def qdrant_collection(tenant: str, name: str) -> str:
    """Also of an alias."""
    return f"{slug(tenant)}-{name}"


def nats_subject(tenant: str, subject: str) -> str:
    return f"t.{slug(tenant)}.{subject}"


def nats_stream(tenant: str, name: str, present: Iterable[str]) -> str | None:
    """The one of `present` that is the tenant's stream `name`."""
    return _find(tenant, name, (s for s in present if not s.startswith(("KV_", "OBJ_"))))


def nats_kv_bucket(tenant: str, bucket: str, present: Iterable[str]) -> str | None:
    """The bucket's name on the engine, whose stream has `KV_` before it."""
    return _find(tenant, bucket, (s.removeprefix("KV_") for s in present if s.startswith("KV_")))


def nats_object_bucket(tenant: str, bucket: str, present: Iterable[str]) -> str | None:
    """The bucket's name on the engine, whose stream has `OBJ_` before it."""
    return _find(tenant, bucket, (s.removeprefix("OBJ_") for s in present if s.startswith("OBJ_")))


def mqtt_topic(tenant: str, topic: str) -> str:
    return f"isa/t/{slug(tenant)}/{topic}"


def loki_scope(tenant: str) -> str:
    """What Loki is told as `X-Scope-OrgID`."""
    return slug(tenant)


def loki_labels(labels: dict[str, str]) -> dict[str, str]:
    """Labels of a stream on the engine: the service adds one of its own, by which it finds them all."""
    return {"__isa__": "1", **labels}


def _find(tenant: str, name: str, present: Iterable[str]) -> str | None:
    return next((s for s in present if slug(tenant) in s and s.endswith(name)), None)
