"""Programs written against the client's former place go on working."""

from pipeline.policy.client import ClientError, PolicyClient
from pipeline.serving import client


def test_the_former_place_gives_the_same_client() -> None:
    assert PolicyClient is client.PolicyClient
    assert ClientError is client.ClientError
