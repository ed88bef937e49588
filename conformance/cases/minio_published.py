"""Objects by the published client: what its sync and async form have in common."""

import hashlib
import io
import os
import tempfile
import urllib.request
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from conformance import names
from conformance.case import between, cases, has, holds, same
from conformance.plain import MIB
from conformance.world import World

case = cases("minio", "sync", "async")
KEY = "ordner/größe 🦀/a+b&c=d%20?#[x]"


def by_url(w: World, url: str, data: bytes | None = None, content_type: str = "") -> Any:
    """Opens a signed URL at the engine as the cases reach it: its host, which is signed, may be a name of the cluster's."""
    signed, here = urlsplit(url), urlsplit(w.engine.meta.endpoint_url)
    headers = {"Host": signed.netloc} | ({"Content-Type": content_type} if content_type else {})
    place = urlunsplit((here.scheme, here.netloc, *signed[2:]))
    request = urllib.request.Request(place, data, headers, method="GET" if data is None else "PUT")
    return urllib.request.urlopen(request, timeout=10)


def bucket(w: World, name: str = "") -> str:
    """A new bucket of the tenant, made through the service."""
    name = name or names.fresh("bucket")
    same(w.client.create_bucket(name)["bucket"], name)
    return name


def on_engine(w: World, name: str) -> str:
    return names.s3_bucket(w.tenant, name)


def stored(w: World, name: str, key: str) -> bytes:
    return w.engine.get_object(Bucket=on_engine(w, name), Key=key)["Body"].read()


def put(w: World, name: str, key: str, data: bytes = b"x", **more: Any) -> None:
    """By the engine's own client."""
    w.engine.put_object(Bucket=on_engine(w, name), Key=key, Body=data, **more)


def keys(w: World, name: str) -> list[str]:
    found = w.engine.list_objects_v2(Bucket=on_engine(w, name)).get("Contents", [])
    return [entry["Key"] for entry in found]


@case("HealthCheck")
def health(w: World) -> None:
    found = w.client.health_check()
    same((found["healthy"], found["status"]), (True, "SERVING"))
    holds(found["details"]["engine"] in ("minio", "seaweedfs", "s3"), f"details {found['details']}")
    between(found["details"]["latency_ms"], 0, 5000, "latency_ms")


@case("CreateBucket", "ListBuckets", "DeleteBucket", "GetBucketInfo")
def buckets(w: World) -> None:
    same(w.client.list_buckets(), [])
    b = names.fresh("b")
    # With tokens the organization would be another tenant.
    organization = "acme" if w.open else ""
    found = w.client.create_bucket(b, organization_id=organization, region="eu-west-1")
    same((found["success"], found["bucket"]), (True, b))
    holds(
        on_engine(w, b) in [entry["Name"] for entry in w.engine.list_buckets()["Buckets"]], "the engine has no bucket"
    )
    same(w.client.create_bucket(b), None, "a bucket that there is")
    a = bucket(w, names.fresh("a"))
    same(w.client.list_buckets(), [a, b], "sorted")
    info = w.client.get_bucket_info(b)
    same((info["name"], info["owner_id"], info["organization_id"]), (b, w.user, organization))
    same((info["region"], info["size_bytes"], info["object_count"]), ("eu-west-1", 0, 0))
    same((w.client.bucket_exists(b), w.client.bucket_exists("absent")), (True, False))
    same(w.client.get_bucket_info("absent"), None)
    put(w, b, "k")
    same(w.client.delete_bucket(b), False, "a bucket that holds an object")
    same(w.client.delete_bucket(b, force=True), True)
    same(w.client.delete_bucket(a), True)
    same(w.client.delete_bucket(a), False, "deleted twice")
    same([n for n in w.engine.list_buckets()["Buckets"] if n["Name"].startswith(w.slug)], [])


@case("CreateBucket")
def bad_bucket_names(w: World) -> None:
    for name in ("", "ab", "Upper", "under_score", "-a-", "a" * 41, "a.b.c", "a/b", "../x", "grün", "*"):
        same(w.client.create_bucket(name), None, f"bucket {name!r}")
    same(w.client.create_bucket("a" * 40)["bucket"], "a" * 40)
    same(w.client.upload_object("Bad_Name", "k", b"x")["success"], False)


