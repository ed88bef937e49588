"""Objects by the published sync client: what the async one does not have."""

import hashlib
import io
import json
import os
import tempfile
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from conformance.case import cases, has, holds, same
from conformance.cases.minio_published import KEY, bucket, on_engine, put, stored
from conformance.world import World

case = cases("minio", "sync")


@case("SetBucketPolicy", "GetBucketPolicy")
def bucket_policy(w: World) -> None:
    b = bucket(w)
    put(w, b, "k", b"public")
    plain = f"{w.engine.meta.endpoint_url}/{on_engine(w, b)}/k"
    same(w.client.get_bucket_policy(b), "", "private at first")
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{b}/*"]}
        ],
    }
    same(w.client.set_bucket_policy(b, json.dumps(policy)), True)
    with urllib.request.urlopen(plain, timeout=10) as answer:
        same(answer.read(), b"public", "read without credentials")
    found = json.loads(w.client.get_bucket_policy(b))
    has(json.dumps(found), f"arn:aws:s3:::{b}/")
    holds(w.slug not in json.dumps(found), "the policy has the engine's name of the bucket")
    policy["Statement"][0]["Resource"] = ["arn:aws:s3:::other/*"]
    same(w.client.set_bucket_policy(b, json.dumps(policy)), False, "a policy for another bucket")
    same(w.client.set_bucket_policy(b, "{"), False, "a policy that is no JSON")
    same(w.client.delete_bucket_policy(b), True)
    same(w.client.get_bucket_policy(b), "")
    try:
        urllib.request.urlopen(plain, timeout=10).close()
    except urllib.error.HTTPError as error:
        same(error.code, 403)
    else:
        raise AssertionError("still read without credentials")


@case("DeleteBucketTags", "GetBucketVersioning")
def bucket_settings(w: World) -> None:
    b = bucket(w)
    same(w.client.set_bucket_tags(b, {"a": "1"}), True)
    same(w.client.delete_bucket_tags(b), True)
    same(w.client.get_bucket_tags(b), {})
    same(w.client.get_bucket_info(b)["owner_id"], w.user, "the service's own tags stay")
    same(w.client.delete_bucket_tags("absent"), False)
    same(w.client.get_bucket_versioning(b), False)
    w.engine.put_bucket_versioning(Bucket=on_engine(w, b), VersioningConfiguration={"Status": "Enabled"})
    same(w.client.get_bucket_versioning(b), True)


@case("SetBucketLifecycle", "GetBucketLifecycle", "DeleteBucketLifecycle")
def lifecycle(w: World) -> None:
    b = bucket(w)
    same(w.client.get_bucket_lifecycle(b), [])
    rules = [
        {"id": "temp", "status": "Enabled", "filter": {"prefix": "temp/"}, "expiration": {"days": 7}},
        {"id": "logs", "status": "Disabled", "filter": {"prefix": "logs/"}, "expiration": {"days": 365}},
    ]
    same(w.client.set_bucket_lifecycle(b, rules), True)
    engine = w.engine.get_bucket_lifecycle_configuration(Bucket=on_engine(w, b))["Rules"]
    same(
        sorted((r["ID"], r["Status"], r["Expiration"]["Days"]) for r in engine),
        [("logs", "Disabled", 365), ("temp", "Enabled", 7)],
    )
    found = w.client.get_bucket_lifecycle(b)
    same(sorted((r["id"], r["status"], r["expiration"]["days"], r["filter"]["prefix"]) for r in found), [
        ("logs", "Disabled", 365, "logs/"), ("temp", "Enabled", 7, "temp/"),
    ])  # fmt: skip
    same(w.client.set_bucket_lifecycle(b, []), False)
    bad = {"id": "x", "expiration": {"days": 1.5}}
    same(w.client.set_bucket_lifecycle(b, [bad]), False, "half a day")
    same(w.client.delete_bucket_lifecycle(b), True)
    same(w.client.get_bucket_lifecycle(b), [])


@case("DeleteObjectTags")
def object_tags(w: World) -> None:
    b = bucket(w)
    put(w, b, KEY, Tagging="a=1")
    same(w.client.delete_object_tags(b, KEY), True)
    same(w.engine.get_object_tagging(Bucket=on_engine(w, b), Key=KEY)["TagSet"], [])
    same(w.client.delete_object_tags(b, "absent"), False)


@case("PutObject", "GetObject")
def files(w: World) -> None:
    b, data = bucket(w), os.urandom(300_000)
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        same(w.client.upload_file(b, "file", file.name, content_type="image/png"), True)
    same(stored(w, b, "file"), data)
    same(w.client.put_object(b, "stream", io.BytesIO(data), len(data), {"m": "1"}), True)
    digest = hashlib.sha256()
    for chunk in w.client.download_stream(b, "stream"):
        digest.update(chunk)
    same(digest.digest(), hashlib.sha256(data).digest())
    same(list(w.client.download_stream(b, "absent")), [])


@case("PutObject", "GetObject", limit=60)
def twenty_threads(w: World) -> None:
    b = bucket(w)

    def work(thread: int) -> None:
        for i in range(5):
            key, data = f"{thread}/{i}", os.urandom(50_000 + thread)
            same(w.client.upload_object(b, key, data)["size"], len(data))
            same(w.client.get_object(b, key), data)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(work, range(20)))
    same(len(w.client.list_objects(b)), 100)
    found = w.engine.list_objects_v2(Bucket=on_engine(w, b))
    same(found["KeyCount"], 100)
