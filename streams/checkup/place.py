"""The machine and the settings: what can be looked at without asking anybody."""

import difflib
import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from streams.checkup.finding import Finding, failed, ok, warning
from streams.checkup.roles import Role
from streams.settings import Settings

ROOM: Final = 1_000_000_000  # bytes that should be free
SHORT_KEY: Final = 32  # characters


def check_place(
    settings: Settings, environment: Mapping[str, str], roles: Collection[Role]
) -> Iterator[Finding]:
    """Yield what is to be said of variables, secrets and the data folder."""
    yield _variables(environment)
    yield from _secrets(settings, roles)
    yield _folder(settings.data_dir)
    yield _room(settings.data_dir)


def _variables(environment: Mapping[str, str]) -> Finding:
    known = [f"MESH_{name.upper()}" for name in Settings.model_fields]
    known += [f"{name}_FILE" for name in known]
    unknown = sorted(name for name in environment if name.startswith("MESH_"))
    unknown = [name for name in unknown if name not in known]
    if not unknown:
        return ok("settings", "all variables are known")
    meant = {name: difflib.get_close_matches(name, known, 1) for name in unknown}
    text = ", ".join(
        f"{name} (is {near[0]} meant?)" if near else name for name, near in meant.items()
    )
    return warning(
        "settings", f"no setting has this name: {text}", "The README lists all; these do nothing."
    )


def _secrets(settings: Settings, roles: Collection[Role]) -> Iterator[Finding]:
    alone = settings.web_host in ("127.0.0.1", "::1", "localhost")
    secret = {"MESH_METRICS_TOKEN": settings.metrics_token}
    if "web" in roles:
        secret |= {
            "MESH_SECRET_KEY": settings.secret_key,
            "MESH_OPERATOR_TOKEN": settings.operator_token,
        }
    empty = [name for name, value in secret.items() if not value.get_secret_value()]
    if empty and not alone:
        yield warning(
            "secrets",
            f"{', '.join(empty)}: not set, so each process makes its own in {settings.data_dir}",
            "Set them where there is more than one machine: what one node has signed, another "
            "would refuse.",
        )
    else:
        yield ok("secrets", "kept in the data folder" if empty else "all are set")
    key = settings.secret_key.get_secret_value()
    if 0 < len(key) < SHORT_KEY:
        yield warning(
            "secrets",
            f"MESH_SECRET_KEY has {len(key)} characters",
            f"Take {SHORT_KEY} or more: `openssl rand -hex 24`.",
        )


def _folder(folder: Path) -> Finding:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix="doctor-"):
            pass
    except OSError as error:
        return failed(
            "data folder",
            f"{folder} cannot be written to: {error.strerror}",
            f"Give it to user {os.geteuid()}, or let MESH_DATA_DIR name another.",
        )
    found = folder.stat()
    # Where the folder is a volume it is not ours, and nobody else is on the machine.
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o007:
        return warning(
            "data folder",
            f"{folder} is open to every user of this machine",
            f"What customers write is kept there: `chmod 700 {folder}`.",
        )
    return ok("data folder", f"{folder} can be written to")


def _room(folder: Path) -> Finding:
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return failed("disk", f"{folder}: {error.strerror}", "See the data folder.")
    text = f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB are free for {folder}"
    if usage.free < ROOM:
        return warning(
            "disk", text, "Free some: tables and the history of all conversations are kept there."
        )
    return ok("disk", text)
