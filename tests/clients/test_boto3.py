"""The S3 door through boto3: every operation, as an unchanged program would use it. Bucket = repository,
key = ref/path.
"""

import base64
import contextlib
import hashlib
import io
import os
import zlib

import boto3.s3.transfer
import pytest
import requests
from awscrt import checksums as crt
from botocore.exceptions import ClientError

from harness.dataset import in_threads

MIB = 2**20


@pytest.fixture
def s3(server):
    return server.s3()


@pytest.fixture
def bucket(repository):
    return repository.id


@contextlib.contextmanager
def refused(status, *codes):
    """Expects this status (a number, or a range of them) and, where codes are given, one of these."""
    with pytest.raises(ClientError) as caught:
        yield
    got = (caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"])
    assert got[0] in (status if isinstance(status, range) else (status,)), got
    assert not codes or got[1] in codes, got


# Refused as the client's fault, where AWS has no counterpart to follow.
ANY_REFUSAL = range(400, 500)


def body(s3, bucket, key, **more):
    return s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read()


def keys(s3, bucket, prefix, **more):
    found = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, **more):
        found += [o["Key"] for o in page.get("Contents", [])]
    return found


# Buckets --------------------------------------------------------------------------------------------------


def test_buckets(s3, bucket):
    assert bucket in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    assert s3.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    with refused(404):
        s3.head_bucket(Bucket="no-such-bucket")
    with refused(404, "NoSuchBucket"):
        s3.list_objects_v2(Bucket="no-such-bucket")


def test_create_bucket_makes_a_repository(server, s3):
    name = f"made-by-s3-{server.scheme}"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="main/a", Body=b"1")
    assert body(s3, name, "main/a") == b"1"
    with refused(409):
        s3.create_bucket(Bucket=name)


# Objects --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 100, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 5 * MIB + 1])
def test_put_get_head_delete(s3, bucket, size):
    data = os.urandom(size)
    etag = f'"{hashlib.md5(data).hexdigest()}"'
    assert s3.put_object(Bucket=bucket, Key="main/a/b.bin", Body=data)["ETag"] == etag
    got = s3.get_object(Bucket=bucket, Key="main/a/b.bin")
    assert got["Body"].read() == data
    head = s3.head_object(Bucket=bucket, Key="main/a/b.bin")
    for answer in (got, head):
        assert (answer["ETag"], answer["ContentLength"], answer["AcceptRanges"]) == (etag, size, "bytes")
        assert answer["ContentType"] in ("binary/octet-stream", "application/octet-stream")
        assert answer["LastModified"]
    s3.delete_object(Bucket=bucket, Key="main/a/b.bin")
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="main/a/b.bin")
    with refused(404):
        s3.head_object(Bucket=bucket, Key="main/a/b.bin")
    s3.delete_object(Bucket=bucket, Key="main/a/b.bin")  # what is gone can be deleted again


def test_overwrite_replaces_everything(s3, bucket):
    s3.put_object(Bucket=bucket, Key="main/a", Body=b"one", Metadata={"x": "1"}, ContentType="text/plain")
    s3.put_object(Bucket=bucket, Key="main/a", Body=b"two")
    got = s3.get_object(Bucket=bucket, Key="main/a")
    assert (got["Body"].read(), got["Metadata"]) == (b"two", {})


def test_headers_and_metadata_come_back(s3, bucket):
    sent = {
        "ContentType": "text/csv; charset=utf-8",
        "CacheControl": "max-age=60",
        "ContentDisposition": 'attachment; filename="a.csv"',
        "ContentEncoding": "identity",
        "ContentLanguage": "de",
    }
    given = {"owner": "Ada", "MixedCase": "Yes, It Is", "empty": ""}
    s3.put_object(Bucket=bucket, Key="main/a", Body=b"1", Metadata=given, **sent)
    for answer in (s3.get_object(Bucket=bucket, Key="main/a"), s3.head_object(Bucket=bucket, Key="main/a")):
        assert {k: answer.get(k) for k in sent} == sent
        assert answer["Metadata"] == {name.lower(): value for name, value in given.items()}
    over = s3.get_object(
        Bucket=bucket,
        Key="main/a",
        ResponseContentType="text/plain",
        ResponseCacheControl="no-cache",
        ResponseContentDisposition="inline",
    )
    assert (over["ContentType"], over["CacheControl"], over["ContentDisposition"]) == (
        "text/plain",
        "no-cache",
        "inline",
    )
    with refused(400, "MetadataTooLarge"):
        s3.put_object(Bucket=bucket, Key="main/b", Body=b"1", Metadata={"big": "x" * 2100})
    assert keys(s3, bucket, "main/") == ["main/a"]


