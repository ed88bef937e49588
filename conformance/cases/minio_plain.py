"""Objects by plain gRPC: what the published client does not send or read, and statuses."""

import hashlib
import json
import os
import time
from typing import Any

from grpc import RpcError, StatusCode

from conformance import names
from conformance.case import between, cases, eventually, has, holds, refused, same
from conformance.cases.minio_published import KEY, keys, on_engine, put, stored
from conformance.plain import MIB, Stream, native
from conformance.world import World

case = cases("minio", "plain")
INVALID = StatusCode.INVALID_ARGUMENT
NOT_FOUND = StatusCode.NOT_FOUND


def bucket(w: World, name: str = "", **more: Any) -> str:
    name = name or names.fresh("bucket")
    same(w.call("CreateBucket", bucket_name=name, **more).bucket_info.name, name)
    return name


def read(stream: Stream) -> tuple[Any, bytes]:
    """Metadata, and the data behind it."""
    first = stream.next().metadata
    return first, b"".join(part.chunk for part in stream)


@case("CreateBucket", "ListBuckets", "GetBucketInfo", "DeleteBucket")
def buckets(w: World) -> None:
    # With tokens the organization would be another tenant.
    organization = {"organization_id": w.organization} if w.open else {}
    b = bucket(w, names.fresh("b"), region="eu", tags={"team": "x"}, **organization)
    found = w.call("GetBucketInfo", bucket_name=b).bucket_info
    same((found.owner_id, found.region), (w.user, "eu"))
    same(found.organization_id, organization.get("organization_id", ""))
    same(dict(found.tags), {"team": "x"})
    between(found.creation_date.seconds - time.time(), -60, 60, "creation_date")
    a = bucket(w, names.fresh("a"))
    found = w.call("ListBuckets")
    same(([entry.name for entry in found.buckets], found.total_count), ([a, b], 2))
    same([entry.name for entry in w.call("ListBuckets", prefix="b").buckets], [b])
    same(w.call("ListBuckets", **organization).total_count, 2, "buckets are the user's")
    refused(StatusCode.ALREADY_EXISTS, lambda: w.call("CreateBucket", bucket_name=b))
    for key in ("1", "2", "3/4"):
        put(w, b, key)
    refused(StatusCode.FAILED_PRECONDITION, lambda: w.call("DeleteBucket", bucket_name=b))
    same(w.call("DeleteBucket", bucket_name=b, force=True).deleted_objects, 3)
    refused(NOT_FOUND, lambda: w.call("GetBucketInfo", bucket_name=b))
    same(w.call("DeleteBucket", bucket_name=a).success, True)


@case("SetBucketPolicy", "GetBucketPolicy")
def policies(w: World) -> None:
    b = bucket(w)
    for kind in ("PUBLIC_READ", "PUBLIC_WRITE", "PUBLIC_RW"):
        w.call("SetBucketPolicy", bucket_name=b, policy_type=f"BUCKET_POLICY_{kind}")
        found = w.call("GetBucketPolicy", bucket_name=b)
        names_of = found.DESCRIPTOR.fields_by_name["policy_type"].enum_type.values_by_number
        same(names_of[found.policy_type].name, f"BUCKET_POLICY_{kind}")
        actions = json.dumps(json.loads(w.engine.get_bucket_policy(Bucket=on_engine(w, b))["Policy"]))
        same(
            ("s3:GetObject" in actions, "s3:PutObject" in actions),
            (kind != "PUBLIC_WRITE", kind != "PUBLIC_READ"),
            kind,
        )
        holds('s3:ListBucket"' not in actions, "a public bucket can be listed")
    w.call("SetBucketPolicy", bucket_name=b, policy_type="BUCKET_POLICY_PRIVATE")
    found = w.call("GetBucketPolicy", bucket_name=b)
    same((found.policy_type, found.policy_json), (0, ""))
    statement = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::1:root"}, "Action": "s3:*", "Resource": "*"}
    for bad in ("nonsense", json.dumps({"Version": "2012-10-17", "Statement": [statement]})):
        request = {"bucket_name": b, "policy_type": "BUCKET_POLICY_CUSTOM", "custom_policy": bad}
        refused(INVALID, lambda r=request: w.call("SetBucketPolicy", **r), "custom_policy")


