"""MQTT by the published client: what its sync and async form have in common."""

from typing import Any

from conformance import names
from conformance.case import cases, eventually, holds, same
from conformance.plain import MIB
from conformance.world import World

case = cases("mqtt", "sync", "async")
TEXT = "größer als 🦀 漢字".encode()
# Registered, never called: no device of this name speaks.
HOOK = {"url": "https://[2a00::1]/hook", "device_ids": ["silent"]}


def topic(w: World, name: str) -> str:
    return names.mqtt_topic(w.tenant, name)


def connect(w: World, client_id: str = "client") -> str:
    """A session. The two forms of the client call it differently."""
    made = w.client.connect(client_id) if w.kind == "sync" else w.client.mqtt_connect(client_id)
    same(made["success"], True)
    return made["session_id"]


@case("HealthCheck")
def health(w: World) -> None:
    for deep in (False, True):
        found = w.client.health_check(deep_check=deep)
        same((found["healthy"], found["broker_status"]), (True, "connected"))
        holds(found["active_connections"] >= 0, "sessions are counted")


@case("Connect", "GetConnectionStatus", "Disconnect")
def sessions(w: World) -> None:
    session = connect(w)
    found = w.client.get_connection_status(session)
    same((found["connected"], found["messages_sent"], found["messages_received"]), (True, 0, 0))
    holds(found["connected_at"].seconds > 0, "connected_at")
    again = connect(w)
    same(w.client.get_connection_status(session), None, "taken over")
    same(w.client.disconnect(again)["success"], True)
    same(w.client.disconnect(again), None, "ended")
    same(w.client.get_connection_status("nonsense"), None)


@case("Connect", "Publish", "GetConnectionStatus")
def publish(w: World) -> None:
    listener = w.engine.subscribe(topic(w, "#"))
    session = connect(w)
    for qos in (0, 1, 2):
        found = w.client.publish(session, "sensors/größe", TEXT, qos=qos)
        same((found["success"], len(found["message_id"])), (True, 32))
        message = listener.next()
        same((message.topic, message.payload, message.qos), (topic(w, "sensors/größe"), TEXT, qos))
    same(w.client.publish(session, "empty", b"")["success"], True)
    same(listener.next().payload, b"")
    same(w.client.publish(session, "kept", b"kept", retained=True)["success"], True)
    listener.next()
    same([m.payload for m in w.engine.retained(topic(w, "kept"))], [b"kept"])
    same(w.client.get_connection_status(session)["messages_sent"], 5)
    for bad in ("", "a/+", "#", "/a", "a\x00", "$SYS/x", "x" * 1025):
        same(w.client.publish(session, bad, b"x"), None, f"topic {bad!r}")
    same(w.client.publish(session, "a", b"x" * (8 * MIB + 1)), None, "beyond 8 MiB")
    same(w.client.publish("nonsense", "a", b"x"), None, "no session")
    listener.end()


@case("PublishBatch")
def publish_batch(w: World) -> None:
    listener = w.engine.subscribe(topic(w, "batch/#"))
    session = connect(w)
    sent = [{"topic": f"batch/{i}", "payload": f"m{i}".encode(), "qos": i % 3} for i in range(200)]
    found = w.client.publish_batch(session, sent)
    same((found["success"], found["published_count"], found["failed_count"]), (True, 200, 0))
    got = [listener.next() for _ in range(200)]
    same(sorted(m.payload for m in got), sorted(m["payload"] for m in sent))
    same(w.client.publish_batch(session, [{"topic": "a/+", "payload": b""}]), None, "all bad")
    same(w.client.publish_batch(session, []), None, "none")
    listener.end()


@case("PublishJSON")
def publish_json(w: World) -> None:
    listener = w.engine.subscribe(topic(w, "#"))
    session = connect(w)
    same(w.client.publish_json(session, "json", {"on": True, "temp": 21, "room": "größe"})["success"], True)
    same(listener.next().payload, '{"on":true,"room":"größe","temp":21}'.encode())
    listener.end()


@case("RegisterDevice", "GetDeviceInfo", "ListDevices", "UpdateDeviceStatus", "UnregisterDevice")
def devices(w: World) -> None:
    found = w.client.register_device("d-1", "Device", "sensor", {"room": "größe"})
    same((found["success"], found["device"].device_id, found["device"].status), (True, "d-1", 0))
    same(w.client.register_device("d-1", "Device"), None, "registered twice")
    same(w.client.register_device("d/1", "Device"), None, "a bad id")
    same(w.client.register_device("a", "Other", "actuator")["success"], True)
    found = w.client.get_device_info("d-1")
    same((found["device_name"], found["device_type"], found["metadata"]), ("Device", "sensor", {"room": "größe"}))
    same(w.client.get_device_info("absent"), None)
    listed = w.client.list_devices()
    same([d["device_id"] for d in listed["devices"]], ["a", "d-1"])
    same((listed["total_count"], listed["page"], listed["page_size"]), (2, 1, 50))
    changed = w.client.update_device_status("a", 3, {"floor": "2"})
    same((changed["device"].status, dict(changed["device"].metadata)), (3, {"floor": "2"}))
    same([d["device_id"] for d in w.client.list_devices(status=3)["devices"]], ["a"])
    w.engine.publish(topic(w, "devices/d-1/telemetry"), b"21")
    eventually("the message is a heartbeat", lambda: w.client.get_device_info("d-1")["status"] == 1)
    eventually("it is counted", lambda: w.client.get_device_info("d-1")["messages_sent"] == 1)
    for device in ("d-1", "a"):
        same(w.client.unregister_device(device), True)
        same(w.client.unregister_device(device), False)
    same(w.client.list_devices()["total_count"], 0)


