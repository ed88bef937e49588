"""The engines' own clients, by which cases look behind the services, and remove what they left."""

import asyncio
import contextlib
from typing import Any

import boto3
import botocore.config
import nats
import psycopg
import redis

from conformance import names
from conformance.background import LOOP
from conformance.links import Endpoint


def connect(service: str, endpoint: Endpoint) -> Any:
    kinds = {"redis": redis_client, "postgres": postgres, "minio": s3, "nats": Nats, "duckdb": s3}
    return kinds[service](endpoint)


def beside(service: str) -> str:
    """The engine that is looked at: DuckDB's files are locked by the service, so what it leaves in object storage is."""
    return "minio" if service == "duckdb" else service


def redis_client(endpoint: Endpoint) -> redis.Redis:
    # Redis' own user is called `default`; a name of another kind is not its business.
    return redis.Redis.from_url(endpoint.url, password=endpoint.password or None, decode_responses=True)


def postgres(endpoint: Endpoint) -> psycopg.Connection:
    return psycopg.connect(endpoint.url, user=endpoint.username, password=endpoint.password, autocommit=True)


def s3(endpoint: Endpoint) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint.url,
        aws_access_key_id=endpoint.username,
        aws_secret_access_key=endpoint.password,
        region_name="us-east-1",
        config=botocore.config.Config(
            s3={"addressing_style": "path"},
            retries={"max_attempts": 1},
            # Not every engine knows the checksums that boto3 adds of its own.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


class Nats:
    """nats-py, blocking."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._loop = LOOP
        self.client = LOOP.run(self._connect(endpoint), 10)
        self.stream = self.client.jetstream()

    @staticmethod
    async def _connect(endpoint: Endpoint) -> nats.NATS:
        return await nats.connect(endpoint.url, user=endpoint.username or None, password=endpoint.password or None)

    def run(self, work: Any, limit: float = 10) -> Any:
        return LOOP.run(work, limit)

    def publish(self, subject: str, data: bytes, reply: str = "", headers: dict[str, str] | None = None) -> None:
        self.run(self.client.publish(subject, data, reply=reply, headers=headers))
        self.run(self.client.flush())

    def subscribe(self, subject: str, queue: str = "") -> "NatsSubscription":
        subscription = NatsSubscription(self.run(self.client.subscribe(subject, queue=queue)))
        self.run(self.client.flush())
        return subscription

    def answer(self, subject: str, reply: bytes) -> "NatsSubscription":
        """Answers each request on the subject with `reply` before the request's own data."""

        async def respond(message: Any) -> None:
            await message.respond(reply + message.data)

        subscription = NatsSubscription(self.run(self.client.subscribe(subject, cb=respond)))
        self.run(self.client.flush())
        return subscription

    def streams(self) -> list[str]:
        """Names of all streams, those under buckets too."""
        found: list[str] = []
        while page := self.run(self.stream.streams_info(offset=len(found))):
            found += [stream.config.name for stream in page]
            if len(page) < 256:
                break
        return found

    def info(self, stream: str) -> Any:
        return self.run(self.stream.stream_info(stream))

    def message(self, stream: str, sequence: int | None = None, subject: str | None = None) -> Any:
        """A stored message, by its sequence or the last of a subject."""
        return self.run(self.stream.get_msg(stream, seq=sequence, subject=subject))

    def consumer(self, stream: str, name: str) -> Any:
        return self.run(self.stream.consumer_info(stream, name))

    def key_value(self, bucket: str) -> Any:
        return self.run(self.stream.key_value(bucket))

    def object_data(self, bucket: str, name: str) -> bytes:
        store = self.run(self.stream.object_store(bucket))
        return self.run(store.get(name)).data

    def version(self) -> str:
        version = self.client.connected_server_version
        return f"{version.major}.{version.minor}.{version.patch}"


class NatsSubscription:
    def __init__(self, subscription: Any) -> None:
        self._subscription = subscription

    def next(self, limit: float = 5) -> Any:
        return LOOP.run(self._subscription.next_msg(timeout=limit))

    def end(self) -> None:
        LOOP.run(self._subscription.unsubscribe())


def version(service: str, engine: Any) -> str:
    """The engine's name and version, for the table."""
    match service:
        case "redis":
            info = engine.info("server")
            name = info.get("server_name", "redis")
            return f"{name} {info.get(f'{name}_version', info['redis_version'])}"
        case "postgres":
            return f"postgres {engine.execute('SHOW server_version').fetchone()[0].split()[0]}"
        case "minio":
            server = engine.list_buckets()["ResponseMetadata"]["HTTPHeaders"].get("server", "s3")
            return server.lower()
        case "duckdb":
            return "duckdb, with " + version("minio", engine)
        case _:
            return f"nats {engine.version()}"


def clean(service: str, engine: Any, tenant: str) -> None:
    """Removes everything that a tenant has."""
    slug = names.slug(tenant)
    match service:
        case "redis":
            for key in engine.scan_iter(match=f"*{slug}*", count=1000):
                engine.delete(key)
        case "postgres":
            schema = names.postgres_schema(tenant)
            engine.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
            if engine.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [schema]).fetchone():
                engine.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [schema])
                engine.execute(f'DROP OWNED BY "{schema}" CASCADE')
                engine.execute(f'DROP ROLE "{schema}"')
        case "minio":
            for bucket in engine.list_buckets()["Buckets"]:
                if bucket["Name"].startswith(slug):
                    remove_bucket(engine, bucket["Name"])
        case "duckdb":
            clean("minio", engine, tenant)
            with contextlib.suppress(engine.exceptions.NoSuchBucket):
                pages = engine.get_paginator("list_objects_v2").paginate(Bucket=names.DUCKDB_PLACE, Prefix=f"{slug}/")
                for entry in (entry for page in pages for entry in page.get("Contents", [])):
                    engine.delete_object(Bucket=names.DUCKDB_PLACE, Key=entry["Key"])
        case "nats":
            for stream in engine.streams():
                if slug in stream:
                    engine.run(engine.stream.delete_stream(stream))


def drop_tables(engine: psycopg.Connection, tenant: str, mark: str) -> None:
    """Those of the tenant whose name has the mark."""
    schema = names.postgres_schema(tenant)
    found = engine.execute(
        "SELECT format('%%I.%%I', schemaname, tablename) FROM pg_tables WHERE schemaname = %s AND tablename LIKE %s",
        [schema, f"%{mark}%"],
    )
    for (table,) in found.fetchall():
        engine.execute(f"DROP TABLE {table} CASCADE")


def remove_bucket(engine: Any, bucket: str) -> None:
    for upload in engine.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
        engine.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in engine.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for version in page.get("Versions", []) + page.get("DeleteMarkers", []):
            engine.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
    engine.delete_bucket(Bucket=bucket)


def close(service: str, engine: Any) -> None:
    with contextlib.suppress(Exception):
        if service == "nats":
            LOOP.run(asyncio.wait_for(engine.client.close(), 2), 3)
        else:
            engine.close()