@case("SetBucketTags", "GetBucketTags", "DeleteBucketTags", "SetBucketVersioning", "GetBucketVersioning")
def bucket_settings(w: World) -> None:
    b = bucket(w)
    w.call("SetBucketTags", bucket_name=b, tags={"a": "1"})
    w.call("SetBucketTags", bucket_name=b, tags={"b": "2"})
    same(dict(w.call("GetBucketTags", bucket_name=b).tags), {"b": "2"}, "tags are replaced")
    refused(INVALID, lambda: w.call("SetBucketTags", bucket_name=b, tags={f"k{i}": "" for i in range(51)}), "tags")
    refused(INVALID, lambda: w.call("SetBucketTags", bucket_name=b, tags={"isa:x": "1"}), "tags")
    w.call("DeleteBucketTags", bucket_name=b)
    same(dict(w.call("GetBucketTags", bucket_name=b).tags), {})
    same(w.call("GetBucketVersioning", bucket_name=b).enabled, False)
    w.call("SetBucketVersioning", bucket_name=b, enabled=True)
    same(w.call("GetBucketVersioning", bucket_name=b).enabled, True)
    same(w.engine.get_bucket_versioning(Bucket=on_engine(w, b))["Status"], "Enabled")


@case("SetBucketLifecycle", "GetBucketLifecycle", "DeleteBucketLifecycle")
def lifecycle(w: World) -> None:
    b = bucket(w)
    rules = [
        {"filter": {"Prefix": "a/"}, "expiration": {"Days": 3}},
        {"id": "tagged", "filter": {"tag": {"key": "k", "value": "v"}}, "expiration": {"days": 1}},
    ]
    w.call("SetBucketLifecycle", bucket_name=b, rules=rules)
    found = {native(r.expiration)["days"]: r for r in w.call("GetBucketLifecycle", bucket_name=b).rules}
    holds(found[3].id, "no id was made")
    same((native(found[3].filter), found[3].status), ({"prefix": "a/"}, "Enabled"))
    same((found[1].id, native(found[1].filter)), ("tagged", {"tag": {"key": "k", "value": "v"}}))
    same(len(w.engine.get_bucket_lifecycle_configuration(Bucket=on_engine(w, b))["Rules"]), 2)
    for bad in (
        [],
        [{"expiration": {"days": 0}}],
        [{"expiration": {"years": 1}}],
        [{"status": "Perhaps", "expiration": {"days": 1}}],
    ):
        refused(INVALID, lambda r=bad: w.call("SetBucketLifecycle", bucket_name=b, rules=r), "rules")
    w.call("DeleteBucketLifecycle", bucket_name=b)
    same(len(w.call("GetBucketLifecycle", bucket_name=b).rules), 0)


@case("PutObject", "GetObject", "StatObject")
def objects(w: World) -> None:
    b = bucket(w)
    data = b"0123456789"
    found = w.upload(
        "PutObject", {"bucket_name": b, "object_key": KEY, "metadata": {"Colour": "blau"}}, data[:4], data[4:]
    )
    same((found.success, found.size, found.etag), (True, 10, hashlib.md5(data).hexdigest()))
    same(stored(w, b, KEY), data)
    info, got = read(w.stream("GetObject", bucket_name=b, object_key=KEY))
    same((info.key, info.size, info.content_type, got), (KEY, 10, "application/octet-stream", data))
    same((dict(info.metadata), info.owner_id), ({"colour": "blau"}, w.user))
    stat = w.call("StatObject", bucket_name=b, object_key=KEY).object_info
    same((stat.key, stat.size, stat.etag, stat.owner_id), (KEY, 10, found.etag, w.user))
    for offset, length in ((3, 4), (3, 0), (0, 1), (9, 100)):
        _, got = read(w.stream("GetObject", bucket_name=b, object_key=KEY, offset=offset, length=length))
        same(got, data[offset : offset + length] if length else data[offset:], f"from {offset}, {length} bytes")
    refused(StatusCode.OUT_OF_RANGE, lambda: w.stream("GetObject", bucket_name=b, object_key=KEY, offset=10).status())
    refused(INVALID, lambda: w.stream("GetObject", bucket_name=b, object_key=KEY, offset=-1).status(), "offset")
    refused(NOT_FOUND, lambda: w.stream("GetObject", bucket_name=b, object_key="absent").status())
    refused(NOT_FOUND, lambda: w.call("StatObject", bucket_name=b, object_key="absent"))
    refused(INVALID, lambda: w.call("StatObject", bucket_name=b, object_key="k" * 1025), "object_key")
    w.upload("PutObject", {"bucket_name": b, "object_key": "empty"})
    same(read(w.stream("GetObject", bucket_name=b, object_key="empty"))[1], b"")


