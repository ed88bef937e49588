"""Uploads in parts and signed URLs, by plain gRPC: the published client has no parts."""

import hashlib
import os
import time
import urllib.error
from typing import Any

from grpc import StatusCode

from conformance.case import between, cases, has, refused, same
from conformance.cases.minio_plain import bucket
from conformance.cases.minio_published import KEY, by_url, keys, on_engine, put, stored
from conformance.plain import MIB
from conformance.world import World

case = cases("minio", "plain")
INVALID = StatusCode.INVALID_ARGUMENT
NOT_FOUND = StatusCode.NOT_FOUND


def part(w: World, upload: dict[str, Any], number: int, data: bytes) -> dict[str, Any]:
    """Writes a part; what CompleteMultipartUpload needs of it."""
    metadata = {**upload, "part_number": number, "part_size": len(data)}
    chunks = [data[i : i + MIB] for i in range(0, len(data), MIB)]
    found = w.upload("UploadPart", metadata, *chunks)
    same((found.success, found.part_number), (True, number))
    return {"part_number": number, "etag": found.etag}


def begin(w: World, b: str, key: str = KEY, **more: Any) -> dict[str, Any]:
    found = w.call("InitiateMultipartUpload", bucket_name=b, object_key=key, **more)
    same((found.bucket_name, found.object_key), (b, key))
    return {"bucket_name": b, "object_key": key, "upload_id": found.upload_id}


@case("InitiateMultipartUpload", "UploadPart", "CompleteMultipartUpload", limit=60)
def upload_in_parts(w: World) -> None:
    b = bucket(w)
    upload = begin(w, b, content_type="video/mp4", metadata={"m": "1"})
    first, second = os.urandom(5 * MIB), os.urandom(MIB + 3)
    part(w, upload, 1, os.urandom(5 * MIB))
    parts = [part(w, upload, 1, first), part(w, upload, 3, second)]
    same(keys(w, b), [], "nothing is seen before the end")
    found = w.call("CompleteMultipartUpload", **upload, parts=parts)
    same((found.object_key, found.location), (KEY, f"{b}/{KEY}"))
    same(hashlib.sha256(stored(w, b, KEY)).digest(), hashlib.sha256(first + second).digest())
    head = w.engine.head_object(Bucket=on_engine(w, b), Key=KEY)
    same((head["ContentType"], head["Metadata"].get("m"), head["ETag"].strip('"')), ("video/mp4", "1", found.etag))
    refused(NOT_FOUND, lambda: w.call("CompleteMultipartUpload", **upload, parts=parts))


@case("AbortMultipartUpload")
def abort(w: World) -> None:
    b = bucket(w)
    upload = begin(w, b)
    part(w, upload, 1, b"x")
    same(len(w.engine.list_multipart_uploads(Bucket=on_engine(w, b), Prefix=KEY).get("Uploads", [])), 1)
    same(w.call("AbortMultipartUpload", **upload).success, True)
    same(w.engine.list_multipart_uploads(Bucket=on_engine(w, b), Prefix=KEY).get("Uploads", []), [])
    refused(NOT_FOUND, lambda: w.call("AbortMultipartUpload", **upload))
    refused(NOT_FOUND, lambda: w.upload("UploadPart", {**upload, "part_number": 1}, b"x"))
    same(keys(w, b), [])


@case("UploadPart", "CompleteMultipartUpload", limit=60)
def bad_parts(w: World) -> None:
    b = bucket(w)
    upload = begin(w, b)
    one, two = part(w, upload, 1, b"small"), part(w, upload, 2, b"last")
    refused(INVALID, lambda: w.call("CompleteMultipartUpload", **upload, parts=[one, two]))
    refused(INVALID, lambda: w.call("CompleteMultipartUpload", **upload), "parts")
    refused(INVALID, lambda: w.call("CompleteMultipartUpload", **upload, parts=[two, one]), "parts")
    refused(
        INVALID, lambda: w.call("CompleteMultipartUpload", **upload, parts=[{"part_number": 9, "etag": one["etag"]}])
    )
    for number in (0, 10_001, -1):
        request = {**upload, "part_number": number}
        refused(INVALID, lambda r=request: w.upload("UploadPart", r, b"x"), "part_number")
    refused(INVALID, lambda: w.upload("UploadPart", {**upload, "part_number": 3, "part_size": 9}, b"x"), "part_size")
    refused(NOT_FOUND, lambda: w.other().call("AbortMultipartUpload", **upload))
    w.call("CompleteMultipartUpload", **upload, parts=[two])
    same(stored(w, b, KEY), b"last", "parts left out are dropped")


@case("GetPresignedURL", "GetPresignedPutURL")
def signed_urls(w: World) -> None:
    b = bucket(w)
    put(w, b, KEY, b"signed")
    parameters = {"response-content-type": "text/x-test"}
    found = w.call("GetPresignedURL", bucket_name=b, object_key=KEY, expiry_seconds=90, request_params=parameters)
    between(found.expires_at.seconds - time.time(), 80, 91, "expires_at")
    with by_url(w, found.url) as answer:
        same((answer.read(), answer.headers["Content-Type"]), (b"signed", "text/x-test"))
    found = w.call("GetPresignedURL", bucket_name=b, object_key=KEY)
    between(found.expires_at.seconds - time.time(), 3590, 3601, "an hour where nothing is said")
    has(found.url, "X-Amz-Expires=3600")
    found = w.call("GetPresignedPutURL", bucket_name=b, object_key="new", content_type="text/plain")
    for kind, code in (("text/html", 403), ("text/plain", 200)):
        try:
            with by_url(w, found.url, b"by url", kind) as answer:
                same(answer.status, code, kind)
        except urllib.error.HTTPError as error:
            same(error.code, code, kind)
    same(stored(w, b, "new"), b"by url")
    for bad in (-1, 604_801):
        request = {"bucket_name": b, "object_key": "k", "expiry_seconds": bad}
        refused(INVALID, lambda r=request: w.call("GetPresignedURL", **r), "expiry_seconds")
    request = {"bucket_name": b, "object_key": "k", "request_params": {"x-evil": "1"}}
    refused(INVALID, lambda: w.call("GetPresignedURL", **request), "request_params")