@pytest.mark.parametrize("size", [1000, 300_000])
def test_ranges(s3, bucket, size):
    data = os.urandom(size)
    s3.put_object(Bucket=bucket, Key="main/a", Body=data)
    cases = {
        "bytes=0-0": data[:1],
        "bytes=10-19": data[10:20],
        f"bytes={size - 5}-": data[-5:],
        "bytes=-7": data[-7:],
        f"bytes=-{size * 2}": data,  # Polars asks for a suffix longer than the object
        f"bytes=5-{size * 2}": data[5:],
        "bytes=65530-65550": data[65530:65551],
    }
    for text, expected in cases.items():
        if not expected:
            continue
        got = s3.get_object(Bucket=bucket, Key="main/a", Range=text)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206, text
        assert got["Body"].read() == expected, text
        first = data.index(expected) if len(expected) > 6 else None
        assert got["ContentRange"].endswith(f"/{size}")
        if first is not None:
            assert got["ContentRange"] == f"bytes {first}-{first + len(expected) - 1}/{size}"
        assert s3.head_object(Bucket=bucket, Key="main/a", Range=text)["ContentLength"] == len(expected)
    with refused(416, "InvalidRange"):
        s3.get_object(Bucket=bucket, Key="main/a", Range=f"bytes={size}-")
    s3.put_object(Bucket=bucket, Key="main/empty", Body=b"")
    with refused(416, "InvalidRange"):
        s3.get_object(Bucket=bucket, Key="main/empty", Range="bytes=0-")


HOSTILE = [
    "a//b",
    "/leading",
    "trailing/",
    "//",
    "a b  c",
    "plus+plus",
    "per%cent%20%2F",
    "ünïcödé/日本語/🦆",
    "a/./b",
    "a/../b",
    "..",
    "quote'\"<>&",
    "q?a=b#c",
    "tab\tand\x01control",
    "semi;colon=,:@$!*()[]{}|\\^`~",
    "é" * 512,
    "x" * 1024,
]


def test_hostile_keys(s3, bucket):
    for i, path in enumerate(HOSTILE):
        s3.put_object(Bucket=bucket, Key=f"main/{path}", Body=b"%d" % i)
    expected = sorted((f"main/{p}" for p in HOSTILE), key=str.encode)
    assert keys(s3, bucket, "main/", PaginationConfig={"PageSize": 3}) == expected
    for i, path in enumerate(HOSTILE):
        assert body(s3, bucket, f"main/{path}") == b"%d" % i, path
        assert s3.head_object(Bucket=bucket, Key=f"main/{path}")["ContentLength"] == len(str(i)), path
    s3.copy_object(Bucket=bucket, Key="main/copied", CopySource={"Bucket": bucket, "Key": "main/plus+plus"})
    assert body(s3, bucket, "main/copied") == b"%d" % HOSTILE.index("plus+plus")
    s3.copy_object(Bucket=bucket, Key="main/copied", CopySource={"Bucket": bucket, "Key": "main/per%cent%20%2F"})
    assert body(s3, bucket, "main/copied") == b"%d" % HOSTILE.index("per%cent%20%2F")
    for path in [*HOSTILE, "copied"]:
        s3.delete_object(Bucket=bucket, Key=f"main/{path}")
    assert keys(s3, bucket, "main/") == []


def test_a_key_of_1025_bytes_is_refused(s3, bucket):
    with refused(400, "KeyTooLongError"):
        s3.put_object(Bucket=bucket, Key="main/" + "x" * 1025, Body=b"1")


def test_an_empty_path_makes_no_object(s3, bucket):
    s3.put_object(Bucket=bucket, Key="main/", Body=b"")  # Arrow's directory marker of the branch itself
    assert keys(s3, bucket, "main/") == []


