"""Owns how a service logs: an event name and fields, one JSON object a line, never a body or a token."""

import logging
import sys
from typing import Any

import structlog

from chatcore.settings import ServiceSettings


def configure_logs(settings: ServiceSettings, service: str) -> None:
    """Send structlog's and the libraries' log records to standard error in one form."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    console = settings.log_format == "console"
    # Plain tracebacks: the renderer's own would print every local variable, bodies and tokens among them.
    pretty = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    last: Any = pretty if console else structlog.processors.JSONRenderer()
    tail: list[Any] = [last] if console else [structlog.processors.format_exc_info, last]
    level = getattr(logging, settings.log_level.upper())
    structlog.configure(
        processors=[*shared, *tail],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail]
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    structlog.contextvars.bind_contextvars(service=service, name=settings.name)


def get_logger(module: str) -> Any:
    """Give a module its logger. Fields are keywords: `log.info("batch_committed", events=12)`."""
    return structlog.get_logger(module=module)
