"""Uploading to a real S3 server, past throttling, refusals and kills, and learning from what was uploaded."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from binventory import s3
from binventory.cloud import upload
from binventory.counting.counter import opened_each
from binventory.data import catalogue
from binventory.data.catalogue import Catalogue
from binventory.data.shards import MANIFEST
from binventory.errors import BinventoryError, InputError, UsageError
from binventory.recipe import LinkRecipe, Recipe, SplitRecipe
from binventory.records import Photo
from faults import Proxy
from s3server import S3Server, free_ports

pytestmark = pytest.mark.timeout(120)

SHARES = SplitRecipe(0.5, 0.2, 0.2, 0.1)
SETTINGS = [word for one in ("split.train=0.5", "split.validate=0.2", "split.calibrate=0.2", "split.test=0.1",
                             "quick.rounds=20") for word in ("--set", one)]  # fmt: skip
MOST = 700_000


@pytest.fixture(scope="module")
def split(bins: Path, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """A hundred and sixty drawn bins, split."""
    found = catalogue.build([str(bins)], tmp_path_factory.mktemp("split"), LinkRecipe())
    return catalogue.split_sides(found, SHARES, 1)


@pytest.fixture(scope="module")
def expected(split: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a folder of their shards holds."""
    folder = tmp_path_factory.mktemp("expected")
    upload.upload(split, upload.Folder(folder), Recipe(), MOST)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def proxied(signed: S3Server, faulty: Proxy, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """A proxy before the S3 server is where ``s3://`` leads, for someone who may do everything."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", faulty.endpoint)
    return faulty


def uploaded(split: Catalogue, to: str, jobs: int = 3) -> upload.Uploaded:
    return upload.upload(split, upload.place(to, None), Recipe(), MOST, jobs)


def there(address: str) -> dict[str, bytes]:
    bucket = s3.opened(address)
    return {name: bucket.get(name, checked=False) or b"" for name, _ in bucket.sizes("")}


def run(*words: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "binventory", *map(str, words)], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def writes(proxy: Proxy) -> list[str]:
    return [one.path for one in proxy.requests if one.method in ("PUT", "POST")]


def test_a_bucket_gets_the_bytes_that_a_folder_gets_encrypted_and_but_once(
    split: Catalogue, expected: dict[str, bytes], proxied: Proxy
) -> None:
    done = uploaded(split, "s3://private/once/")
    assert there("s3://private/once") == expected
    assert (done.photos, done.there, done.older) == (160, 0, ())
    assert done.sent == len([name for name in expected if name.endswith(".tar")])
    sent = [one for one in proxied.requests if one.method in ("PUT", "POST")]
    assert all(one.headers["x-amz-server-side-encryption"] == "AES256" for one in sent)
    assert sent[-1].path.endswith(MANIFEST)
    proxied.requests.clear()
    again = uploaded(split, "s3://private/once")
    assert (again.sent, again.there, again.bytes) == (0, done.sent, 0)
    assert [path.rpartition("/")[2] for path in writes(proxied)] == [MANIFEST]
    assert there("s3://private/once") == expected


def test_large_shards_go_in_parts(signed: S3Server) -> None:
    data = random.Random(3).randbytes(40_000_000)
    bucket = s3.opened("s3://private/large")
    bucket.put("a.tar", data)
    assert bucket.get("a.tar") == data
    assert s3.read_part("s3://private/large/a.tar", 16_777_000, 500_000) == data[16_777_000:17_277_000]


def test_an_older_state_is_left_alone_and_told(split: Catalogue, expected: dict[str, bytes], signed: S3Server) -> None:
    bucket = s3.opened("s3://private/older")
    old = {"train-00000-0123456789ab.tar": b"old", "photos-0123456789ab.jsonl.gz": b"old", "mine.txt": b"mine"}
    for name, data in old.items():
        bucket.put(name, data)
    done = uploaded(split, "s3://private/older")
    assert done.older == ("photos-0123456789ab.jsonl.gz", "train-00000-0123456789ab.tar")
    assert there("s3://private/older") == expected | old


@pytest.mark.parametrize("fault", ["503 SlowDown", "500", "reset"])
def test_throttling_and_what_passes_are_waited_out(
    fault: str, split: Catalogue, expected: dict[str, bytes], proxied: Proxy
) -> None:
    to = f"s3://private/faults-{fault[:3]}"
    proxied.fail(".tar", *[fault] * 4)
    proxied.fail(MANIFEST, fault, fault)
    uploaded(split, to)
    assert there(to) == expected


# Killed


def test_an_upload_killed_at_many_moments_ends_whole_shows_nothing_half_made_and_sends_nothing_twice(
    split: Catalogue, expected: dict[str, bytes], proxied: Proxy
) -> None:
    to, moments = "s3://private/killed", random.Random(7)
    code = (
        "from pathlib import Path; from binventory.cloud import upload; from binventory.data import catalogue\n"
        "from binventory.recipe import Recipe\n"
        f"found = catalogue.read(Path({str(split.work)!r}))\n"
        f"upload.upload(found, upload.place({to!r}, None), Recipe(), {MOST}, 2)"
    )
    words = [sys.executable, "-c", code]
    proxied.slow = 0.05
    kills, sent_whole = 0, 0
    while kills < 8:
        before = there(to)
        assert before.items() <= expected.items()
        assert MANIFEST not in before or before == expected
        proxied.requests.clear()
        with subprocess.Popen(words, stderr=subprocess.DEVNULL) as running:
            while not writes(proxied) and running.poll() is None:
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.4))
            running.kill()
        time.sleep(0.3)  # what was on its way lands
        again = {path.rpartition("/")[2] for path in writes(proxied)} & before.keys()
        assert again <= {MANIFEST}, "what is there is not sent again"
        sent_whole += len(there(to).keys() - before.keys())
        kills += 1
        if MANIFEST in there(to):
            break
    proxied.slow = 0.0
    done = uploaded(split, to)
    assert sent_whole > 1
    assert done.there >= sent_whole - 2, "less its index and manifest"
    assert there(to) == expected


# Refused


def refusal(split: Catalogue, to: str) -> BinventoryError:
    with pytest.raises(BinventoryError) as told:
        uploaded(split, to)
    assert "\n" not in str(told.value)
    return told.value


def test_a_bucket_that_does_not_exist_is_said(split: Catalogue, signed: S3Server) -> None:
    error = refusal(split, "s3://nowhere/x")
    assert isinstance(error, UsageError)
    assert str(error).startswith("s3://nowhere/x does not exist. S3 has no such bucket. Try: check its name, or make")


def test_without_the_right_to_write_the_permission_is_named(split: Catalogue, unsigned: S3Server) -> None:
    error = refusal(split, "s3://public/mine")
    assert (error.exit_status, "may not be written. S3 refused it" in str(error)) == (3, True)
    assert "have s3:PutObject allowed" in error.next


def test_without_the_right_to_list_the_permission_is_named(split: Catalogue, unsigned: S3Server) -> None:
    error = refusal(split, "s3://private/mine")
    assert "s3://private/mine may not be listed. S3 refused it" in str(error)
    assert "have s3:ListBucket allowed" in error.next


@pytest.mark.parametrize(
    ("fault", "why", "next"),
    [
        ("400 ExpiredToken: The provided token has expired.", "the credentials have expired", "aws sso login"),
        ("403 AccessDenied: User: arn:aws:iam::1:user/x is not authorized to perform: kms:GenerateDataKey on",
         "S3 refused it", "have kms:GenerateDataKey allowed"),
        ("400 AuthorizationHeaderMalformed: <Region>eu-west-1</Region>", "it is eu-west-1", "AWS_REGION=eu-west-1"),
        ("403 SignatureDoesNotMatch", "S3 does not accept the credentials", "check AWS_ACCESS_KEY_ID"),
    ],
)  # fmt: skip
def test_refusals_are_told_by_what_ends_them(fault: str, why: str, next: str, split: Catalogue, proxied: Proxy) -> None:
    proxied.always[".tar"] = fault
    error = refusal(split, "s3://private/refused")
    assert isinstance(error, InputError)
    assert (error.why, next in error.next) == (why, True)
    assert MANIFEST not in there("s3://private/refused")


def test_a_wrong_secret_is_not_a_missing_right(
    split: Catalogue, signed: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert refusal(split, "s3://private/x").why == "S3 does not accept the credentials"


def test_credentials_may_lie_in_a_profile(
    split: Catalogue, expected: dict[str, bytes], signed: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("boto3")
    (tmp_path / "credentials").write_text(
        f"[site]\naws_access_key_id={signed.key}\naws_secret_access_key={signed.secret}\n"
    )
    (tmp_path / "config").write_text("[profile site]\nregion=eu-west-1\n")
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        patch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        patch.setenv("AWS_PROFILE", "site")
        uploaded(split, "s3://private/profile")
        patch.setenv("AWS_PROFILE", "nobody")
        assert "nobody" in refusal(split, "s3://private/profile").why
    assert there("s3://private/profile") == expected


def test_a_key_of_kms_goes_with_every_write(split: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against moto, which keeps the books of it: SeaweedFS has no KMS here."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", free_ports(1)[0], verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in (
            ("ENDPOINT_URL", f"http://{host}:{port}"),
            ("ACCESS_KEY_ID", "a"),
            ("SECRET_ACCESS_KEY", "b"),
        ):
            monkeypatch.setenv(f"AWS_{name}", value)
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="keyed")
        upload.upload(split, upload.place("s3://keyed/x", "alias/site"), Recipe(), MOST)
        keys = [one["Key"] for one in client.list_objects_v2(Bucket="keyed")["Contents"]]
        assert len(keys) > 5
        for key in keys:
            head = client.head_object(Bucket="keyed", Key=key)
            assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/site")
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--to", "DATA"], "is the data itself"),
        (["--to", "OUT", "--kms-key", "k"], "--kms-key goes with s3:// alone"),
        (["--to", "s3://"], "names no bucket"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_read(
    words: list[str], told: str, bins: Path, tmp_path: Path
) -> None:
    named = {"DATA": str(bins), "OUT": str(tmp_path / "out")}
    done = run("cloud", "upload", "--data", bins, "--work", tmp_path / "w", *[named.get(one, one) for one in words])
    assert (done.returncode in (2, 3), told in done.stderr) == (True, True), done.stderr
    assert not (tmp_path / "w").exists()


def test_a_photo_that_changed_since_it_was_catalogued_stops_the_upload(bins: Path, tmp_path: Path) -> None:
    (tmp_path / "bins").mkdir()
    for path in sorted((bins / "bin-images").glob("*.jpg"))[:4]:
        (tmp_path / "bins" / path.name).write_bytes(path.read_bytes())
    found = catalogue.split_sides(catalogue.build([str(tmp_path / "bins")], tmp_path / "w", LinkRecipe()), SHARES, 1)
    Path(found.rows[2].address).write_bytes(Path(found.rows[1].address).read_bytes())
    with pytest.raises(InputError, match="has changed"):
        upload.upload(found, upload.Folder(tmp_path / "out"), Recipe())
    assert not list((tmp_path / "out").glob(MANIFEST))


# Learning from it


def test_quick_and_evaluate_give_from_s3_what_they_give_from_the_folder(
    bins: Path, signed: S3Server, tmp_path: Path
) -> None:
    to, own, far = "s3://private/learnt", tmp_path / "own", tmp_path / "far"
    up = run("cloud", "upload", "--data", bins, "--work", own, "--to", to, "--megabytes", 1, "--json", *SETTINGS)
    assert up.returncode == 0, up.stderr
    assert json.loads(up.stdout)["photos"] == 160
    told = {}
    for data, work in ((bins, own), (f"{to}/", far)):  # whoever types a slash means the same
        bundle = tmp_path / work.name / "bundle" / "site"
        done = run("train", "--data", data, "--work", work, "--from", "open", "--out", bundle, *SETTINGS)
        assert done.returncode == 0, done.stderr
        judged = run("evaluate", "--data", data, "--work", work, "--bundle", bundle, "--split", "test", "--json")
        assert judged.returncode == 0, judged.stderr
        figures = {name: value for name, value in json.loads(judged.stdout).items() if name not in ("asked", "seconds")}
        told[work] = ({path.name: path.read_bytes() for path in bundle.iterdir()}, figures)
    assert told[own] == told[far]
    counted = run("catalogue", "--data", to, "--work", far, "--json")
    assert json.loads(counted.stdout)["photos"] == 160


def test_neighbours_are_read_by_few_requests_and_damage_is_told(
    split: Catalogue, proxied: Proxy, tmp_path: Path
) -> None:
    to = "s3://private/read"
    uploaded(split, to)
    found = catalogue.build([to], tmp_path, LinkRecipe())
    proxied.requests.clear()
    proxied.fail(".tar", "truncate", "503 SlowDown", "reset in body")
    learnt = found.side("train")
    photos = [one for one in opened_each(row.address for row in learnt) if isinstance(one, Photo)]
    assert [one.data for one in photos] == [Path(row.address).read_bytes() for row in split.side("train")]
    assert len(proxied.asked(".tar")) < len(learnt) / 4
    proxied.always[".tar"] = "damage"
    outcomes = list(opened_each(row.address for row in learnt[:3]))
    assert Counter("is damaged" in str(one) for one in outcomes) == {True: 3}
    proxied.always[".tar"] = "403 AccessDenied"
    (refused,) = opened_each([learnt[0].address])
    assert "have s3:GetObject allowed" in str(refused)


def test_no_boto3_is_needed_where_the_environment_names_credentials(signed: S3Server) -> None:
    code = (
        "import sys; sys.modules['boto3'] = None; from binventory.cloud import upload\n"
        "print(upload.place('s3://private/none', None).there())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    assert done.stdout.strip() == "{}", done.stderr
