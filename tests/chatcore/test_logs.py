"""Logs: an event and fields a line, and never a body or a token. Each test has a process of its own."""

import subprocess
import sys
from typing import Any

import orjson
import pytest

BEGIN = """
from chatcore.logs import configure_logs, get_logger
from chatcore.settings import ServiceSettings
import logging
configure_logs(ServiceSettings(name="gw-1", log_format={form!r}, log_level={level!r}), "gateway")
log = get_logger("a.module")
"""
FAILURE = """
def handle(token):
    body = "the secret body"
    raise ValueError("broken")
try:
    handle("the secret token")
except ValueError as error:
    log.error("task_ended", task="reader", exc_info=error)
    logging.getLogger("lib").error("failed", exc_info=error)
"""


def told(script: str, form: str = "json", level: str = "info") -> str:
    program = BEGIN.format(form=form, level=level) + script
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program], check=True, capture_output=True, text=True
    ).stderr


def lines(text: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in text.splitlines()]


def test_a_line_is_one_json_object_with_its_event_its_fields_and_who_wrote_it() -> None:
    [line] = lines(told('log.info("batch_committed", events=12)'))
    timestamp = line.pop("timestamp")
    assert timestamp.endswith("Z")
    assert line == {
        "event": "batch_committed",
        "events": 12,
        "level": "info",
        "module": "a.module",
        "name": "gw-1",
        "service": "gateway",
    }


def test_a_librarys_warning_has_the_same_form_and_its_chatter_is_left_out() -> None:
    [line] = lines(told('logging.getLogger("lib").warning("odd %s", 5)\nlogging.getLogger("lib").info("chatter")'))
    assert (line["event"], line["level"], line["service"]) == ("odd 5", "warning", "gateway")


@pytest.mark.parametrize(("level", "written"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_what_is_less_severe_than_the_level_is_left_out(level: str, written: int) -> None:
    script = 'log.debug("a")\nlog.info("b")\nlog.warning("c")\nlog.error("d")'
    assert len(lines(told(script, level=level))) == written


def test_a_traceback_stays_in_its_line() -> None:
    own, library = lines(told(FAILURE))
    for line in (own, library):
        assert "ValueError: broken" in line["exception"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_form_of_the_log_shows_the_variables_of_a_traceback(form: str) -> None:
    text = told(FAILURE.replace('"the secret body"', '"the secret " + "body"'), form=form)
    assert "ValueError: broken" in text
    assert "the secret body" not in text
    assert "secret token" not in text.replace('handle("the secret token")', "").replace(
        r"handle(\"the secret token\")", ""
    )
