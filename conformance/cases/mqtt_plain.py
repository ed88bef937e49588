"""MQTT by plain gRPC: what the published client does not have or read, and statuses."""

import base64
import hashlib
import hmac
import http.server
import json
import queue
import threading
import time
from typing import Any

from grpc import StatusCode

from conformance.case import between, cases, eventually, has, holds, refused, same
from conformance.cases.mqtt_published import HOOK, TEXT, topic
from conformance.world import World

case = cases("mqtt", "plain")
INVALID = StatusCode.INVALID_ARGUMENT


def connect(w: World, **fields: Any) -> str:
    return w.call("Connect", **fields).session_id


class Receiver:
    """A receiver of webhooks on this machine; answers with 200 after the statuses that are given."""

    def __init__(self, *statuses: int) -> None:
        self.got: queue.Queue[Any] = queue.Queue()
        left, got = list(statuses), self.got

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                got.put((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(left.pop(0) if left else 200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()


@case("RegisterWebhook", "ListWebhooks", "UnregisterWebhook")
def delivery(w: World) -> None:
    """Receivers on the machine are for an open server alone; elsewhere they are refused."""
    receiver = Receiver(500)
    request = {"url": receiver.url, "message_types": [1], "secret": "secret", "headers": {"X-A": "b"}}
    if not w.open:
        refused(StatusCode.PERMISSION_DENIED, lambda: w.call("RegisterWebhook", **request), "url")
        same(list(w.call("ListWebhooks").webhooks), [])
        refused(StatusCode.NOT_FOUND, lambda: w.call("UnregisterWebhook", webhook_id="x"))
        return
    hook = w.call("RegisterWebhook", **request).webhook
    w.engine.publish(topic(w, "devices/d/telemetry"), TEXT)
    path, headers, body = receiver.got.get(timeout=10)
    same((path, headers["x-a"], headers["content-type"]), ("/hook", "b", "application/json"))
    at, signature = headers["x-isa-signature"].removeprefix("t=").split(",v1=")
    between(int(at) - time.time(), -5, 5, "the time of the signature")
    same(signature, hmac.new(b"secret", at.encode() + b"." + body, hashlib.sha256).hexdigest())
    found = json.loads(body)
    same((found["webhook_id"], found["device_id"], found["message_type"]), (hook.webhook_id, "d", "telemetry"))
    same((found["topic"], base64.b64decode(found["payload"])), ("devices/d/telemetry", TEXT))
    same(json.loads(receiver.got.get(timeout=10)[2])["delivery_id"], found["delivery_id"], "tried again")

    def counted() -> bool:
        (found,) = w.call("ListWebhooks").webhooks
        return (found.success_count, found.failure_count) == (1, 0)

    eventually("it is counted", counted)
    w.call("UnregisterWebhook", webhook_id=hook.webhook_id)
    receiver.close()


@case("RegisterWebhook", "UnregisterWebhook", "ListWebhooks")
def webhooks(w: World) -> None:
    for url in ("http://192.168.0.1/", "http://169.254.169.254/", "http://[::ffff:10.0.0.1]/", "http://[fd00::1]/"):
        refused(StatusCode.PERMISSION_DENIED, lambda url=url: w.call("RegisterWebhook", url=url), "url")
    refused(INVALID, lambda: w.call("RegisterWebhook", url="http://a:b@example.com/"), "url")
    refused(INVALID, lambda: w.call("RegisterWebhook", **HOOK, headers={"Host": "x"}), "headers")
    refused(INVALID, lambda: w.call("RegisterWebhook", **HOOK, topic_patterns=["a/#/b"]), "topic_patterns")
    made = w.call("RegisterWebhook", **HOOK, headers={"X-A": "b"}, topic_patterns=["devices/+/x"], secret="s")
    same((made.webhook.url, dict(made.webhook.headers)), (HOOK["url"], {"X-A": "b"}))
    same(list(made.webhook.topic_patterns), ["devices/+/x"])
    other = w.other()
    same(other.call("ListWebhooks").total_count, 0)
    refused(StatusCode.NOT_FOUND, lambda: other.call("UnregisterWebhook", webhook_id=made.webhook_id))
    same(w.call("UnregisterWebhook", webhook_id=made.webhook_id).success, True)
    refused(StatusCode.NOT_FOUND, lambda: w.call("UnregisterWebhook", webhook_id=made.webhook_id))


@case("Connect", "Publish", "PublishBatch", "PublishJSON", "Subscribe")
def messages(w: World) -> None:
    session = connect(w, client_id="c")
    stream = w.stream("Subscribe", session_id=session, topic_filter="a/#", qos=2).confirmed()
    w.call("Publish", session_id=session, topic="a/b", payload=TEXT, qos=2, properties={"k": "ü"})
    found = stream.next()
    same((found.topic, found.payload, found.qos, dict(found.properties)), ("a/b", TEXT, 2, {"k": "ü"}))
    between(found.timestamp.seconds - time.time(), -5, 5, "timestamp")
    batch = [{"topic": "a", "payload": b"1"}, {"topic": "a/+", "payload": b"2"}, {"topic": "a", "payload": b"3"}]
    found = w.call("PublishBatch", session_id=session, messages=batch)
    same((found.success, found.published_count, found.failed_count, len(found.message_ids)), (False, 2, 1, 3))
    has(found.errors[0], "1: topic")
    same([m.payload for m in stream.take(2)], [b"1", b"3"], "those after a bad one go")
    w.call("PublishJSON", session_id=session, topic="a", data={"n": 1.5, "list": [1, None]})
    same(stream.next().payload, b'{"list":[1,null],"n":1.5}')
    w.other().call("Publish", session_id=connect(w.others[-1]), topic="a/b", payload=b"of another")
    stream.nothing_comes(0.2)
    refused(INVALID, lambda: w.call("PublishBatch", session_id=session), "messages")
    refused(INVALID, lambda: w.call("PublishJSON", session_id=session, topic="a"), "data")
    refused(INVALID, lambda: w.call("Publish", session_id=session, topic="a", qos=7), "qos")
    refused(StatusCode.NOT_FOUND, lambda: w.call("Publish", session_id=session, topic="$SYS/x"))
    refused(StatusCode.NOT_FOUND, lambda: w.other().call("Publish", session_id=session, topic="a"))
    stream.cancel()


@case("Connect", "Disconnect", "GetConnectionStatus", "Subscribe", "SubscribeMultiple", "Unsubscribe")
def sessions(w: World) -> None:
    will = {"will_topic": "wills/a", "will_payload": b"gone", "will_qos": 1}
    listener = w.engine.subscribe(topic(w, "wills/#"))
    first = connect(w, client_id="c", **will)
    stream = w.stream("Subscribe", session_id=first, topic_filter="jobs/+", qos=1).confirmed()
    w.call("Disconnect", session_id=first)
    stream.status()
    for i in range(5):
        w.engine.publish(topic(w, "jobs/x"), str(i).encode())
    again = w.call("Connect", client_id="c", **will)
    same(again.session_present, True)
    filters = [{"topic_filter": "jobs/#", "qos": 1}, {"topic_filter": "jobs/+", "qos": 1}]
    stream = w.stream("SubscribeMultiple", session_id=again.session_id, subscriptions=filters).confirmed()
    same([m.payload for m in stream.take(5)], [str(i).encode() for i in range(5)], "what came meanwhile")
    third = w.call("Connect", client_id="c")
    refused(StatusCode.ABORTED, stream.status)
    refused(StatusCode.NOT_FOUND, lambda: w.call("GetConnectionStatus", session_id=again.session_id))
    same(listener.next().payload, b"gone", "whoever is taken over has not said farewell")
    same(w.call("Unsubscribe", session_id=third.session_id, topic_filters=["jobs/+"]).unsubscribed_count, 1)
    same(w.call("Connect", client_id="c", clean_session=True).session_present, False)
    refused(INVALID, lambda: w.call("Connect", keep_alive=-1), "keep_alive")
    refused(INVALID, lambda: w.call("Connect", will_topic="a/#"), "will_topic")
    listener.end()


@case("Subscribe", "ListSubscriptions")
def a_subscriber_that_leaves(w: World) -> None:
    session = connect(w)
    stream = w.stream("Subscribe", session_id=session, topic_filter="a").confirmed()
    same(len(w.call("ListSubscriptions", session_id=session).subscriptions), 1)
    stream.cancel()

    def left() -> bool:
        return not w.call("ListSubscriptions", session_id=session).subscriptions

    eventually("the subscription ends", left, 1)


@case("Subscribe", "Publish")
def shared_subscriptions(w: World) -> None:
    sessions = [connect(w, client_id=name) for name in ("a", "b")]
    request = {"topic_filter": "$share/workers/jobs/#", "qos": 1}
    workers = [w.stream("Subscribe", session_id=s, **request).confirmed() for s in sessions]
    for i in range(60):
        w.call("Publish", session_id=sessions[0], topic="jobs/x", payload=str(i).encode(), qos=1)
    got: list[bytes] = []

    def drained() -> bool:
        for worker in workers:
            while worker.is_waiting():
                got.append(worker.next().payload)
        return len(got) >= 60

    eventually("each message goes to one of the group", drained)
    same(sorted(got), sorted(str(i).encode() for i in range(60)))


@case("SetRetainedMessage", "GetRetainedMessage", "DeleteRetainedMessage", "GetTopicInfo", "ListTopics", "ValidateTopic")
def topics(w: World) -> None:
    w.call("SetRetainedMessage", topic="kept", payload=TEXT, qos=2)
    found = w.call("GetRetainedMessage", topic="kept")
    same((found.found, found.message.payload, found.message.qos, found.message.retained), (True, TEXT, 2, True))
    same(w.other().call("GetRetainedMessage", topic="kept").found, False)
    eventually("the topic is seen", lambda: w.call("ListTopics").total_count == 1)
    info = w.call("GetTopicInfo", topic="kept").topic_info
    same((info.has_retained_message, info.message_count, info.user_id), (True, 1, w.user))
    refused(StatusCode.NOT_FOUND, lambda: w.others[-1].call("GetTopicInfo", topic="kept"))
    same(w.call("DeleteRetainedMessage", topic="kept").success, True)
    refused(INVALID, lambda: w.call("SetRetainedMessage", topic="kept"), "payload")
    refused(INVALID, lambda: w.call("ListTopics", page_size=1001), "page_size")
    found = w.call("ValidateTopic", topic="/a/#")
    same((found.valid, len(found.violations)), (False, 2))


@case("RegisterDevice", "ListDevices", "GetDeviceInfo", "UpdateDeviceStatus", "UnregisterDevice", "GetDeviceMetrics")
def devices(w: World) -> None:
    for name in ("c", "a", "b"):
        w.call("RegisterDevice", device_id=name, device_type="t")
    refused(StatusCode.ALREADY_EXISTS, lambda: w.call("RegisterDevice", device_id="a"))
    refused(INVALID, lambda: w.call("RegisterDevice", device_id="a b"), "device_id")
    found = w.call("ListDevices", page=2, page_size=2)
    same(([d.device_id for d in found.devices], found.total_count), (["c"], 3))
    same(w.other().call("ListDevices").total_count, 0)
    refused(StatusCode.NOT_FOUND, lambda: w.others[-1].call("GetDeviceInfo", device_id="a"))
    w.engine.publish(topic(w, "devices/a/status"), b'{"status": "error"}')
    eventually("what the device says", lambda: w.call("GetDeviceInfo", device_id="a").device.status == 4)
    found = eventually("the error is counted", lambda: w.call("GetDeviceMetrics", device_id="a").error_rate)
    between(found[0].value * 60, 0.9, 1.1, "errors")
    changed = w.call("UpdateDeviceStatus", device_id="a", status=3, metadata={"k": "v"}).device
    same((changed.status, dict(changed.metadata)), (3, {"k": "v"}))
    refused(StatusCode.NOT_FOUND, lambda: w.call("UpdateDeviceStatus", device_id="absent"))
    for name in ("c", "a", "b"):
        w.call("UnregisterDevice", device_id=name)
    refused(StatusCode.NOT_FOUND, lambda: w.call("UnregisterDevice", device_id="a"))


@case("SubscribeDeviceMessages", "RegisterDevice", "UnregisterDevice")
def device_messages(w: World) -> None:
    w.call("RegisterDevice", device_id="d", metadata={"room": "größe"})
    stream = w.stream("SubscribeDeviceMessages", topic_patterns=["devices/+/telemetry/#"]).confirmed()
    w.engine.publish(topic(w, "devices/d/status"), b"online")
    w.engine.publish(topic(w, "devices/d/telemetry/temp"), TEXT, qos=2)
    found = stream.next()
    same((found.device_id, found.message_type, found.topic), ("d", 1, "devices/d/telemetry/temp"))
    same((found.payload, found.qos, dict(found.metadata)), (TEXT, 2, {"room": "größe"}))
    refused(INVALID, lambda: w.stream("SubscribeDeviceMessages", message_types=[9]).status(), "message_types")
    stream.cancel()
    w.call("UnregisterDevice", device_id="d")


@case("HealthCheck", "GetStatistics")
def monitoring(w: World) -> None:
    found = w.call("HealthCheck", deep_check=True)
    same((found.healthy, found.broker_status, found.message), (True, "connected", ""))
    between(found.checked_at.seconds - time.time(), -5, 5, "checked_at")
    found = w.call("GetStatistics")
    same((found.total_devices, found.total_topics, found.messages_sent_today), (0, 0, 0), "of this tenant alone")
    holds(not found.device_type_distribution, "no types of devices")