@case("PutObject", "GetObject", limit=60)
def twenty_megabytes(w: World) -> None:
    b, data = bucket(w), os.urandom(20 * MIB + 7)
    chunks = [data[i : i + MIB] for i in range(0, len(data), MIB)]
    metadata = {"bucket_name": b, "object_key": "large", "content_length": len(data)}
    same(w.upload("PutObject", metadata, *chunks).size, len(data))
    same(hashlib.sha256(stored(w, b, "large")).digest(), hashlib.sha256(data).digest(), "on the engine")
    info, got = read(w.stream("GetObject", bucket_name=b, object_key="large"))
    same((info.size, hashlib.sha256(got).digest()), (len(data), hashlib.sha256(data).digest()))
    stream = w.stream("GetObject", bucket_name=b, object_key="large")
    stream.next()
    holds(max(len(part.chunk) for part in stream) <= 256 * 1024, "a chunk of more than 256 KiB")


@case("PutObject")
def broken_uploads_leave_nothing(w: World) -> None:
    b = bucket(w)
    whole = {"bucket_name": b, "object_key": "k"}
    large = os.urandom(6 * MIB)
    refused(INVALID, lambda: w.upload("PutObject", {**whole, "content_length": 5}, b"1234"), "content_length")
    refused(INVALID, lambda: w.upload("PutObject", {**whole, "content_length": 5}, b"123456"), "content_length")
    refused(INVALID, lambda: w.upload("PutObject", {**whole, "content_length": 1}, *[large] * 4), "content_length")
    refused(NOT_FOUND, lambda: w.upload("PutObject", {**whole, "bucket_name": "absent"}, b"x"))
    refused(INVALID, lambda: w.plain.upload("PutObject", [{"chunk": b"x"}]), "metadata")
    refused(INVALID, lambda: w.plain.upload("PutObject", []), "metadata")
    metadata = {"metadata": {**whole, "user_id": w.user}}
    refused(INVALID, lambda: w.plain.upload("PutObject", [metadata, metadata]))

    def breaks_off() -> Any:
        yield metadata
        for _ in range(4):
            yield {"chunk": large}
        raise RuntimeError("the caller breaks off")

    try:
        w.plain.upload("PutObject", breaks_off())
        raise AssertionError("a broken upload succeeded")
    except RpcError:
        pass

    def left() -> list[Any]:
        return w.engine.list_multipart_uploads(Bucket=on_engine(w, b), Prefix="k").get("Uploads", [])

    eventually("no upload is left on the engine", lambda: not left(), 5)
    same(keys(w, b), [])


@case("ListObjects")
def pages(w: World) -> None:
    b = bucket(w)
    mine = [f"{folder}/{i:02}" for folder in ("a", "b") for i in range(12)] + ["top"]
    for key in mine:
        put(w, b, key)
    found, token = [], ""
    while True:
        page = w.call("ListObjects", bucket_name=b, max_keys=10, continuation_token=token)
        holds(len(page.objects) <= 10, "a page is too long")
        found += [entry.key for entry in page.objects]
        token = page.next_continuation_token
        same(page.is_truncated, bool(token))
        if not token:
            break
    same(found, mine)
    page = w.call("ListObjects", bucket_name=b, delimiter="/")
    same((list(page.common_prefixes), [entry.key for entry in page.objects]), (["a/", "b/"], ["top"]))
    page = w.call("ListObjects", bucket_name=b, prefix="b/", delimiter="/", start_after="b/09")
    same([entry.key for entry in page.objects], ["b/10", "b/11"])
    refused(INVALID, lambda: w.call("ListObjects", bucket_name=b, max_keys=-1), "max_keys")
    refused(INVALID, lambda: w.call("ListObjects", bucket_name=b, continuation_token="made up"), "continuation_token")
    refused(NOT_FOUND, lambda: w.call("ListObjects", bucket_name="absent"))