@case("GetDeviceMetrics", "RegisterDevice", "UnregisterDevice")
def device_metrics(w: World) -> None:
    w.client.register_device("d", "Device")
    for _ in range(3):
        w.engine.publish(topic(w, "devices/d/telemetry"), b"12345")
    w.engine.publish(topic(w, "devices/d/commands/stop"), b"now")

    def counted() -> Any:
        found = w.client.get_device_metrics("d")
        return found if found["messages_sent"] == 3 and found["messages_received"] == 1 else None

    found = eventually("all messages are counted", counted)
    same((found["bytes_sent"], found["bytes_received"]), (15, 3))
    same(round(sum(value for _, value in found["message_rate"]) * 60), 4)
    same(sum(value for _, value in found["error_rate"]), 0)
    same(w.client.get_device_metrics("absent"), None)
    w.client.unregister_device("d")


@case("SetRetainedMessage", "GetRetainedMessage", "DeleteRetainedMessage")
def retained(w: World) -> None:
    same(w.client.get_retained_message("kept"), {"found": False})
    for qos in (0, 1, 2):
        same(w.client.set_retained_message("kept", TEXT, qos=qos), True)
        found = w.client.get_retained_message("kept")
        same((found["found"], found["topic"], found["payload"], found["qos"]), (True, "kept", TEXT, qos))
    same([m.payload for m in w.engine.retained(topic(w, "kept"))], [TEXT])
    same(w.client.delete_retained_message("kept"), True)
    same(w.client.get_retained_message("kept"), {"found": False})
    same(w.engine.retained(topic(w, "kept")), [])
    same(w.client.delete_retained_message("kept"), True, "there is none")
    same(w.client.set_retained_message("kept", b""), False, "empty")
    same(w.client.get_retained_message("a/+"), None)


@case("GetTopicInfo", "ListTopics", "ValidateTopic")
def topics(w: World) -> None:
    for _ in range(3):
        w.engine.publish(topic(w, "t/a"), b"x")
    w.engine.publish(topic(w, "t/b"), b"kept", retain=True)

    def seen() -> Any:
        listed = w.client.list_topics(prefix="t/")
        return listed if [(t["topic"], t["message_count"]) for t in listed["topics"]] == [("t/a", 3), ("t/b", 1)] else 0

    same(eventually("the topics are seen", seen)["total_count"], 2)
    found = w.client.get_topic_info("t/b")
    same((found["topic"], found["message_count"], found["has_retained_message"]), ("t/b", 1, True))
    same(found["subscriber_count"], 0)
    same(w.client.get_topic_info("absent"), None)
    same(w.client.validate_topic("a/b"), {"valid": True, "message": ""})
    found = w.client.validate_topic("a/+")
    holds(not found["valid"] and "wildcard" in found["message"], str(found))
    same(w.client.validate_topic("a/+", allow_wildcards=True)["valid"], True)


@case("GetStatistics", "RegisterDevice", "Connect", "Publish", "UnregisterDevice")
def statistics(w: World) -> None:
    w.client.register_device("d", "Device")
    session = connect(w)
    w.client.publish(session, "devices/d/telemetry", b"1")

    def counted() -> bool:
        found = w.client.get_statistics()
        return (found["total_devices"], found["online_devices"], found["total_topics"]) == (1, 1, 1) and (
            found["messages_sent_today"],
            found["active_sessions"],
            found["total_subscriptions"],
        ) == (1, 1, 0)

    eventually("the figures are those of this tenant", counted)
    w.client.disconnect(session)
    w.client.unregister_device("d")


@case("RegisterWebhook", "ListWebhooks", "UnregisterWebhook")
def webhooks(w: World) -> None:
    made = w.client.register_webhook(**HOOK, message_types=[1], headers={"X-A": "b"}, secret="s")
    same((made["success"], made["webhook"]["enabled"], made["webhook"]["url"]), (True, True, HOOK["url"]))
    found = w.client.list_webhooks()
    same([(h["webhook_id"], h["success_count"], h["failure_count"]) for h in found], [(made["webhook_id"], 0, 0)])
    for bad in ("http://10.0.0.1/", "http://169.254.169.254/", "ftp://example.com/", ""):
        same(w.client.register_webhook(bad), None, bad)
    same(w.client.unregister_webhook(made["webhook_id"]), True)
    same(w.client.unregister_webhook(made["webhook_id"]), False)
    same(w.client.list_webhooks(), [])
