import re
import subprocess
import sys
from pathlib import Path

import pytest

from streams import version
from streams.version import code_version


def version_of(root: Path) -> str:
    code = "from streams.version import code_version; print(code_version())"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(root)!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, repository: Path) -> Path:
    """A copy of what the version is made from."""
    for pattern in (*version._DECIDING, "streams/version.py", "streams/__init__.py"):
        found = list(repository.glob(pattern))
        assert found, f"{pattern} is no longer there"
        for source in found:
            copy = tmp_path / source.relative_to(repository)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source.read_bytes())
    return tmp_path


def test_the_version_changes_with_what_decides_and_with_nothing_else(checkout: Path) -> None:
    assert re.fullmatch(r"\d[\w.]*\+[0-9a-f]{10}", code_version())
    before = version_of(checkout)
    assert before == code_version()
    (checkout / "streams/unrelated.py").write_text("x = 1\n")
    assert version_of(checkout) == before
    for name in ("agents/policy.py", "tables/sessions.py"):
        file = checkout / name
        file.write_text(file.read_text() + "# changed\n")
        after = version_of(checkout)
        assert after != before
        before = after
    (checkout / "agents/new.py").write_text("")
    assert version_of(checkout) != before
