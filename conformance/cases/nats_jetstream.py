"""NATS by plain gRPC, streams and consumers."""

import time
from datetime import timedelta

from grpc import StatusCode

from conformance.case import between, cases, eventually, holds, refused, same
from conformance.cases.nats_published import TEXT, stream, subject
from conformance.world import World

case = cases("nats", "plain")
INVALID = StatusCode.INVALID_ARGUMENT
NOT_FOUND = StatusCode.NOT_FOUND


def filled(w: World, name: str, count: int, **config: object) -> None:
    """A stream `name` on the subjects `name.*`, with messages `m1` and so on."""
    w.call("CreateStream", config={"name": name, "subjects": [f"{name}.*"], **config})
    for i in range(1, count + 1):
        w.call("PublishToStream", stream_name=name, subject=f"{name}.{'ba'[i % 2]}", data=f"m{i}".encode())


def pull(w: World, consumer: str, **more: object) -> list[tuple[int, int]]:
    """Sequences and deliveries of what is due."""
    found = w.call("PullMessages", stream_name="S", consumer_name=consumer, **more).messages
    return [(m.sequence, m.num_delivered) for m in found]


@case("CreateStream", "GetStreamInfo", "ListStreams", "DeleteStream")
def streams(w: World) -> None:
    config = {"name": "S", "subjects": ["s.*"], "max_age": timedelta(hours=1), "max_msg_size": 1000, "max_msgs": 9}
    made = w.call("CreateStream", config=config)
    same((made.success, made.stream.name, made.stream.state.messages), (True, "S", 0))
    engine = w.engine.info(stream(w, "S")).config
    same((engine.max_age, engine.max_msg_size, engine.max_msgs, engine.num_replicas), (3600, 1000, 9, 1))
    w.call("CreateStream", config={"name": "M", "subjects": ["m"], "storage": "STORAGE_MEMORY"})
    same(w.engine.info(stream(w, "M")).config.storage, "memory")
    for i in range(3):
        w.call("PublishToStream", stream_name="S", subject=f"s.{i % 2}", data=b"x")
    found = w.call("GetStreamInfo", stream_name="S").stream
    same((found.name, list(found.config.subjects), found.config.max_msgs), ("S", ["s.*"], 9))
    same(found.config.max_age.seconds, 3600)
    state = found.state
    same((state.messages, state.first_seq, state.last_seq, state.num_subjects), (3, 1, 3, 2))
    same(state.bytes, w.engine.info(stream(w, "S")).state.bytes)
    between(found.created.seconds - time.time(), -60, 60, "created")
    between(state.last_ts.seconds - time.time(), -60, 60, "last_ts")
    w.call("KVPut", bucket="b", key="k", value=b"v")
    found = w.call("ListStreams").streams
    same([(s.name, list(s.config.subjects), s.state.messages) for s in found], [("M", ["m"], 0), ("S", ["s.*"], 3)])
    same(len(w.other().call("ListStreams").streams), 0)
    same(w.call("CreateStream", config=config).success, True, "the same once more")
    refused(StatusCode.ALREADY_EXISTS, lambda: w.call("CreateStream", config={**config, "max_msgs": 5}))
    refused(StatusCode.FAILED_PRECONDITION, lambda: w.call("CreateStream", config={"name": "T", "subjects": ["s.1"]}))
    refused(INVALID, lambda: w.call("CreateStream", config={"name": "T"}), "subjects")
    refused(
        INVALID, lambda: w.call("CreateStream", config={"name": "T", "subjects": ["t"], "max_bytes": -5}), "max_bytes"
    )
    refused(INVALID, lambda: w.call("CreateStream"), "config")
    same(w.call("DeleteStream", stream_name="S").success, True)
    refused(NOT_FOUND, lambda: w.call("DeleteStream", stream_name="S"))
    refused(NOT_FOUND, lambda: w.call("GetStreamInfo", stream_name="S"))