def test_delete_objects(s3, bucket):
    paths = [f"main/d/{i:03}" for i in range(20)] + ["main/a b+c%/ü"]
    for key in paths:
        s3.put_object(Bucket=bucket, Key=key, Body=b"1")
    wanted = [{"Key": k} for k in [*paths[:10], paths[-1], "main/never-was"]]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": wanted})
    assert {d["Key"] for d in answer["Deleted"]} == {w["Key"] for w in wanted} and "Errors" not in answer
    assert keys(s3, bucket, "main/") == paths[10:20]
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": paths[10]}], "Quiet": True})
    assert "Deleted" not in quiet and "Errors" not in quiet
    mixed = [{"Key": paths[11]}, {"Key": "no-such-branch/x"}]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": mixed})
    assert [d["Key"] for d in answer["Deleted"]] == [paths[11]]
    assert [e["Key"] for e in answer["Errors"]] == ["no-such-branch/x"]
    assert keys(s3, bucket, "main/") == paths[12:20]


# Copy -----------------------------------------------------------------------------------------------------


def test_copy(server, s3, repository, bucket):
    s3.put_object(Bucket=bucket, Key="main/a", Body=b"data", Metadata={"k": "v"}, ContentType="text/plain")
    source = {"Bucket": bucket, "Key": "main/a"}
    etag = s3.head_object(**source)["ETag"]
    result = s3.copy_object(Bucket=bucket, Key="main/b", CopySource=source)["CopyObjectResult"]
    assert result["ETag"] == etag and result["LastModified"]
    copied = s3.get_object(Bucket=bucket, Key="main/b")
    assert (copied["Body"].read(), copied["Metadata"], copied["ContentType"]) == (b"data", {"k": "v"}, "text/plain")
    s3.copy_object(
        Bucket=bucket,
        Key="main/c",
        CopySource=source,
        MetadataDirective="REPLACE",
        Metadata={"n": "1"},
        ContentType="text/csv",
    )
    replaced = s3.head_object(Bucket=bucket, Key="main/c")
    assert (replaced["Metadata"], replaced["ContentType"]) == ({"n": "1"}, "text/csv")
    # From a commit to a branch, and from another repository.
    commit = repository.branch("main").commit("copies").id
    s3.put_object(Bucket=bucket, Key="main/a", Body=b"newer")
    s3.copy_object(Bucket=bucket, Key="main/old", CopySource={"Bucket": bucket, "Key": f"{commit}/a"})
    assert body(s3, bucket, "main/old") == b"data"
    other = server.new_repository(f"{bucket}-other").id
    s3.copy_object(Bucket=other, Key="main/a", CopySource=source)
    assert body(s3, other, "main/a") == b"newer"
    with refused(404, "NoSuchKey"):
        s3.copy_object(Bucket=bucket, Key="main/x", CopySource={"Bucket": bucket, "Key": "main/none"})
    with refused(412, "PreconditionFailed"):
        s3.copy_object(Bucket=bucket, Key="main/x", CopySource=source, CopySourceIfMatch='"wrong"')
    with refused(412, "PreconditionFailed"):
        s3.copy_object(
            Bucket=bucket, Key="main/x", CopySource=source, CopySourceIfNoneMatch=s3.head_object(**source)["ETag"]
        )
    with refused(404):
        s3.head_object(Bucket=bucket, Key="main/x")


# Multipart ------------------------------------------------------------------------------------------------


