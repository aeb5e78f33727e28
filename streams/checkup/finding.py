"""What a check has found, and what a person can do about it."""

from typing import Literal

from pydantic import BaseModel, Field

Verdict = Literal["ok", "warning", "failed", "skipped"]


class Finding(BaseModel):
    """The result of one check. Nothing in it is secret: it is printed and sent to colleagues."""

    check: str
    verdict: Verdict
    text: str
    advice: str = Field("", description="What to do; empty where there is nothing to do.")


def ok(check: str, text: str) -> Finding:
    """Return that all is well."""
    return Finding(check=check, verdict="ok", text=text)


def warning(check: str, text: str, advice: str) -> Finding:
    """Return that the mesh works, though not as somebody would want."""
    return Finding(check=check, verdict="warning", text=text, advice=advice)


def failed(check: str, text: str, advice: str) -> Finding:
    """Return that the mesh does not work, or not for long."""
    return Finding(check=check, verdict="failed", text=text, advice=advice)


def skipped(check: str, text: str) -> Finding:
    """Return that something could not be looked at, for a reason that another finding names."""
    return Finding(check=check, verdict="skipped", text=text)
