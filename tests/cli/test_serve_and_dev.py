"""The commands `serve` and `dev`, run as a person runs them."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from chatstash import UpstashRedisChatMessageHistory
from tests.cli.support import CHATSTASH, ENVIRONMENT, chatstash, serving
from tests.local.test_server import gone, processes_of


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_cleanly_and_keeps_its_data(tmp_path: Path, number: signal.Signals) -> None:
    for turn in range(2):
        with serving("--data", str(tmp_path), "--token", "given") as (process, variables):
            # A token that was given is not printed.
            assert list(variables) == ["UPSTASH_REDIS_REST_URL", "CHATSTASH_CONTROL_URL"]
            history = UpstashRedisChatMessageHistory("s", variables["UPSTASH_REDIS_REST_URL"], "given")
            assert len(history.messages) == turn
            history.add_user_message("x")
            assert processes_of(tmp_path)
            process.send_signal(number)
            assert process.wait(60) == 0
        assert gone(tmp_path)


def test_serve_makes_up_a_token_and_says_it() -> None:
    with serving() as (_, variables):
        url, token = variables["UPSTASH_REDIS_REST_URL"], variables["UPSTASH_REDIS_REST_TOKEN"]
        assert len(token) >= 32
        UpstashRedisChatMessageHistory("s", url, token).add_user_message("x")


def test_serve_says_that_a_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = chatstash("serve", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "another server uses it" in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_says_that_a_redis_is_not_there() -> None:
    done = chatstash("serve", "--port", "0", "--redis", "redis://127.0.0.1:1")
    assert done.returncode == 1
    assert "cannot reach the Redis" in done.stderr
    assert "Traceback" not in done.stderr


def test_dev_runs_a_command_with_the_two_variables() -> None:
    code = "from chatstash import UpstashRedisChatMessageHistory as H; h = H('s'); h.add_user_message('hi'); print(h)"
    done = chatstash("dev", "--", sys.executable, "-c", code)
    assert (done.returncode, done.stdout) == (0, "Human: hi\n")


def test_dev_passes_on_arguments_input_and_exit_code() -> None:
    done = chatstash("dev", "sh", "-c", 'read line; echo "$line $1"; exit 7', "sh", "--help", input="in\n")
    assert (done.returncode, done.stdout) == (7, "in --help\n")
    assert chatstash("dev", "--", "sh", "-c", "kill -9 $$").returncode == 128 + 9


def test_dev_keeps_its_server_out_of_a_proxys_way() -> None:
    done = chatstash("dev", "--", "sh", "-c", "echo $NO_PROXY")
    assert "127.0.0.1" in done.stdout


def test_dev_says_that_a_command_is_not_there() -> None:
    done = chatstash("dev", "--", "/no/such/command")
    assert done.returncode == 127
    assert "cannot start /no/such/command" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_dev_ends_its_command_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    code = "trap 'echo ended; exit 5' TERM; echo started; while :; do sleep 0.1; done"
    command = [*CHATSTASH, "dev", "--data", str(tmp_path), "--", "sh", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(number)
        assert process.wait(60) == 5
        assert process.stdout.read() == "ended\n"
    assert gone(tmp_path)


def test_the_version() -> None:
    assert chatstash("--version").stdout.startswith("chatstash 0.")


def test_an_option_dev_does_not_know_is_a_usage_error() -> None:
    done = chatstash("dev", "--prot", "5", "--", "true")
    assert done.returncode == 2
    assert "--prot" in done.stderr


def test_serve_can_be_ended_while_it_still_waits_for_a_redis() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://:secret@127.0.0.1:{silent.getsockname()[1]}"
        with subprocess.Popen([*CHATSTASH, "serve", "--port", "0", "--redis", url], env=ENVIRONMENT) as process:
            connection, _ = silent.accept()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 128 + signal.SIGTERM
            connection.close()


def test_a_first_ctrl_c_at_the_terminal_is_the_commands_own_affair() -> None:
    terminal, other_end = os.openpty()
    code = "trap 'echo caught' INT; echo ready; until read line; do :; done; echo got $line"
    with subprocess.Popen(
        [*CHATSTASH, "dev", "--", "sh", "-c", code],
        stdin=other_end, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, preexec_fn=lambda: own_terminal(0),  # noqa: PLW1509
    ) as process:  # fmt: skip
        os.close(other_end)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.write(terminal, b"\x03")
        assert process.stdout.readline() == "caught\n"
        os.write(terminal, b"more\n")
        assert process.stdout.readline() == "got more\n"
        assert process.wait(60) == 0
    os.close(terminal)


def own_terminal(descriptor: int) -> None:
    os.setsid()
    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)