def test_multipart(s3, bucket):
    parts = [os.urandom(5 * MIB), os.urandom(5 * MIB), os.urandom(100)]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="main/big", ContentType="text/plain", Metadata={"k": "v"})[
        "UploadId"
    ]
    other = s3.create_multipart_upload(Bucket=bucket, Key="main/other")["UploadId"]
    at = {"Bucket": bucket, "Key": "main/big", "UploadId": upload}
    etags = [s3.upload_part(PartNumber=n, Body=p, **at)["ETag"] for n, p in enumerate(parts, 1)]
    assert etags == [f'"{hashlib.md5(p).hexdigest()}"' for p in parts]
    with refused(404):
        s3.head_object(Bucket=bucket, Key="main/big")  # nothing to see before it is complete

    listed = s3.list_parts(**at)
    assert [(p["PartNumber"], p["Size"], p["ETag"]) for p in listed["Parts"]] == [
        (n, len(p), e) for n, (p, e) in enumerate(zip(parts, etags), 1)
    ]
    page = s3.list_parts(MaxParts=2, **at)
    assert page["IsTruncated"] and [p["PartNumber"] for p in page["Parts"]] == [1, 2]
    rest = s3.list_parts(PartNumberMarker=page["NextPartNumberMarker"], **at)
    assert [p["PartNumber"] for p in rest["Parts"]] == [3] and not rest["IsTruncated"]
    uploads = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert {(u["Key"], u["UploadId"]) for u in uploads} == {("main/big", upload), ("main/other", other)}
    only = s3.list_multipart_uploads(Bucket=bucket, Prefix="main/o")["Uploads"]
    assert [u["UploadId"] for u in only] == [other]

    def complete(numbers, tags):
        chosen = [{"PartNumber": n, "ETag": e} for n, e in zip(numbers, tags)]
        return s3.complete_multipart_upload(MultipartUpload={"Parts": chosen}, **at)

    with refused(400, "InvalidPart"):
        complete([1, 2, 3], [etags[0], etags[0], etags[2]])
    with refused(400, "InvalidPart"):
        complete([1, 2, 9], etags)
    with refused(400, "InvalidPartOrder"):
        complete([2, 1, 3], [etags[1], etags[0], etags[2]])
    with refused(400, "EntityTooSmall"):
        last = s3.upload_part(PartNumber=4, Body=b"x", **at)["ETag"]
        complete([1, 3, 4], [etags[0], etags[2], last])
    done = complete([1, 2, 3], etags)
    expected = hashlib.md5(b"".join(hashlib.md5(p).digest() for p in parts)).hexdigest() + "-3"
    assert done["ETag"] == f'"{expected}"'
    assert complete([1, 2, 3], etags)["ETag"] == done["ETag"]  # the answer was lost: the same one again
    got = s3.get_object(Bucket=bucket, Key="main/big")
    assert got["Body"].read() == b"".join(parts)
    assert (got["ETag"], got["ContentType"], got["Metadata"]) == (done["ETag"], "text/plain", {"k": "v"})
    assert s3.list_objects_v2(Bucket=bucket, Prefix="main/big")["Contents"][0]["ETag"] == done["ETag"]
    second = s3.get_object(Bucket=bucket, Key="main/big", PartNumber=2)
    assert second["Body"].read() == parts[1] and second["PartsCount"] == 3
    across = s3.get_object(Bucket=bucket, Key="main/big", Range=f"bytes={5 * MIB - 10}-{5 * MIB + 9}")
    assert across["Body"].read() == parts[0][-10:] + parts[1][:10]

    s3.abort_multipart_upload(Bucket=bucket, Key="main/other", UploadId=other)
    with refused(404, "NoSuchUpload"):
        s3.upload_part(Bucket=bucket, Key="main/other", UploadId=other, PartNumber=1, Body=b"1")
    with refused(404, "NoSuchUpload"):
        s3.list_parts(Bucket=bucket, Key="main/other", UploadId=other)
    with refused(404, "NoSuchUpload"):
        s3.complete_multipart_upload(
            Bucket=bucket,
            Key="main/other",
            UploadId=other,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etags[0]}]},
        )
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_a_part_sent_again_replaces_the_first(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="main/a")["UploadId"]
    at = {"Bucket": bucket, "Key": "main/a", "UploadId": upload}
    s3.upload_part(PartNumber=1, Body=b"first", **at)
    tag = s3.upload_part(PartNumber=1, Body=b"second", **at)["ETag"]
    s3.complete_multipart_upload(MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]}, **at)
    assert body(s3, bucket, "main/a") == b"second"


def test_upload_part_copy(s3, bucket):
    data = os.urandom(6 * MIB)
    s3.put_object(Bucket=bucket, Key="main/source", Body=data)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="main/a")["UploadId"]
    at = {"Bucket": bucket, "Key": "main/a", "UploadId": upload}
    source = {"Bucket": bucket, "Key": "main/source"}
    first = s3.upload_part_copy(PartNumber=1, CopySource=source, CopySourceRange=f"bytes=0-{5 * MIB - 1}", **at)[
        "CopyPartResult"
    ]["ETag"]
    second = s3.upload_part_copy(
        PartNumber=2, CopySource=source, CopySourceRange=f"bytes={5 * MIB}-{6 * MIB - 1}", **at
    )["CopyPartResult"]["ETag"]
    assert first == f'"{hashlib.md5(data[: 5 * MIB]).hexdigest()}"'
    s3.complete_multipart_upload(
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": first}, {"PartNumber": 2, "ETag": second}]}, **at
    )
    assert body(s3, bucket, "main/a") == data


