"""What the scenarios share: the connection, and comparisons that say what differs."""

import math
import sys
import time

import grpc
import numpy as np
from qdrant_client import QdrantClient
from qdrant_client.http.exceptions import UnexpectedResponse

MODE, REST, GRPC = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
DIM = 16
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ALREADY_EXISTS,
    501: grpc.StatusCode.UNIMPLEMENTED,
}


def connect():
    return QdrantClient(host="127.0.0.1", port=REST, grpc_port=GRPC, prefer_grpc=MODE == "grpc", timeout=60)


def same(found, expected, what=""):
    assert found == expected, f"{what}: found {found!r}, expected {expected!r}"


def close(found, expected, what=""):
    assert math.isclose(found, expected, rel_tol=2e-4, abs_tol=2e-5), f"{what}: found {found}, expected {expected}"


def ranking(found, scores, limit, largest=True, what=""):
    """The found points are the best `limit` of `scores` (id -> score), with those scores."""
    best = sorted(scores.items(), key=lambda item: item[1], reverse=largest)[:limit]
    same(len(found), len(best), what)
    for point, (_, score) in zip(found, best):
        # By score, since ids of equal scores may come in any order.
        close(point.score, score, f"{what}, {point.id}")
        close(point.score, scores[point.id], f"{what}, {point.id}")


def eventually(condition, look, limit=60):
    deadline = time.monotonic() + limit
    while not look():
        assert time.monotonic() < deadline, f"not within {limit} s: {condition}"
        time.sleep(0.05)


def unit(v):
    return v / np.linalg.norm(v)


def refused(code, text, call):
    """The call is refused with this HTTP status, or the gRPC code for it, and a message that has the text."""
    try:
        result = call()
    except UnexpectedResponse as error:
        same(error.status_code, code, text)
        said = error.content.decode()
        assert '"status":{"error":' in said and '"time":' in said, said
    except grpc.RpcError as error:
        same(error.code(), CODES[code], f"{text}: {error.details()}")
        said = error.details()
    else:
        raise AssertionError(f"not refused with {code} ({text}): {result!r}")
    assert text in said, f"{text!r} is not in {said!r}"
