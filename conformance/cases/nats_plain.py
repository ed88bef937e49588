"""NATS by plain gRPC, messages: what the published client does not have or reads wrongly, and statuses."""

import threading
import time
from datetime import timedelta

from grpc import StatusCode

from conformance.case import between, cases, eventually, has, holds, refused, same
from conformance.cases.nats_published import TEXT, objects, subject
from conformance.plain import MIB
from conformance.world import World

case = cases("nats", "plain")
INVALID = StatusCode.INVALID_ARGUMENT


@case("Request")
def request(w: World) -> None:
    answering = w.engine.answer(subject(w, "echo"), b"got ")
    found = w.call("Request", subject="echo", data=TEXT)
    same((found.success, found.data, found.error_message), (True, b"got " + TEXT, ""))
    same(w.call("Request", subject="echo", data=b"x" * MIB, timeout=timedelta(seconds=9)).data, b"got " + b"x" * MIB)
    answering.end()
    began = time.monotonic()
    refused(StatusCode.UNAVAILABLE, lambda: w.call("Request", subject="echo", data=b"x"))
    between(time.monotonic() - began, 0, 2, "seconds until it is known that nobody answers")
    silent = w.engine.subscribe(subject(w, "silent"))
    short = {"subject": "silent", "timeout": timedelta(milliseconds=300)}
    refused(StatusCode.DEADLINE_EXCEEDED, lambda: w.plain.call("Request", w.identified("Request", short)))
    silent.end()
    other = w.other()
    w.engine.answer(subject(w, "mine"), b"")
    refused(StatusCode.UNAVAILABLE, lambda: other.call("Request", subject="mine", data=b"x"))
    refused(INVALID, lambda: w.call("Request", subject="a.*"), "subject")


@case("Request", "Subscribe", "Publish")
def a_request_answered_through_the_service(w: World) -> None:
    """Both sides are callers of the service: `reply_to` of a message leads back."""
    questions = w.stream("Subscribe", subject="ask.*").confirmed()

    def answer() -> None:
        question = questions.next()
        w.call("Publish", subject=question.reply_to, data=b"42 for " + question.data)

    threading.Thread(target=answer, daemon=True).start()
    same(w.call("Request", subject="ask.me", data=b"six by seven").data, b"42 for six by seven")
    questions.cancel()


@case("Publish", "PublishBatch")
def publish(w: World) -> None:
    listener = w.engine.subscribe(subject(w, ">"))
    same(w.call("Publish", subject="a", data=b"1", headers={"K": "ü"}).success, True)
    message = listener.next()
    same((message.data, message.headers), (b"1", {"K": "ü"}))
    messages = [{"subject": "a", "data": b"2"}, {"subject": "a b", "data": b"3"}, {"subject": "c", "data": b"4"}]
    found = w.call("PublishBatch", messages=messages)
    same((found.success, found.published_count, len(found.errors)), (False, 2, 1))
    has(found.errors[0], "1", "subject")
    same([listener.next().data for _ in range(2)], [b"2", b"4"], "those after a bad one go")
    refused(INVALID, lambda: w.call("PublishBatch"), "messages")
    refused(INVALID, lambda: w.call("Publish", subject="a", headers={"a:b": "x"}), "headers")
    refused(INVALID, lambda: w.call("Publish", subject="a", headers={"a": "x\r\ny"}), "headers")
    refused(StatusCode.RESOURCE_EXHAUSTED, lambda: w.call("Publish", subject="a", data=b"x" * (8 * MIB + 1)))
    refused(INVALID, lambda: w.call("Publish", subject="a", reply_to="b.*"), "reply_to")


@case("Subscribe", "Unsubscribe")
def subscribe(w: World) -> None:
    messages = w.stream("Subscribe", subject="a.>").confirmed()
    w.engine.publish(subject(w, "a.b.c"), TEXT, reply=subject(w, "back"), headers={"K": "V"})
    found = messages.next()
    same((found.subject, found.data, found.reply_to, found.sequence), ("a.b.c", TEXT, "back", 1))
    same(dict(found.headers), {"K": "V"})
    between(found.timestamp.seconds - time.time(), -5, 5, "timestamp")
    w.other().call("Publish", subject="a.b", data=b"of another organization")
    for i in range(1000):
        w.engine.publish(subject(w, "a.b"), str(i).encode())
    found = messages.take(1000)
    same([(m.data, m.sequence) for m in found], [(str(i).encode(), i + 2) for i in range(1000)])
    w.other().call("Unsubscribe", subject="a.>")
    w.call("Unsubscribe", subject="a.b")
    w.engine.publish(subject(w, "a.b"), b"still")
    same(messages.next().data, b"still")
    same(w.call("Unsubscribe", subject="a.>").success, True)
    messages.status()
    refused(INVALID, lambda: w.stream("Subscribe", subject="a.>.b").status(), "subject")
    refused(INVALID, lambda: w.stream("Subscribe").status(), "subject")