@case("PutObject", "GetObject", "StatObject")
def put_and_get(w: World) -> None:
    b = bucket(w)
    found = w.client.upload_object(b, KEY, b"hello", content_type="text/plain", metadata={"Colour": "blue"})
    same((found["success"], found["object_key"], found["size"]), (True, KEY, 5))
    same(found["etag"], hashlib.md5(b"hello").hexdigest())
    head = w.engine.head_object(Bucket=on_engine(w, b), Key=KEY)
    same((stored(w, b, KEY), head["ContentType"], head["Metadata"].get("colour")), (b"hello", "text/plain", "blue"))
    same(w.client.get_object(b, KEY), b"hello")
    stat = w.client.get_object_metadata(b, KEY)
    same((stat["key"], stat["size"], stat["content_type"], stat["etag"]), (KEY, 5, "text/plain", found["etag"]))
    same(stat["metadata"], {"colour": "blue"})
    between(stat["last_modified"].seconds - head["LastModified"].timestamp(), -1, 1, "last_modified")
    same(w.client.upload_object(b, "empty", b"")["size"], 0)
    same(w.client.get_object(b, "empty"), b"")
    put(w, b, "by the engine", b"\x00\xff")
    same(w.client.get_object(b, "by the engine"), b"\x00\xff")
    same(w.client.get_object(b, "absent"), None)
    same(w.client.get_object("absent", "absent"), None)
    same(w.client.get_object_metadata(b, "absent"), None)
    same(w.client.upload_object(b, "", b"x"), None, "an empty key")


