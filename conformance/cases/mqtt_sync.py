"""MQTT by the published sync client: its streams, which give messages to a function."""

import threading
from typing import Any

from conformance.case import cases, eventually, same
from conformance.cases.mqtt_published import TEXT, connect, topic
from conformance.world import World

case = cases("mqtt", "sync")


def listening(w: World, probe: str, got: list[Any], listen: Any, *args: Any, **more: Any) -> threading.Thread:
    """A stream that is known to get messages, of which the topic and the payload go to `got`."""
    arrived = threading.Event()

    def keep(*message: Any) -> None:
        found = next(value for value in message if isinstance(value, bytes))
        if found == b"probe":
            arrived.set()
        else:
            got.append(message)

    reader = threading.Thread(target=listen, args=args, kwargs={"callback": keep, **more}, daemon=True)
    reader.start()

    def probed() -> bool:
        w.engine.publish(topic(w, probe), b"probe")
        return arrived.wait(0.05)

    eventually("the stream gets a message", probed)
    return reader


@case("Subscribe", "Publish", "ListSubscriptions", "Unsubscribe")
def subscribe(w: World) -> None:
    session = connect(w)
    got: list[Any] = []
    reader = listening(w, "news/probe", got, w.client.subscribe, session, "news/#", qos=2)
    same(w.client.list_subscriptions(session), [{"topic_filter": "news/#", "qos": 2}])
    for i in range(300):
        same(w.client.publish(session, f"news/{i % 3}", TEXT + str(i).encode())["success"], True)
    eventually("all messages", lambda: len(got) >= 300)
    same([(m[0], m[1]) for m in got], [(f"news/{i % 3}", TEXT + str(i).encode()) for i in range(300)])
    same((got[0][2], got[0][3]), (1, False), "qos and retained")
    same(w.client.unsubscribe(session, ["news/#", "other"]), 1)
    reader.join(5)
    same(reader.is_alive(), False)
    same(w.client.list_subscriptions(session), [])


@case("SubscribeMultiple")
def subscribe_multiple(w: World) -> None:
    session = connect(w)
    got: list[Any] = []
    filters = [{"topic_filter": "a/+", "qos": 1}, {"topic_filter": "a/#", "qos": 0}, {"topic_filter": "b"}]
    reader = listening(w, "a/probe", got, w.client.subscribe_multiple, session, filters)
    for name in ("a/x", "a/x/y", "b", "c"):
        w.engine.publish(topic(w, name), TEXT)
    eventually("three messages", lambda: len(got) >= 3)
    same([m[0] for m in got], ["a/x", "a/x/y", "b"], "each once")
    w.client.unsubscribe(session, [])
    reader.join(5)
    same(reader.is_alive(), False)


@case("SubscribeDeviceMessages")
def device_messages(w: World) -> None:
    got: list[Any] = []
    listening(w, "devices/d/telemetry/probe", got, w.client.subscribe_device_messages, message_types=[1, 2])
    w.engine.publish(topic(w, "devices/d/auth"), b"not asked for")
    w.engine.publish(topic(w, "devices/d/telemetry"), TEXT)
    w.engine.publish(topic(w, "devices/e/status"), b"online")
    eventually("two messages", lambda: len(got) >= 2)
    expected = [("d", 1, "devices/d/telemetry", TEXT), ("e", 2, "devices/e/status", b"online")]
    same([m[:4] for m in got], expected)