@case("UpdateStream", "PurgeStream", "GetStreamStats")
def streams_changed(w: World) -> None:
    filled(w, "S", 6)
    found = w.call("UpdateStream", stream_name="S", config={"subjects": ["S.*", "more"], "max_msgs": 4}).stream
    same((list(found.config.subjects), found.config.max_msgs, found.state.messages), (["S.*", "more"], 4, 4))
    engine = w.engine.info(stream(w, "S"))
    same((engine.config.max_msgs, sorted(engine.config.subjects)), (4, sorted(subject(w, s) for s in ("S.*", "more"))))
    memory = {"subjects": ["S.*"], "storage": "STORAGE_MEMORY"}
    refused(StatusCode.FAILED_PRECONDITION, lambda: w.call("UpdateStream", stream_name="S", config=memory))
    refused(NOT_FOUND, lambda: w.call("UpdateStream", stream_name="ABSENT", config={"subjects": ["x"]}))
    found = w.call("GetStreamStats", stream_name="S")
    same((found.stream_name, found.messages, found.consumer_count), ("S", 4, 0))
    same(found.bytes, engine.state.bytes)
    same(w.call("PurgeStream", stream_name="S", subject="S.a").purged_count, 2)
    same(w.engine.info(stream(w, "S")).state.messages, 2)
    same(w.call("PurgeStream", stream_name="S").purged_count, 2)
    same(w.engine.info(stream(w, "S")).state.messages, 0)
    refused(NOT_FOUND, lambda: w.call("PurgeStream", stream_name="ABSENT"))
    refused(NOT_FOUND, lambda: w.call("GetStreamStats", stream_name="ABSENT"))


@case("PublishToStream")
def message_ids(w: World) -> None:
    filled(w, "S", 0)
    request = {"stream_name": "S", "subject": "S.a", "data": TEXT}
    first = w.call("PublishToStream", **request, message_id="one", headers={"K": "V"})
    again = w.call("PublishToStream", **request, message_id="one")
    same((first.sequence, first.duplicate, again.sequence, again.duplicate), (1, False, 1, True))
    between(first.timestamp.seconds - time.time(), -5, 5, "timestamp")
    message = w.engine.message(stream(w, "S"), sequence=1)
    same((message.data, message.headers["K"], message.headers["Nats-Msg-Id"]), (TEXT, "V", "one"))
    w.call("CreateConsumer", stream_name="S", config={"name": "c"})
    (pulled,) = w.call("PullMessages", stream_name="S", consumer_name="c").messages
    same((pulled.data, pulled.headers["K"]), (TEXT, "V"))
    holds(not any(w.slug in text for text in pulled.headers.values()), f"engine's names in {dict(pulled.headers)}")
    same(w.call("PublishToStream", **request, headers={"Nats-Msg-Id": "one"}).duplicate, True, "by the header")
    same(w.call("PublishToStream", **request).sequence, 2)
    refused(StatusCode.FAILED_PRECONDITION, lambda: w.call("PublishToStream", **{**request, "subject": "other"}))
    refused(NOT_FOUND, lambda: w.call("PublishToStream", **{**request, "stream_name": "ABSENT"}))
    refused(INVALID, lambda: w.call("PublishToStream", **{**request, "subject": "S.*"}), "subject")
    wrong = {"Nats-Expected-Last-Sequence": "99"}
    refused(
        {StatusCode.FAILED_PRECONDITION, StatusCode.ABORTED},
        lambda: w.call("PublishToStream", **request, headers=wrong),
    )


@case("CreateConsumer", "GetConsumerInfo", "ListConsumers", "DeleteConsumer")
def consumers(w: World) -> None:
    filled(w, "S", 4)
    config = {
        "name": "c",
        "durable_name": "c",
        "filter_subject": "S.a",
        "ack_wait": timedelta(seconds=7),
        "max_deliver": 3,
    }
    found = w.call("CreateConsumer", stream_name="S", config=config).consumer
    same((found.stream_name, found.name, found.config.filter_subject), ("S", "c", "S.a"))
    engine = w.engine.consumer(stream(w, "S"), "c").config
    same((engine.ack_wait, engine.max_deliver, engine.filter_subject), (7, 3, subject(w, "S.a")))
    same(w.call("CreateConsumer", stream_name="S", config=config).success, True, "the same once more")
    w.call("CreateConsumer", stream_name="S", config={"name": "a", "delivery_policy": "DELIVERY_BY_START_SEQUENCE",
           "opt_start_seq": 3, "ack_policy": "ACK_NONE"})  # fmt: skip
    same(pull(w, "a"), [(3, 1), (4, 1)])
    same(pull(w, "c", batch_size=1), [(1, 1)])
    w.call("AckMessage", stream_name="S", consumer_name="c", sequence=1)
    found = w.call("GetConsumerInfo", stream_name="S", consumer_name="c").consumer
    same((found.state.delivered_seq, found.state.ack_floor_seq, found.state.num_pending), (1, 1, 1))
    same(found.config.ack_wait.seconds, 7)
    found = w.call("ListConsumers", stream_name="S").consumers
    same([(c.stream_name, c.name) for c in found], [("S", "a"), ("S", "c")])
    same(w.call("DeleteConsumer", stream_name="S", consumer_name="c").success, True)
    refused(NOT_FOUND, lambda: w.call("GetConsumerInfo", stream_name="S", consumer_name="c"))
    refused(NOT_FOUND, lambda: w.call("DeleteConsumer", stream_name="S", consumer_name="c"))
    refused(NOT_FOUND, lambda: w.call("ListConsumers", stream_name="ABSENT"))
    refused(NOT_FOUND, lambda: w.call("PullMessages", stream_name="S", consumer_name="c"))
    refused(INVALID, lambda: w.call("CreateConsumer", stream_name="S", config={}), "name")
    refused(
        INVALID, lambda: w.call("CreateConsumer", stream_name="S", config={"name": "a", "durable_name": "b"}), "name"
    )
    by_sequence = {"name": "d", "delivery_policy": "DELIVERY_BY_START_SEQUENCE"}
    refused(INVALID, lambda: w.call("CreateConsumer", stream_name="S", config=by_sequence), "opt_start_seq")