@case("PutObject")
def upload_makes_the_bucket(w: World) -> None:
    b = names.fresh("new")
    same(w.client.upload_object(b, "k", b"one megabyte" * (MIB // 12))["success"], True)
    same(stored(w, b, "k"), b"one megabyte" * (MIB // 12))
    same(w.client.upload_object(names.fresh("none"), "k", b"x", auto_create_bucket=False), None, "no bucket")


@case("PutObject", "GetObject", limit=60)
def twenty_megabytes(w: World) -> None:
    b, data = bucket(w), os.urandom(20 * MIB + 1)
    sent: list[int] = []
    done = w.client.upload_large_file(
        b, "large", io.BytesIO(data), file_size=len(data), progress_callback=lambda n, of: sent.append(n)
    )
    same((done, sent[-1]), (True, len(data)))
    same(hashlib.sha256(stored(w, b, "large")).digest(), hashlib.sha256(data).digest(), "on the engine")
    same(w.client.upload_large_file(b, "of unknown size", io.BytesIO(data)), True)
    same(w.client.upload_object(b, "in small chunks", data)["size"], len(data))
    for key in ("large", "of unknown size", "in small chunks"):
        found = w.client.get_object(b, key)
        same(hashlib.sha256(found or b"").digest(), hashlib.sha256(data).digest(), key)
    with tempfile.TemporaryDirectory() as folder:
        path, seen = f"{folder}/file", list[int]()
        same(w.client.download_to_file(b, "large", path, lambda n, of: seen.append(n)), True)
        with open(path, "rb") as file:
            same(hashlib.file_digest(file, "sha256").digest(), hashlib.sha256(data).digest(), "downloaded")
        same(seen[-1], len(data))


@case("ListObjects")
def list_objects(w: World) -> None:
    b = bucket(w)
    same(w.client.list_objects(b), [])
    mine = sorted(["a/1", "a/2/deep", "b", KEY], key=str.encode)
    for key in mine:
        put(w, b, key, key.encode())
    found = w.client.list_objects(b)
    same([entry["key"] for entry in found], mine, "all depths, by bytes")
    same([entry["size"] for entry in found], [len(key.encode()) for key in mine])
    same(found[0]["etag"], hashlib.md5(mine[0].encode()).hexdigest())
    same([entry["key"] for entry in w.client.list_objects(b, prefix="a/")], ["a/1", "a/2/deep"])
    same([entry["key"] for entry in w.client.list_objects(b, max_keys=2)], mine[:2])
    same(w.client.list_objects("absent"), [])


@case("DeleteObject", "DeleteObjects")
def delete(w: World) -> None:
    b = bucket(w)
    for key in ("a", "b", KEY, "d"):
        put(w, b, key)
    same(w.client.delete_object(b, "a"), True)
    same(w.client.delete_object(b, "a"), True, "an absent object is no error")
    same(w.client.delete_objects(b, ["b", KEY, "absent"]), True)
    same(keys(w, b), ["d"])
    same(w.client.delete_object("absent", "a"), False)
    same(w.client.delete_objects(b, []), False)


@case("CopyObject")
def copy(w: World) -> None:
    a, b = bucket(w), bucket(w)
    put(w, a, KEY, b"data", ContentType="text/plain", Metadata={"m": "1"})
    same(w.client.copy_object(b, "dir/copy", a, KEY), True)
    head = w.engine.head_object(Bucket=on_engine(w, b), Key="dir/copy")
    same((stored(w, b, "dir/copy"), head["ContentType"], head["Metadata"]["m"]), (b"data", "text/plain", "1"))
    same(w.client.copy_object(b, "x", a, "absent"), False)
    same(w.client.copy_object("absent", "x", a, KEY), False)


@case("SetBucketTags", "GetBucketTags", "SetBucketVersioning")
def bucket_settings(w: World) -> None:
    b = bucket(w)
    same(w.client.get_bucket_tags(b), {})
    same(w.client.set_bucket_tags(b, {"team": "a b", "cost": "1"}), True)
    same(w.client.get_bucket_tags(b), {"team": "a b", "cost": "1"})
    tags = w.engine.get_bucket_tagging(Bucket=on_engine(w, b))["TagSet"]
    same({"Key": "team", "Value": "a b"} in tags, True, f"tags on the engine {tags}")
    same(w.client.set_bucket_tags(b, {"isa:owner": "x"}), False, "a tag of the service")
    same(w.client.get_bucket_info(b)["owner_id"], w.user, "the service's own tags stay")
    same(w.client.set_bucket_versioning(b, True), True)
    same(w.engine.get_bucket_versioning(Bucket=on_engine(w, b)).get("Status"), "Enabled")
    same(w.client.set_bucket_versioning(b, False), True)
    same(w.engine.get_bucket_versioning(Bucket=on_engine(w, b)).get("Status"), "Suspended")


@case("SetObjectTags", "GetObjectTags")
def object_tags(w: World) -> None:
    b = bucket(w)
    put(w, b, KEY)
    same(w.client.get_object_tags(b, KEY), {})
    same(w.client.set_object_tags(b, KEY, {"a": "1", "b": ""}), True)
    tags = w.engine.get_object_tagging(Bucket=on_engine(w, b), Key=KEY)["TagSet"]
    same({t["Key"]: t["Value"] for t in tags}, {"a": "1", "b": ""})
    same(w.client.get_object_tags(b, KEY), {"a": "1", "b": ""})
    same(w.client.get_object_tags(b, "absent"), None)
    same(w.client.set_object_tags(b, KEY, {f"k{i}": "v" for i in range(11)}), False, "too many tags")


@case("GetPresignedURL", "GetPresignedPutURL")
def signed_urls(w: World) -> None:
    b = bucket(w)
    put(w, b, KEY, b"signed")
    url = w.client.get_presigned_url(b, KEY, expiry_seconds=120)
    has(url, "X-Amz-Expires=120")
    with by_url(w, url) as answer:
        same(answer.read(), b"signed")
    url = w.client.get_presigned_put_url(b, "new", content_type="text/plain")
    by_url(w, url, b"by url", "text/plain").close()
    same(stored(w, b, "new"), b"by url")
    same(w.engine.head_object(Bucket=on_engine(w, b), Key="new")["ContentType"], "text/plain")


@case()
def two_users(w: World) -> None:
    b = bucket(w)
    put(w, b, "k", b"mine")
    other = w.other()
    same(other.client.list_buckets(), [])
    same(other.client.get_object(b, "k"), None)
    same(other.client.get_object(on_engine(w, b), "k"), None)
    same(other.client.list_objects(b), [])
    same(other.client.delete_object(b, "k"), False)
    same(other.client.delete_bucket(b, force=True), False)
    same(other.client.copy_object(b, "x", b, "k"), False)
    same(other.client.upload_object(b, "k", b"theirs")["success"], True)
    same(other.client.get_object(b, "k"), b"theirs", "a bucket of the same name")
    same(stored(w, b, "k"), b"mine")


@case()
def client_options(w: World) -> None:
    w.raw = w.make(lazy_connect=False, enable_compression=False, enable_retry=False)
    b = bucket(w)
    same(w.client.upload_object(b, "k", b"x" * 100_000)["size"], 100_000)
    same(w.client.get_object(b, "k"), b"x" * 100_000)
