"""The real servers that a laptop and the tests run."""

import select
import socket
from pathlib import Path

from mocks.servers import NatsServer


def test_a_paused_server_answers_nothing_until_it_is_resumed(tmp_path: Path) -> None:
    with (
        NatsServer(tmp_path) as server,
        socket.create_connection(("127.0.0.1", server.port)) as client,
    ):
        client.sendall(b'CONNECT {"verbose":false}\r\nPING\r\n')
        said = client.makefile("rb")
        assert said.readline().startswith(b"INFO ")
        assert said.readline() == b"PONG\r\n"
        for _ in range(100):  # its threads stop one after the other, and the last may be late
            server.pause()
            client.sendall(b"PING\r\n")
            assert select.select([client], [], [], 0.01)[0] == []
            server.resume()
            assert said.readline() == b"PONG\r\n"


def test_pausing_a_server_that_has_ended_returns(tmp_path: Path) -> None:
    with NatsServer(tmp_path) as server:
        assert server.process is not None
        server.process.kill()
        server.pause()
        server.process.wait()
        server.pause()
        assert not server.running
