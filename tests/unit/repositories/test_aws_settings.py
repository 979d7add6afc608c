"""How AWS clients are made: which settings go together, what is merged, and that no secret is shown."""

from __future__ import annotations

import pickle
import shutil
import traceback
from pathlib import Path
from typing import Any

import boto3
import botocore
import pytest
from botocore.config import Config
from botocore.loaders import JSONFileLoader
from pydantic import SecretStr

from statekeep.domain import InvalidInput, Unsupported
from statekeep.repositories.aws import AwsSettings, open_client

AGENTCORE = "bedrock-agentcore"
SECRET = "s3cr3t-v4lu3"
KEYS = {"aws_access_key_id": "AKIAX", "aws_secret_access_key": SECRET}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing of this machine's AWS configuration."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_RETRY_MODE", "AWS_MAX_ATTEMPTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    config = tmp_path / "config"
    config.write_text("[profile there]\nregion = eu-west-1\naws_access_key_id = K\naws_secret_access_key = S\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    return config


def made(**options: Any) -> Any:
    return AwsSettings(**{"region_name": "us-west-2", **KEYS, **options}).make_client(AGENTCORE)


def session(**options: Any) -> Any:
    return boto3.Session(region_name="us-east-2", **options)


# -- what goes together


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"client": object(), "region_name": "us-west-2"}, "region_name"),
        ({"client": object(), "session": object()}, "session"),
        ({"client": object(), "config": Config()}, "config"),
        ({"client": object(), "endpoint_url": "http://127.0.0.1:1"}, "endpoint_url"),
        ({"client": object(), "verify": False}, "verify"),
        ({"session": object(), "credentials_profile_name": "p"}, "credentials_profile_name"),
        ({"session": object(), **KEYS}, "aws_access_key_id"),
        ({"session": object(), "aws_session_token": "t"}, "aws_session_token"),
        ({"credentials_profile_name": "p", **KEYS}, "aws_access_key_id"),
        ({"aws_access_key_id": "K"}, "aws_secret_access_key"),
        ({"aws_secret_access_key": "S"}, "aws_access_key_id"),
        ({"aws_session_token": "T"}, "aws_access_key_id"),
        ({"region_name": "us-west-2", "config": Config(region_name="us-west-1")}, "region_name"),
        ({"region_name": ""}, "region_name"),
        ({"aws_access_key_id": "", "aws_secret_access_key": "S"}, "aws_access_key_id"),
        ({"credentials_profile_name": ""}, "credentials_profile_name"),
        ({"endpoint_url": "127.0.0.1:4566"}, "endpoint_url"),
        ({"endpoint_url": "ftp://h"}, "endpoint_url"),
        ({"endpoint_url": ""}, "endpoint_url"),
        ({"endpoint_url": f"http://u:{SECRET}@h"}, "endpoint_url"),
        ({"region": "us-west-2"}, "region"),
        ({"region_name": 5}, "region_name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_settings_that_contradict_each_other(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        AwsSettings(**options)
    assert caught.value.field == field
    assert field in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"region_name": "us-west-2", "config": Config(region_name="us-west-2")},
        {"session": object(), "region_name": "us-west-2", "endpoint_url": "https://h/p", "verify": "/ca.pem"},
        {"credentials_profile_name": "p", "region_name": "us-west-2"},
        {**KEYS, "aws_session_token": SecretStr("T")},
    ],
    ids=lambda options: "-".join(options) or "none",
)
def test_settings_that_agree(options: dict[str, Any]) -> None:
    settings = AwsSettings(**options)
    assert all(getattr(settings, name) is not None for name in options)


# -- secrets


