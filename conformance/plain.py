"""A plain gRPC client, made of what the server's reflection says."""

import base64
import math
import queue
import threading
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICES = {
    "redis": "isa.redis.RedisService",
    "postgres": "isa.postgres.PostgresService",
    "minio": "isa.minio.MinIOService",
    "nats": "isa.nats.NATSService",
    "qdrant": "isa.qdrant.QdrantService",
    "neo4j": "isa.neo4j.Neo4jService",
    "mqtt": "isa.mqtt.MQTTService",
    "loki": "isa.loki.LokiService",
    "duckdb": "isa.duckdb.DuckDBService",
}
MIB = 1024 * 1024
LIMITS = [("grpc.max_receive_message_length", 100 * MIB), ("grpc.max_send_message_length", 100 * MIB)]
# A call that has not ended by then has failed.
DEADLINE = 20.0


class Plain:
    """Calls by name. A request is given as keyword arguments, nested messages as dicts, as in protobuf's JSON form; but
    bytes, infinities and durations (timedelta) are Python's own."""

    def __init__(self, service: str, address: str) -> None:
        self.channel = grpc.insecure_channel(address, options=LIMITS)
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(self.channel))
        self.descriptor: ServiceDescriptor = pool.FindServiceByName(SERVICES[service])

    @property
    def methods(self) -> list[str]:
        return [method.name for method in self.descriptor.methods]

    def message(self, method: str, fields: dict[str, Any]) -> Any:
        """The method's request."""
        request = message_factory.GetMessageClass(self.descriptor.methods_by_name[method].input_type)()
        if isinstance(fields.get("chunk"), bytes):
            # Text would cost more than the call.
            request.chunk = fields["chunk"]
            return request
        return json_format.ParseDict(json(fields), request)

    def call(self, method: str, fields: dict[str, Any], timeout: float = DEADLINE) -> Any:
        return self._callable(method)(self.message(method, fields), timeout=timeout)

    def stream(self, method: str, fields: dict[str, Any], timeout: float = DEADLINE) -> "Stream":
        return Stream(self._callable(method)(self.message(method, fields), timeout=timeout))

    def upload(self, method: str, requests: Iterable[dict[str, Any]], timeout: float = 2 * DEADLINE) -> Any:
        return self._callable(method)((self.message(method, fields) for fields in requests), timeout=timeout)

    def _callable(self, name: str) -> Any:
        method = self.descriptor.methods_by_name[name]
        kind = ("stream" if method.client_streaming else "unary") + ("_stream" if method.server_streaming else "_unary")
        return getattr(self.channel, kind)(
            f"/{self.descriptor.full_name}/{name}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )


class Stream:
    """Responses of a call, read as they come by a thread of its own."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._arrived: queue.Queue[Any] = queue.Queue()
        self._ended = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for response in self._call:
                self._arrived.put(response)
        except grpc.RpcError:
            pass
        self._ended.set()
        self._arrived.put(None)

    def confirmed(self) -> "Stream":
        """After the response headers: nothing sent from now on is missed."""
        self._call.initial_metadata()
        return self

    def next(self, limit: float = 10) -> Any:
        """The next response; fails if the stream has ended, or none comes."""
        try:
            response = self._arrived.get(timeout=limit)
        except queue.Empty:
            raise AssertionError(f"no message came within {limit} s") from None
        if response is None:
            raise AssertionError(f"the stream ended: {self._call.code()} {self._call.details()}")
        return response

    def is_waiting(self) -> bool:
        """Whether `next` has something to return at once."""
        return not self._arrived.empty()

    def take(self, count: int) -> list[Any]:
        return [self.next() for _ in range(count)]

    def __iter__(self) -> Iterator[Any]:
        """Up to the end of the stream, whose status must be OK."""
        while (response := self._arrived.get()) is not None:
            yield response
        self.status()

    def status(self, limit: float = 10) -> None:
        """Waits for the end; raises the status if it is not OK."""
        if not self._ended.wait(limit):
            raise AssertionError(f"the stream did not end within {limit} s")
        if self._call.code() is not grpc.StatusCode.OK:
            raise self._call

    def cancel(self) -> None:
        self._call.cancel()

    def nothing_comes(self, limit: float = 0.5) -> None:
        try:
            found = self._arrived.get(timeout=limit)
        except queue.Empty:
            return
        raise AssertionError(f"a message came that should not: {found}")


def json(value: Any) -> Any:
    """In protobuf's JSON form."""
    match value:
        case dict():
            return {key: json(entry) for key, entry in value.items()}
        case list() | tuple():
            return [json(entry) for entry in value]
        case bytes():
            return base64.b64encode(value).decode()
        case timedelta():
            return f"{value.total_seconds():.9f}s"
        case float() if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        case float() if math.isnan(value):
            return "NaN"
    return value


def native(message: Any) -> Any:
    """A Struct, Value or ListValue as Python's own values; whole numbers are equal to ints."""
    return json_format.MessageToDict(message)