@case("QueueSubscribe")
def queue_subscribe(w: World) -> None:
    request = {"subject": "jobs.*", "queue_group": "workers"}
    workers = [w.stream("QueueSubscribe", **request).confirmed() for _ in range(2)]
    alone = w.stream("QueueSubscribe", subject="jobs.*", queue_group="others").confirmed()
    for i in range(100):
        w.call("Publish", subject="jobs.x", data=str(i).encode())
    same([m.data for m in alone.take(100)], [str(i).encode() for i in range(100)])
    got: list[bytes] = []

    def drained() -> bool:
        for worker in workers:
            while worker.is_waiting():
                got.append(worker.next().data)
        return len(got) >= 100

    eventually("each message goes to one of the group", drained)
    same(sorted(got), sorted(str(i).encode() for i in range(100)))
    for worker in workers:
        worker.nothing_comes(0.1)
    w.call("Unsubscribe", subject="jobs.*")
    for stream in (*workers, alone):
        stream.status()
    refused(INVALID, lambda: w.stream("QueueSubscribe", subject="a").status(), "queue_group")


@case()
def a_subscriber_that_leaves(w: World) -> None:
    messages = w.stream("Subscribe", subject="echo").confirmed()
    messages.cancel()

    def nobody() -> bool:
        # NATS itself says whether anyone is subscribed.
        refusal = refused({StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED}, lambda: w.plain.call("Request", ask))
        return refusal.code() is StatusCode.UNAVAILABLE

    ask = w.identified("Request", {"subject": "echo", "timeout": timedelta(milliseconds=50)})
    eventually("the engine's subscription ends", nobody, 1)


@case("ObjectPut", "ObjectGet", "ObjectList", "ObjectDelete")
def object_store(w: World) -> None:
    w.call("ObjectPut", bucket="files", object_name="a", data=TEXT, metadata={"kind": "ü"})
    found = w.call("ObjectGet", bucket="files", object_name="a")
    same((found.found, found.data, dict(found.metadata)), (True, TEXT, {"kind": "ü"}))
    same(w.engine.object_data(objects(w, "files"), "a"), TEXT)
    found = w.call("ObjectList", bucket="files").objects
    same([(o.name, o.size, dict(o.metadata)) for o in found], [("a", len(TEXT), {"kind": "ü"})])
    between(found[0].modified.seconds - time.time(), -5, 5, "modified")
    same(w.call("ObjectGet", bucket="files", object_name="absent").found, False)
    same(w.call("ObjectGet", bucket="absent", object_name="a").found, False)
    same(w.call("ObjectDelete", bucket="files", object_name="a").success, True)
    refused(StatusCode.NOT_FOUND, lambda: w.call("ObjectDelete", bucket="files", object_name="a"))
    refused(INVALID, lambda: w.call("ObjectPut", bucket="a.b", object_name="a"), "bucket")
    refused(INVALID, lambda: w.call("ObjectPut", bucket="files"), "object_name")


@case("HealthCheck", "GetStatistics")
def monitoring(w: World) -> None:
    found = w.call("HealthCheck", deep_check=True)
    same((found.healthy, found.nats_status, found.jetstream_enabled, found.message), (True, "connected", True, ""))
    between(found.checked_at.seconds - time.time(), -5, 5, "checked_at")
    before = w.call("GetStatistics")
    same((before.total_streams, before.total_messages, before.in_msgs), (0, 0, 0), "of this tenant alone")
    messages = w.stream("Subscribe", subject="a").confirmed()
    w.call("Publish", subject="a", data=b"12345")
    messages.next()
    found = w.call("GetStatistics")
    same((found.in_msgs, found.out_msgs), (1, 1))
    holds(found.in_bytes >= 5 and found.out_bytes >= 5, f"in_bytes {found.in_bytes}, out_bytes {found.out_bytes}")
    messages.cancel()