def test_managed_transfer(s3, bucket, tmp_path):
    """upload_file and download_file, as most programs use boto3."""
    data = os.urandom(12 * MIB + 3)
    (tmp_path / "up").write_bytes(data)
    config = boto3.s3.transfer.TransferConfig(multipart_threshold=6 * MIB, multipart_chunksize=5 * MIB)
    s3.upload_file(str(tmp_path / "up"), bucket, "main/a", Config=config)
    assert s3.head_object(Bucket=bucket, Key="main/a")["ETag"].endswith('-3"')
    s3.download_file(bucket, "main/a", str(tmp_path / "down"), Config=config)
    assert (tmp_path / "down").read_bytes() == data


# Listing --------------------------------------------------------------------------------------------------


@pytest.fixture
def listed(s3, bucket):
    paths = ["a", "a/1", "a/2", "b/1/x", "b/1/y", "b/2", "c", "ü/1"]
    for path in paths:
        s3.put_object(Bucket=bucket, Key=f"main/{path}", Body=path.encode())
    return sorted((f"main/{p}" for p in paths), key=str.encode)


def test_list_v2(s3, bucket, listed):
    assert keys(s3, bucket, "main/") == listed
    for size in (1, 2, 3):
        assert keys(s3, bucket, "main/", PaginationConfig={"PageSize": size}) == listed
    one = s3.list_objects_v2(Bucket=bucket, Prefix="main/", Delimiter="/")
    assert [o["Key"] for o in one["Contents"]] == ["main/a", "main/c"]
    assert [p["Prefix"] for p in one["CommonPrefixes"]] == ["main/a/", "main/b/", "main/ü/"]
    assert one["KeyCount"] == 5 and not one["IsTruncated"] and one["Delimiter"] == "/"
    entry = s3.list_objects_v2(Bucket=bucket, Prefix="main/b/2")["Contents"][0]
    assert (entry["Size"], entry["ETag"]) == (3, f'"{hashlib.md5(b"b/2").hexdigest()}"')
    folded = []
    for page in s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix="main/", Delimiter="/", PaginationConfig={"PageSize": 2}
    ):
        folded += [o["Key"] for o in page.get("Contents", [])] + [p["Prefix"] for p in page.get("CommonPrefixes", [])]
    assert sorted(folded) == sorted(["main/a", "main/a/", "main/b/", "main/c", "main/ü/"])
    after = s3.list_objects_v2(Bucket=bucket, Prefix="main/", StartAfter="main/b/1/y")
    assert [o["Key"] for o in after["Contents"]] == ["main/b/2", "main/c", "main/ü/1"]
    assert after["StartAfter"] == "main/b/1/y"
    none = s3.list_objects_v2(Bucket=bucket, Prefix="main/", MaxKeys=0)
    assert none["KeyCount"] == 0 and not none["IsTruncated"]
    assert s3.list_objects_v2(Bucket=bucket, Prefix="main/none/")["KeyCount"] == 0
    with refused(404):
        s3.list_objects_v2(Bucket=bucket, Prefix="no-such-branch/")


def test_list_v2_pages_show_one_state(s3, bucket, listed):
    """A continuation token pins the branch as it was: what is deleted and added meanwhile changes nothing."""
    first = s3.list_objects_v2(Bucket=bucket, Prefix="main/", MaxKeys=3)
    s3.delete_object(Bucket=bucket, Key=listed[-1])
    s3.put_object(Bucket=bucket, Key="main/bbb", Body=b"new")
    rest = s3.list_objects_v2(Bucket=bucket, Prefix="main/", ContinuationToken=first["NextContinuationToken"])
    assert [o["Key"] for p in (first, rest) for o in p["Contents"]] == listed