@pytest.mark.parametrize("kind", [str, SecretStr])
def test_no_secret_is_shown(kind: Any) -> None:
    settings = AwsSettings(
        region_name="us-west-2", **{name: kind(SECRET) for name in KEYS}, aws_session_token=kind(SECRET)
    )
    assert settings.aws_session_token is not None
    assert settings.aws_session_token.get_secret_value() == SECRET
    for shown in (
        repr(settings),
        str(settings),
        f"{settings}",
        repr(settings.model_dump()),
        settings.model_dump_json(),
    ):
        assert SECRET not in shown
    assert "us-west-2" in repr(settings)
    client = open_client(AGENTCORE, settings)
    assert SECRET not in repr(client)
    assert pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize(
    "options",
    [
        {"aws_secret_access_key": [SECRET]},
        {"aws_secret_acess_key": SECRET},
        {"aws_session_token": {"token": SECRET}},
        {"aws_secret_access_key": SECRET},
        {"aws_session_token": SECRET, "session": object()},
    ],
    ids="-".join,
)
def test_errors_show_no_secret(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        AwsSettings(**options)
    assert caught.value.field in (*options, "aws_access_key_id")
    assert SECRET not in "".join(traceback.format_exception(caught.value))


# -- what is made


def test_a_client_is_taken_as_it_is() -> None:
    client = session(**KEYS).client(AGENTCORE)
    assert AwsSettings(client=client).make_client(AGENTCORE) is client
    opened = open_client(AGENTCORE, client=client)
    assert opened.region == "us-east-2"


def test_files_of_botocore_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made()

    def read(*_: Any) -> None:
        raise AssertionError("a file was read again")

    monkeypatch.setattr(JSONFileLoader, "_load_file", read)
    assert made(region_name="eu-west-1").meta.region_name == "eu-west-1"
    with pytest.raises(AssertionError, match="read again"):
        session(**KEYS).client(AGENTCORE)


def test_a_profile_may_name_a_folder_of_data(environment: Path, tmp_path: Path) -> None:
    made()
    [known] = (Path(botocore.__file__).parent / "data" / AGENTCORE).iterdir()
    shutil.copytree(known, tmp_path / "data" / AGENTCORE / "2999-01-01")
    environment.write_text(f"{environment.read_text()}data_path = {tmp_path / 'data'}\n")
    client = AwsSettings(credentials_profile_name="there").make_client(AGENTCORE)
    assert client._loader.determine_latest_version(AGENTCORE, "service-2") == "2999-01-01"


@pytest.mark.parametrize(
    ("client", "message"),
    [
        (session(**KEYS).client("bedrock-agent-runtime"), 'one of "bedrock-agent-runtime"'),
        (object(), "object"),
        ("client", "str"),
        (session(**KEYS), "Session"),
    ],
    ids=["another service", "object", "text", "session"],
)
def test_clients_that_do_not_fit(client: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        open_client(AGENTCORE, client=client)
    assert caught.value.field == "client"


def test_an_asynchronous_client_does_not_fit() -> None:
    class Asynchronous:
        meta = session(**KEYS).client(AGENTCORE).meta

        async def _make_api_call(self) -> None: ...

    with pytest.raises(InvalidInput, match="aioboto3"):
        open_client(AGENTCORE, client=Asynchronous())


def test_what_goes_to_boto3() -> None:
    client = made(endpoint_url="http://127.0.0.1:9/", aws_session_token="T")
    assert (client.meta.region_name, client.meta.endpoint_url) == ("us-west-2", "http://127.0.0.1:9/")
    credentials = client._get_credentials()
    assert (credentials.access_key, credentials.secret_key, credentials.token) == ("AKIAX", SECRET, "T")


def test_a_profile_and_a_session() -> None:
    by_profile = AwsSettings(credentials_profile_name="there").make_client(AGENTCORE)
    assert by_profile.meta.region_name == "eu-west-1"
    assert by_profile._get_credentials().access_key == "K"
    by_session = AwsSettings(session=session(**KEYS)).make_client(AGENTCORE)
    assert by_session.meta.region_name == "us-east-2"
    elsewhere = AwsSettings(session=session(**KEYS), region_name="eu-north-1").make_client(AGENTCORE)
    assert elsewhere.meta.region_name == "eu-north-1"


def test_the_region_may_come_from_the_environment_or_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    assert made(region_name=None, config=Config(region_name="eu-west-3")).meta.region_name == "eu-west-3"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ca-central-1")
    assert made(region_name=None).meta.region_name == "ca-central-1"


@pytest.mark.parametrize(
    ("options", "field", "message"),
    [
        ({"region_name": None}, "region_name", "AWS_DEFAULT_REGION"),
        ({"region_name": "us west"}, "region_name", "region_name"),
        ({"config": object()}, "config", "botocore.config.Config"),
    ],
)
def test_what_cannot_be_made(options: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        made(**options)
    assert caught.value.field == field


def test_a_profile_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="nowhere") as caught:
        AwsSettings(credentials_profile_name="nowhere", region_name="us-west-2").make_client(AGENTCORE)
    assert caught.value.field == "credentials_profile_name"
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    with pytest.raises(InvalidInput, match="AWS_PROFILE"):
        made()


def test_what_is_no_session() -> None:
    with pytest.raises(InvalidInput, match=r"boto3\.Session") as caught:
        AwsSettings(session=object()).make_client(AGENTCORE)
    assert caught.value.field == "session"


def test_a_service_that_boto3_does_not_know() -> None:
    with pytest.raises(Unsupported, match="pip install --upgrade boto3"):
        AwsSettings(region_name="us-west-2", **KEYS).make_client("bedrock-agentcore-2")


def test_settings_or_options() -> None:
    with pytest.raises(InvalidInput) as caught:
        open_client(AGENTCORE, AwsSettings(region_name="us-west-2"), verify=False)
    assert caught.value.field == "verify"


# -- what is merged


def test_our_defaults() -> None:
    config = made().meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": 8}
    assert (config.connect_timeout, config.read_timeout, config.max_pool_connections) == (5, 30, 16)
    assert "statekeep" in config.user_agent


def test_the_callers_config_counts_and_is_completed() -> None:
    given = Config(
        read_timeout=90, retries={"mode": "adaptive"}, user_agent_extra="my-app/1", proxies={"https": "http://p:1"}
    )
    config = made(config=given).meta.config
    assert (config.connect_timeout, config.read_timeout) == (5, 90)
    assert config.retries == {"mode": "adaptive", "total_max_attempts": 8}
    assert "statekeep" in config.user_agent
    assert "my-app/1" in config.user_agent
    assert config.proxies == {"https": "http://p:1"}
    assert given.user_agent_extra == "my-app/1"
    assert given.retries == {"mode": "adaptive"}


@pytest.mark.parametrize(
    ("retries", "total"), [({"max_attempts": 2}, 3), ({"total_max_attempts": 2}, 2), ({"max_attempts": 0}, 1)]
)
def test_the_callers_number_of_attempts(retries: dict[str, Any], total: int) -> None:
    merged = made(config=Config(retries=retries)).meta.config.retries
    assert merged["mode"] == "standard"
    assert merged["total_max_attempts"] == total


def test_the_environments_retries_count(monkeypatch: pytest.MonkeyPatch, environment: Path) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "4")
    monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
    assert made().meta.config.retries == {"mode": "adaptive", "total_max_attempts": 4}
    monkeypatch.delenv("AWS_MAX_ATTEMPTS")
    monkeypatch.delenv("AWS_RETRY_MODE")
    environment.write_text("[default]\nmax_attempts = 5\nretry_mode = legacy\n")
    assert made().meta.config.retries == {"mode": "legacy", "total_max_attempts": 5}
