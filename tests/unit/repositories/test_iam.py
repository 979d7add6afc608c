"""Tokens of IAM for ElastiCache and MemoryDB, compared with Signature Version 4 as AWS describes it."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
import sys
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import boto3
import pytest

from statekeep import InvalidInput
from statekeep.repositories.valkey import IamCredentials

SECRET = "hunter2/+="


def session(token: str | None = None) -> Any:
    return boto3.Session(
        aws_access_key_id="AKIA", aws_secret_access_key=SECRET, aws_session_token=token, region_name="us-west-2"
    )


def signature(host: str, pairs: dict[str, str]) -> str:
    """What signs these parameters of a GET request."""
    query = "&".join(f"{quote(name, safe='-_.~')}={quote(pairs[name], safe='-_.~')}" for name in sorted(pairs))
    request = f"GET\n/\n{query}\nhost:{host}\n\nhost\n{hashlib.sha256(b'').hexdigest()}"
    _, *scope = pairs["X-Amz-Credential"].split("/")
    hashed = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{pairs['X-Amz-Date']}\n{'/'.join(scope)}\n{hashed}"
    key = f"AWS4{SECRET}".encode()
    for part in (*scope, text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


@pytest.mark.parametrize("token", [None, "session/+="])
@pytest.mark.parametrize(
    ("options", "service", "more"),
    [
        ({}, "elasticache", {}),
        ({"serverless": True}, "elasticache", {"ResourceType": "ServerlessCache"}),
        ({"service": "memorydb"}, "memorydb", {}),
    ],
)
def test_a_token(options: Any, service: str, more: dict[str, str], token: str | None) -> None:
    user, signed = IamCredentials("ada-1", "My-Notes", region_name="eu-west-1", session=session(token), **options)()
    assert user == "ada-1"
    host, slash, query = signed.partition("/?")
    assert (host, slash) == ("my-notes", "/?")
    pairs = dict(parse_qsl(query, strict_parsing=True))
    found = pairs.pop("X-Amz-Signature")
    moment = pairs["X-Amz-Date"]
    assert pairs == {
        "Action": "connect",
        "User": "ada-1",
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"AKIA/{moment[:8]}/eu-west-1/{service}/aws4_request",
        "X-Amz-Date": moment,
        "X-Amz-Expires": "900",
        "X-Amz-SignedHeaders": "host",
        **more,
        **({"X-Amz-Security-Token": token} if token else {}),
    }
    assert found == signature(host, pairs)
    assert SECRET not in unquote(signed)


def test_the_region_of_the_session() -> None:
    assert IamCredentials("ada", "notes", session=session()).region_name == "us-west-2"


@pytest.mark.parametrize(
    ("arguments", "options", "field"),
    [
        (("", "notes"), {}, "user"),
        (("ada", ""), {}, "cache"),
        (("ada", "notes.abc.cache.amazonaws.com"), {}, "cache"),
        (("ada", "notes:6379"), {}, "cache"),
        (("ada", "notes"), {"service": "s3"}, "service"),
        (("ada", "notes"), {"service": "memorydb", "serverless": True}, "serverless"),
    ],
)
def test_wrong_arguments(arguments: Any, options: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        IamCredentials(*arguments, session=session(), **options)
    assert caught.value.field == field


def test_no_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidInput) as caught:
        IamCredentials("ada", "notes")
    assert caught.value.field == "region_name"


def test_its_text_shows_no_secret() -> None:
    shown = repr(IamCredentials("ada", "notes", session=session("token")))
    assert shown == "IamCredentials('ada', 'notes', region_name='us-west-2')"


def test_without_boto3() -> None:
    program = """if 1:
        import sys
        sys.modules["boto3"] = None
        import statekeep
        from statekeep.repositories.valkey import IamCredentials
        try:
            IamCredentials("ada", "notes")
        except statekeep.MissingDependency as error:
            assert "statekeep[aws]" in str(error)
        else:
            raise AssertionError
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
