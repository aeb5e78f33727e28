"""The image's health check: asks whatever runs in this container whether it lives.

Which part that is, the command line of the first process tells. Kubernetes does not use this: its
probes ask over HTTP by themselves.
"""

import os
import sys
import urllib.request
from pathlib import Path
from typing import Final

#: By command: the setting of the port, its default, and the page.
PAGES: Final = {
    "web": ("MESH_WEB_PORT", "6066", "/health/live"),
    "worker": ("MESH_WORKER_PORT", "6071", "/health/live"),
    "mocks": ("MESH_LLM_PORT", "6070", "/health"),
}


def address(command_line: list[str]) -> str | None:
    """Return the URL that tells whether this command is well; None for one that serves nothing."""
    for word in command_line:
        if word in PAGES:
            setting, port, path = PAGES[word]
            return f"http://127.0.0.1:{os.environ.get(setting) or port}{path}"
    return None


def main() -> int:
    """Return the exit status: 0 if it is well."""
    first = Path("/proc/1/cmdline").read_bytes().decode(errors="replace").split("\0")
    url = address(first)
    if url is None:
        return 0
    try:
        with urllib.request.urlopen(url, timeout=4) as answer:  # noqa: S310 - our own
            return int(answer.status != 200)
    except OSError as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