def test_list_v1(s3, bucket, listed):
    found = []
    for page in s3.get_paginator("list_objects").paginate(
        Bucket=bucket, Prefix="main/", PaginationConfig={"PageSize": 3}
    ):
        found += [o["Key"] for o in page["Contents"]]
    assert found == listed
    one = s3.list_objects(Bucket=bucket, Prefix="main/", Delimiter="/", MaxKeys=2)
    assert one["IsTruncated"] and one["NextMarker"]
    two = s3.list_objects(Bucket=bucket, Prefix="main/", Delimiter="/", Marker=one["NextMarker"])
    names = [o["Key"] for page in (one, two) for o in page.get("Contents", [])]
    names += [p["Prefix"] for page in (one, two) for p in page.get("CommonPrefixes", [])]
    assert sorted(names) == sorted(["main/a", "main/a/", "main/b/", "main/c", "main/ü/"])
    marked = s3.list_objects(Bucket=bucket, Prefix="main/", Marker="main/b/2")
    assert [o["Key"] for o in marked["Contents"]] == ["main/c", "main/ü/1"]


def test_without_a_ref_the_branches_are_listed(s3, repository, bucket, listed):
    repository.branch("work").create("main")
    for more in ({}, {"Delimiter": "/"}):
        answer = s3.list_objects_v2(Bucket=bucket, **more)
        assert [p["Prefix"] for p in answer["CommonPrefixes"]] == ["main/", "work/"]
    assert [p["Prefix"] for p in s3.list_objects_v2(Bucket=bucket, Prefix="wo")["CommonPrefixes"]] == ["work/"]


def test_refs_in_keys(s3, repository, bucket):
    """Reads take any ref expression; branches show staged data, everything else committed data."""
    s3.put_object(Bucket=bucket, Key="main/a", Body=b"1")
    first = repository.branch("main").commit("one").id
    s3.put_object(Bucket=bucket, Key="main/a", Body=b"2")
    repository.branch("main").commit("two")
    repository.tag("v1").create(first)
    s3.put_object(Bucket=bucket, Key="main/a", Body=b"3")
    for ref, expected in {
        "main": b"3",
        "main@": b"2",
        "main~1": b"1",
        first: b"1",
        first[:12]: b"1",
        "v1": b"1",
    }.items():
        assert body(s3, bucket, f"{ref}/a") == expected, ref
    assert keys(s3, bucket, "v1/") == ["v1/a"]
    for ref in ("v1", first):
        with refused(ANY_REFUSAL):
            s3.put_object(Bucket=bucket, Key=f"{ref}/b", Body=b"x")
        with refused(ANY_REFUSAL):
            s3.delete_object(Bucket=bucket, Key=f"{ref}/a")
        assert body(s3, bucket, f"{ref}/a") == b"1"
    with refused(404):
        s3.put_object(Bucket=bucket, Key="no-such-branch/b", Body=b"x")
    with refused(ANY_REFUSAL):
        s3.delete_object(Bucket=bucket, Key="no-such-branch/b")


# Conditions -----------------------------------------------------------------------------------------------


def test_conditional_reads(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="main/a", Body=b"data")["ETag"]
    at = {"Bucket": bucket, "Key": "main/a"}
    assert s3.get_object(IfMatch=etag, **at)["Body"].read() == b"data"
    assert s3.get_object(IfNoneMatch='"other"', **at)["Body"].read() == b"data"
    for operation in (s3.get_object, s3.head_object):
        with refused(412):
            operation(IfMatch='"other"', **at)
        with refused(304):
            operation(IfNoneMatch=etag, **at)
        with refused(304):
            operation(IfModifiedSince=s3.head_object(**at)["LastModified"], **at)
        with refused(412):
            operation(IfUnmodifiedSince="2001-01-01", **at)
    assert s3.get_object(IfModifiedSince="2001-01-01", **at)["Body"].read() == b"data"


