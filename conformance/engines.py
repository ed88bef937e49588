"""The engines' own clients, by which cases look behind the services, and remove what they left."""

import asyncio
import contextlib
import json
import queue
import threading
import time
import urllib.parse
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.config
import nats
import neo4j
import paho.mqtt.client as paho
import psycopg
import qdrant_client
import redis

from conformance import names
from conformance.background import LOOP
from conformance.links import Endpoint


def connect(service: str, endpoint: Endpoint) -> Any:
    clients = {
        "redis": redis_client,
        "postgres": postgres,
        "minio": s3,
        "nats": Nats,
        "qdrant": qdrant,
        "neo4j": Neo4j,
        "mqtt": Mqtt,
        "loki": Loki,
        "duckdb": s3,
    }
    return clients[service](endpoint)


def beside(service: str) -> str:
    """The engine that is looked at: DuckDB's files are locked by the service, so what it leaves in object storage is."""
    return {"duckdb": "minio", "mqtt": "mosquitto"}.get(service, service)


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


def qdrant(endpoint: Endpoint) -> qdrant_client.QdrantClient:
    return qdrant_client.QdrantClient(url=endpoint.url, api_key=endpoint.password or None, check_compatibility=False)


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


class Neo4j:
    """Neo4j's own driver: rows as dicts."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.driver = neo4j.GraphDatabase.driver(
            endpoint.url, auth=(endpoint.username or "neo4j", endpoint.password or ""), notifications_min_severity="OFF"
        )
        self.driver.verify_connectivity()

    def rows(self, cypher: str, **parameters: Any) -> list[dict[str, Any]]:
        records, _, _ = self.driver.execute_query(cypher, parameters)
        return [record.data() for record in records]

    def value(self, cypher: str, **parameters: Any) -> Any:
        """The one value of the one row."""
        records, _, _ = self.driver.execute_query(cypher, parameters)
        ((value,),) = (tuple(record) for record in records)
        return value

    def node(self, id: int) -> Any:
        """None if there is none."""
        records, _, _ = self.driver.execute_query("MATCH (n) WHERE id(n) = $id RETURN n", id=id)
        return records[0]["n"] if records else None

    def close(self) -> None:
        self.driver.close()
class Mqtt:
    """paho, blocking."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._client, _ = self._open(lambda message: None)

    def _open(self, keep: Any) -> tuple[paho.Client, Any]:
        """A connection, and a function that subscribes on it and waits until the broker has."""
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.username_pw_set(self._endpoint.username, self._endpoint.password)
        connected, subscribed = threading.Event(), threading.Event()
        client.on_connect = lambda *_: connected.set()
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = lambda _client, _data, message: keep(message)
        url = urlsplit(self._endpoint.url)
        client.connect(url.hostname, url.port)
        client.loop_start()
        if not connected.wait(10):
            raise AssertionError("the broker does not answer")

        def subscribe(topic: str) -> None:
            client.subscribe(topic, qos=2)
            if not subscribed.wait(10):
                raise AssertionError("the broker does not subscribe")

        return client, subscribe

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=qos, retain=retain).wait_for_publish(10)

    def subscribe(self, topic: str) -> "MqttSubscription":
        messages: queue.Queue[Any] = queue.Queue()
        client, subscribe = self._open(messages.put)
        subscribe(topic)
        return MqttSubscription(client, messages)

    def retained(self, topic: str) -> list[Any]:
        """What is kept there: it comes before anything that is published later."""
        messages = self.subscribe(topic)
        fence = topic.split("/#")[0] + "/fence-of-the-suite" if topic.endswith("#") else topic
        # A message that is not kept marks the end. One of QoS 2, as what is kept may be: of lower QoS it would be faster.
        self.publish(fence, b"the end", qos=2)
        found: list[Any] = []
        while (message := messages.next()).retain:
            found.append(message)
        messages.end()
        return found

    def version(self) -> str:
        messages = self.subscribe("$SYS/broker/version")
        found = messages.next().payload.decode()
        messages.end()
        return found.removeprefix("mosquitto version ")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class MqttSubscription:
    def __init__(self, client: paho.Client, messages: "queue.Queue[Any]") -> None:
        self._client = client
        self._messages = messages

    def next(self, limit: float = 5) -> Any:
        try:
            return self._messages.get(timeout=limit)
        except queue.Empty:
            raise AssertionError(f"no message came within {limit} s") from None

    def end(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
class Loki:
    """Loki's own HTTP API, for one tenant or another."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._url = endpoint.url

    def ask(self, scope: str, path: str, method: str = "GET", **parameters: Any) -> Any:
        query = urllib.parse.urlencode(parameters)
        request = urllib.request.Request(f"{self._url}{path}?{query}", headers={"X-Scope-OrgID": scope}, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text.startswith((b"{", b"[")) else text.decode()

    def entries(self, scope: str, selector: str) -> list[tuple[dict[str, str], int, str]]:
        """Labels, nanoseconds and line of the entries of the last eight days, the oldest first."""
        now = time.time_ns()
        found = self.ask(
            scope,
            "/loki/api/v1/query_range",
            query=selector,
            start=now - 8 * 86400 * 10**9,
            end=now + 3600 * 10**9,
            limit=5000,
            direction="forward",
        )
        entries = [
            (stream["stream"], int(at), line) for stream in found["data"]["result"] for at, line in stream["values"]
        ]
        return sorted(entries, key=lambda entry: entry[1])

    def push(self, scope: str, labels: dict[str, str], line: str, at: int) -> None:
        body = json.dumps({"streams": [{"stream": labels, "values": [[str(at), line]]}]}).encode()
        headers = {"X-Scope-OrgID": scope, "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._url}/loki/api/v1/push", data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=20):
            pass

    def deletions(self, scope: str) -> list[dict[str, Any]]:
        return self.ask(scope, "/loki/api/v1/delete")

    def version(self) -> str:
        return self.ask("isa-health", "/loki/api/v1/status/buildinfo")["version"] or "of unknown version"

    def close(self) -> None:
        """Nothing stays open."""


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
        case "qdrant":
            return f"qdrant {engine.info().version}"
        case "neo4j":
            return f"neo4j {engine.value('CALL dbms.components() YIELD versions RETURN versions[0]')}"
        case "mqtt":
            return f"mosquitto {engine.version()}"
        case "loki":
            return f"loki {engine.version()}"
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
        case "mqtt":
            for message in engine.retained(names.mqtt_topic(tenant, "#")):
                engine.publish(message.topic, b"", retain=True)
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
        case "qdrant":
            drop_collections(engine, tenant, "")
        case "neo4j":
            drop_nodes(engine, tenant, "")
        case "loki":
            # Loki removes hours after it is asked, and each tenant here is new: what is left goes by retention.
            pass


def drop_collections(engine: qdrant_client.QdrantClient, tenant: str, mark: str) -> None:
    """Those of the tenant whose name has the mark."""
    for collection in engine.get_collections().collections:
        if collection.name.startswith(f"{names.slug(tenant)}-") and mark in collection.name:
            engine.delete_collection(collection.name)


def drop_tables(engine: psycopg.Connection, tenant: str, mark: str) -> None:
    """Those of the tenant whose name has the mark."""
    schema = names.postgres_schema(tenant)
    found = engine.execute(
        "SELECT format('%%I.%%I', schemaname, tablename) FROM pg_tables WHERE schemaname = %s AND tablename LIKE %s",
        [schema, f"%{mark}%"],
    )
    for (table,) in found.fetchall():
        engine.execute(f"DROP TABLE {table} CASCADE")


def drop_nodes(engine: Neo4j, tenant: str, mark: str) -> None:
    """The tenant's nodes with a label, and its indexes and constraints with a name, that have the mark."""
    prefix = names.neo4j_label(tenant)
    engine.rows(
        f"MATCH (n:`{prefix}`) WHERE $mark = '' OR any(label IN labels(n) WHERE label CONTAINS $mark) DETACH DELETE n",
        mark=mark,
    )
    # An index may be that of a constraint: these first.
    for what, all_of_them in (("CONSTRAINT", "CONSTRAINTS"), ("INDEX", "INDEXES")):
        for row in engine.rows(f"SHOW {all_of_them} YIELD name"):
            if row["name"].startswith(prefix) and mark in row["name"]:
                engine.rows(f"DROP {what} {row['name']}")


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
