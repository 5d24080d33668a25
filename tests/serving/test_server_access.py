"""Who may talk to a server: no web pages, nobody without the token, and encrypted with TLS."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from pipeline.runtime.session import RobotPolicy
from pipeline.serving.client import ClientError, PolicyClient
from pipeline.serving.security import tls_context
from pipeline.serving.server import PolicyServer, ServeError
from tests.conftest import HANG_S
from tests.fixtures.serving import OBSERVATION, served

TOKEN = "a secret of the tests"


def test_no_web_page_may_talk_to_the_server(policy: RobotPolicy) -> None:
    with served(policy) as url:
        for origin in ("https://example.org", url.replace("ws:", "http:"), "null"):
            with pytest.raises(InvalidStatus, match="403"):
                connect(url, origin=Origin(origin))


def test_others_need_the_token(policy: RobotPolicy) -> None:
    async def talk() -> None:
        with pytest.raises(ServeError, match="give a token"):
            await PolicyServer(policy).start("0.0.0.0", 0)
        async with await PolicyServer(policy, TOKEN).start("127.0.0.1", 0) as server:
            place = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
            for wrong in (None, "another"):
                with pytest.raises(ClientError, match="401"):
                    await asyncio.to_thread(PolicyClient, place, wrong)
            client = await asyncio.to_thread(PolicyClient, place, TOKEN)
            answer = await asyncio.to_thread(client.act, OBSERVATION)
            assert answer.shape == (6,)
            await asyncio.to_thread(client.close)

    asyncio.run(talk())


def test_with_tls_a_client_that_trusts_the_certificate_may_call(
    policy: RobotPolicy, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    async def talk() -> None:
        tls = tls_context(*certificate)
        async with await PolicyServer(policy, TOKEN, tls).start("127.0.0.1", 0) as server:
            place = f"wss://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
            with pytest.raises(ClientError, match="certificate verify failed"):
                await asyncio.to_thread(PolicyClient, place, TOKEN)
            with pytest.raises(ClientError, match="No such file"):
                await asyncio.to_thread(PolicyClient, place, TOKEN, HANG_S, tmp_path / "no.pem")
            client = await asyncio.to_thread(PolicyClient, place, TOKEN, HANG_S, certificate[0])
            answer = await asyncio.to_thread(client.act, OBSERVATION)
            assert answer.shape == (6,)
            await asyncio.to_thread(client.close)

    asyncio.run(talk())


@pytest.mark.parametrize("encrypted", [False, True])
def test_beyond_loopback_a_token_in_clear_is_warned_of(
    policy: RobotPolicy,
    certificate: tuple[Path, Path],
    encrypted: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tls = tls_context(*certificate) if encrypted else None

    async def listen(host: str) -> None:
        async with await PolicyServer(policy, TOKEN, tls).start(host, 0):
            pass

    asyncio.run(listen("127.0.0.1"))
    assert caplog.text == ""
    asyncio.run(listen("0.0.0.0"))
    words = "anyone on the network can read the token and then command the robot; give --tls-cert "
    words += "and --tls-key, or reach the server through a VPN or an SSH tunnel"
    warned = "unencrypted" in caplog.text
    assert warned != encrypted
    assert ("unencrypted to 0.0.0.0: " + words in caplog.text) == warned