def test_conditional_writes(s3, bucket):
    at = {"Bucket": bucket, "Key": "main/a"}
    first = s3.put_object(Body=b"1", IfNoneMatch="*", **at)["ETag"]
    with refused(412, "PreconditionFailed"):
        s3.put_object(Body=b"2", IfNoneMatch="*", **at)
    with refused(412, "PreconditionFailed"):
        s3.put_object(Body=b"2", IfMatch='"other"', **at)
    assert body(s3, bucket, "main/a") == b"1"
    second = s3.put_object(Body=b"2", IfMatch=first, **at)["ETag"]
    with refused(412, "PreconditionFailed"):
        s3.put_object(Body=b"3", IfMatch=first, **at)
    with refused(404):
        s3.put_object(Bucket=bucket, Key="main/none", Body=b"3", IfMatch=second)
    with refused(412, "PreconditionFailed"):
        s3.delete_object(IfMatch=first, **at)
    s3.delete_object(IfMatch=second, **at)
    s3.put_object(Body=b"4", IfNoneMatch="*", **at)  # free again
    upload = s3.create_multipart_upload(**at)["UploadId"]
    tag = s3.upload_part(PartNumber=1, Body=b"5", UploadId=upload, **at)["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
    with refused(412, "PreconditionFailed"):
        s3.complete_multipart_upload(UploadId=upload, MultipartUpload=parts, IfNoneMatch="*", **at)
    assert body(s3, bucket, "main/a") == b"4"


def test_one_winner_of_a_race(server, bucket):
    s3 = server.s3(max_pool_connections=8)

    def attempt(number):
        try:
            s3.put_object(Bucket=bucket, Key="main/race", Body=b"%d" % number, IfNoneMatch="*")
            return number
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412), error
            return None

    winners = [n for n in in_threads(8, attempt, range(24)) if n is not None]
    assert len(winners) == 1
    assert body(s3, bucket, "main/race") == b"%d" % winners[0]


# Checksums ------------------------------------------------------------------------------------------------


def big_endian(number, size):
    return base64.b64encode(number.to_bytes(size, "big")).decode()


CHECKSUMS = {
    "CRC32": lambda d: big_endian(zlib.crc32(d), 4),
    "CRC32C": lambda d: big_endian(crt.crc32c(d), 4),
    "CRC64NVME": lambda d: big_endian(crt.crc64nvme(d), 8),
    "SHA1": lambda d: base64.b64encode(hashlib.sha1(d).digest()).decode(),
    "SHA256": lambda d: base64.b64encode(hashlib.sha256(d).digest()).decode(),
}