@case("DeleteObject", "DeleteObjects", "CopyObject")
def delete_and_copy(w: World) -> None:
    b = bucket(w)
    put(w, b, "a", b"data", ContentType="text/plain", Metadata={"m": "1"})
    request = {"source_bucket": b, "source_key": "a", "dest_bucket": b}
    found = w.call("CopyObject", **request, dest_key="b", metadata={"m": "2"}, metadata_directive="REPLACE")
    same(found.etag, hashlib.md5(b"data").hexdigest())
    between(found.last_modified.seconds - time.time(), -60, 60, "last_modified")
    same(w.engine.head_object(Bucket=on_engine(w, b), Key="b")["Metadata"].get("m"), "2")
    w.call("CopyObject", **request, dest_key="c", metadata={"m": "3"})
    same(w.engine.head_object(Bucket=on_engine(w, b), Key="c")["Metadata"].get("m"), "1", "COPY keeps the source's")
    refused(
        INVALID, lambda: w.call("CopyObject", **request, dest_key="d", metadata_directive="X"), "metadata_directive"
    )
    refused(NOT_FOUND, lambda: w.call("CopyObject", **{**request, "source_key": "absent"}, dest_key="d"))
    same(w.call("DeleteObject", bucket_name=b, object_key="a").success, True)
    found = w.call("DeleteObjects", bucket_name=b, object_keys=["b", "absent"])
    same((found.success, sorted(found.deleted_keys), len(found.errors)), (True, ["absent", "b"], 0))
    same(list(w.call("DeleteObjects", bucket_name=b, object_keys=["c"], quiet=True).deleted_keys), [])
    same(keys(w, b), [])
    refused(INVALID, lambda: w.call("DeleteObjects", bucket_name=b), "object_keys")
    refused(INVALID, lambda: w.call("DeleteObjects", bucket_name=b, object_keys=["k"] * 1001), "object_keys")


@case("SetObjectTags", "GetObjectTags", "DeleteObjectTags")
def object_tags(w: World) -> None:
    b = bucket(w)
    put(w, b, KEY)
    w.call("SetObjectTags", bucket_name=b, object_key=KEY, tags={"a": "1"})
    same(w.engine.get_object_tagging(Bucket=on_engine(w, b), Key=KEY)["TagSet"], [{"Key": "a", "Value": "1"}])
    same(dict(w.call("GetObjectTags", bucket_name=b, object_key=KEY).tags), {"a": "1"})
    w.call("DeleteObjectTags", bucket_name=b, object_key=KEY)
    same(dict(w.call("GetObjectTags", bucket_name=b, object_key=KEY).tags), {})
    refused(NOT_FOUND, lambda: w.call("GetObjectTags", bucket_name=b, object_key="absent"))


@case("GetObject", "DeleteObject", "StatObject")
def versions(w: World) -> None:
    b = bucket(w)
    w.call("SetBucketVersioning", bucket_name=b, enabled=True)
    metadata = {"bucket_name": b, "object_key": "k"}
    first, second = (w.upload("PutObject", metadata, data).version_id for data in (b"1", b"2"))
    holds(first and second and first != second, "versions have no ids of their own")
    listed = w.engine.list_object_versions(Bucket=on_engine(w, b))["Versions"]
    same({v["VersionId"] for v in listed}, {first, second})
    same(read(w.stream("GetObject", **metadata, version_id=first))[1], b"1")
    same(read(w.stream("GetObject", **metadata))[1], b"2")
    w.call("DeleteObject", **metadata)
    refused(NOT_FOUND, lambda: w.call("StatObject", **metadata))
    same(w.call("StatObject", **metadata, version_id=second).object_info.version_id, second)
    w.call("DeleteObject", **metadata, version_id=second)
    refused(NOT_FOUND, lambda: w.call("StatObject", **metadata, version_id=second))
    same(w.call("DeleteBucket", bucket_name=b, force=True).success, True, "with its versions")


@case("HealthCheck")
def health(w: World) -> None:
    found = w.call("HealthCheck", detailed=True)
    same((found.success, found.healthy, found.status), (True, True, "SERVING"))
    has(native(found.details)["engine"], "")
    between(found.timestamp.seconds - time.time(), -5, 5, "timestamp")


@case()
def two_users(w: World) -> None:
    b = bucket(w)
    put(w, b, "k", b"mine")
    other = w.other()
    for method, fields in (
        ("GetBucketInfo", {}),
        ("DeleteBucket", {"force": True}),
        ("GetBucketPolicy", {}),
        ("SetBucketTags", {"tags": {"a": "1"}}),
        ("ListObjects", {}),
        ("StatObject", {"object_key": "k"}),
        ("DeleteObject", {"object_key": "k"}),
        ("GetObjectTags", {"object_key": "k"}),
        ("InitiateMultipartUpload", {"object_key": "k"}),
    ):
        refused(NOT_FOUND, lambda m=method, f=fields: other.call(m, bucket_name=b, **f))
    refused(NOT_FOUND, lambda: other.stream("GetObject", bucket_name=b, object_key="k").status())
    refused(NOT_FOUND, lambda: other.upload("PutObject", {"bucket_name": b, "object_key": "k"}, b"x"))
    same(stored(w, b, "k"), b"mine")