@case("PullMessages", "AckMessage", "NakMessage", "TermMessage", "InProgressMessage")
def acknowledgements(w: World) -> None:
    filled(w, "S", 5)
    w.call("CreateConsumer", stream_name="S", config={"name": "c", "ack_wait": timedelta(seconds=1)})
    same(pull(w, "c", batch_size=5), [(n, 1) for n in range(1, 6)])

    def say(method: str, sequence: int, **more: object) -> bool:
        return w.call(method, stream_name="S", consumer_name="c", sequence=sequence, **more).success

    same(say("AckMessage", 1), True)
    same(say("NakMessage", 2), True)
    same(say("TermMessage", 3), True)
    same(say("NakMessage", 4, delay=timedelta(seconds=20)), True)
    began = time.monotonic()
    wait = timedelta(seconds=5)
    same(pull(w, "c", batch_size=1, max_wait=wait), [(2, 2)], "given back at once")
    # The fifth is being worked on, for longer than its second.
    while time.monotonic() - began < 2.5:
        same(say("InProgressMessage", 5), True)
        same(say("InProgressMessage", 2), True)
        same(pull(w, "c", max_wait=timedelta(milliseconds=300)), [], "nothing is due while they are worked on")
    same(sorted(pull(w, "c", batch_size=2, max_wait=wait)), [(2, 3), (5, 2)], "due again once nobody works on them")
    for sequence in (2, 5):
        same(say("AckMessage", sequence), True)
    same([say("AckMessage", n) for n in (1, 3, 99)], [False] * 3, "not waiting for one")
    same([say(m, 3) for m in ("NakMessage", "TermMessage", "InProgressMessage")], [False] * 3)
    info = w.engine.consumer(stream(w, "S"), "c")
    same(info.num_ack_pending, 1, "only the fourth waits")


@case("PullMessages")
def pull_waits(w: World) -> None:
    filled(w, "S", 1)
    w.call("CreateConsumer", stream_name="S", config={"name": "c"})
    found = w.call("PullMessages", stream_name="S", consumer_name="c", max_wait=timedelta(milliseconds=500)).messages
    same([(m.subject, m.data, m.sequence, m.num_delivered) for m in found], [("S.a", b"m1", 1, 1)])
    between(found[0].timestamp.seconds - time.time(), -5, 5, "timestamp")
    began = time.monotonic()
    same(pull(w, "c"), [], "without max_wait it does not wait")
    between(time.monotonic() - began, 0, 1, "seconds")
    refused(INVALID, lambda: pull(w, "c", batch_size=1001), "batch_size")
    refused(INVALID, lambda: pull(w, "c", batch_size=-1), "batch_size")


@case()
def a_message_comes_back(w: World) -> None:
    filled(w, "S", 1)
    w.call(
        "CreateConsumer",
        stream_name="S",
        config={"name": "c", "ack_wait": timedelta(milliseconds=500), "max_deliver": 2},
    )
    same(pull(w, "c"), [(1, 1)])
    same(eventually("the second delivery", lambda: pull(w, "c"), 5), [(1, 2)])
    same(pull(w, "c", max_wait=timedelta(seconds=1)), [], "given up after max_deliver")
    holds(w.engine.info(stream(w, "S")).state.messages == 1, "the stream keeps it")