@pytest.mark.parametrize("algorithm", CHECKSUMS)
def test_checksums(s3, bucket, algorithm):
    data = os.urandom(100_000)
    field, value = f"Checksum{algorithm}", CHECKSUMS[algorithm](data)
    at = {"Bucket": bucket, "Key": "main/a"}
    assert s3.put_object(Body=data, ChecksumAlgorithm=algorithm, **at)[field] == value
    got = s3.get_object(ChecksumMode="ENABLED", **at)
    assert got[field] == value and got["Body"].read() == data
    assert s3.head_object(ChecksumMode="ENABLED", **at)[field] == value
    s3.put_object(Bucket=bucket, Key="main/given", Body=data, **{field: value})
    wrong = CHECKSUMS[algorithm](b"something else")
    with refused(400, "BadDigest", "XAmzContentChecksumMismatch", "InvalidRequest"):
        s3.put_object(Bucket=bucket, Key="main/wrong", Body=data, **{field: wrong})
    with refused(400, "BadDigest", "InvalidDigest"):
        s3.put_object(Bucket=bucket, Key="main/wrong", Body=data, ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==")
    assert keys(s3, bucket, "main/") == ["main/a", "main/given"]


def test_checksum_is_kept_by_copy(s3, bucket):
    s3.put_object(Bucket=bucket, Key="main/a", Body=b"data", ChecksumAlgorithm="SHA256")
    s3.copy_object(Bucket=bucket, Key="main/b", CopySource={"Bucket": bucket, "Key": "main/a"})
    head = s3.head_object(Bucket=bucket, Key="main/b", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == CHECKSUMS["SHA256"](b"data")


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC64NVME"])
def test_checksum_of_the_whole_multipart_object(s3, bucket, algorithm):
    parts = [os.urandom(5 * MIB), os.urandom(77)]
    at = {"Bucket": bucket, "Key": "main/a"}
    upload = s3.create_multipart_upload(ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT", **at)["UploadId"]
    chosen = []
    for number, part in enumerate(parts, 1):
        sent = s3.upload_part(PartNumber=number, Body=part, UploadId=upload, ChecksumAlgorithm=algorithm, **at)
        field = f"Checksum{algorithm}"
        assert sent[field] == CHECKSUMS[algorithm](part)
        chosen.append({"PartNumber": number, "ETag": sent["ETag"], field: sent[field]})
    done = s3.complete_multipart_upload(UploadId=upload, MultipartUpload={"Parts": chosen}, **at)
    assert done[field] == CHECKSUMS[algorithm](b"".join(parts))
    head = s3.head_object(ChecksumMode="ENABLED", **at)
    assert head[field] == done[field] and head["ChecksumType"] == "FULL_OBJECT"


def test_composite_checksum_of_a_multipart_object(s3, bucket):
    parts = [os.urandom(5 * MIB), os.urandom(77)]
    at = {"Bucket": bucket, "Key": "main/a"}
    upload = s3.create_multipart_upload(ChecksumAlgorithm="SHA256", **at)["UploadId"]
    chosen = []
    for number, part in enumerate(parts, 1):
        sent = s3.upload_part(PartNumber=number, Body=part, UploadId=upload, ChecksumAlgorithm="SHA256", **at)
        chosen.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": sent["ChecksumSHA256"]})
    done = s3.complete_multipart_upload(UploadId=upload, MultipartUpload={"Parts": chosen}, **at)
    digest = hashlib.sha256(b"".join(hashlib.sha256(p).digest() for p in parts)).digest()
    assert done["ChecksumSHA256"] == base64.b64encode(digest).decode() + "-2"


@pytest.mark.parametrize("when", ["when_supported", "when_required"])
@pytest.mark.parametrize("signed", [True, False])
def test_payload_modes(server, bucket, when, signed):
    """With and without checksums, payload signed or not; https adds the modes that SDKs use only there."""
    s3 = server.s3(
        request_checksum_calculation=when,
        response_checksum_validation=when,
        s3={"addressing_style": "path", "payload_signing_enabled": signed},
    )
    for size in (0, 10, 200_000):
        data = os.urandom(size)
        s3.put_object(Bucket=bucket, Key="main/a", Body=data)
        assert body(s3, bucket, "main/a") == data
    s3.put_object(Bucket=bucket, Key="main/stream", Body=io.BytesIO(b"x" * 70_000))
    assert body(s3, bucket, "main/stream") == b"x" * 70_000


# Presigned ------------------------------------------------------------------------------------------------


def test_presigned(server, s3, bucket):
    s3 = server.s3(signature_version="s3v4")

    def link(operation, **parameters):
        return s3.generate_presigned_url(operation, Params={"Bucket": bucket, **parameters}, ExpiresIn=300)

    put = link("put_object", Key="main/a b+c/ü%.txt", ContentType="text/plain")
    answer = requests.put(put, data=b"by link", headers={"Content-Type": "text/plain"}, verify=server.verify)
    assert answer.status_code == 200, answer.text
    get = link("get_object", Key="main/a b+c/ü%.txt")
    answer = requests.get(get, verify=server.verify)
    assert (answer.status_code, answer.content) == (200, b"by link")
    assert answer.headers["Content-Type"] == "text/plain"
    part = requests.get(get, headers={"Range": "bytes=3-"}, verify=server.verify)
    assert (part.status_code, part.content) == (206, b"link")
    named = link("get_object", Key="main/a b+c/ü%.txt", ResponseContentDisposition='attachment; filename="x y.txt"')
    answer = requests.get(named, verify=server.verify)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="x y.txt"'
    assert requests.get(get.replace("c/", "d/"), verify=server.verify).status_code == 403
    assert requests.put(get, data=b"x", verify=server.verify).status_code == 403
    assert requests.head(link("head_object", Key="main/a b+c/ü%.txt"), verify=server.verify).status_code == 200
    assert body(s3, bucket, "main/a b+c/ü%.txt") == b"by link"


def test_sub_resources_have_shapes_that_sdks_know(s3, bucket):
    s3.put_object(Bucket=bucket, Key="main/a", Body=b"1")
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    with refused(501, "NotImplemented"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    with refused(501, "NotImplemented"):
        s3.put_object_tagging(Bucket=bucket, Key="main/a", Tagging={"TagSet": []})
    attributes = s3.get_object_attributes(Bucket=bucket, Key="main/a", ObjectAttributes=["ETag", "ObjectSize"])
    assert attributes["ObjectSize"] == 1 and attributes["ETag"].strip('"') == hashlib.md5(b"1").hexdigest()
