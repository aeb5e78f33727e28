"""The scripts say what a machine lacks, and stop before they have begun."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.k8s.manifests import K8S, ROOT, built, secrets

SCRIPTS = sorted(K8S.glob("*.sh"))

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl is missing: it comes with kubernetes-client"
)


def run(*command: str, path: str | None = None) -> tuple[int, str]:
    """Return exit status and complaints."""
    environment = os.environ | ({"PATH": path} if path is not None else {})
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_every_script_is_one(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert run("sh", "-n", str(script)) == (0, "")


def bare(folder: Path) -> str:
    """Return a PATH with nothing but what every machine has."""
    for name in ("sh", "dirname"):
        program = shutil.which(name)
        assert program is not None
        (folder / name).symlink_to(program)
    return str(folder)


@pytest.mark.parametrize(
    ("command", "lacking"),
    [
        (("k8s/need.sh", "docker"), ["docker"]),
        (("k8s/need.sh", "docker", "docker-compose"), ["docker", "docker"]),
        (("k8s/k3d-up.sh",), ["docker", "k3d", "kubectl", "openssl"]),
        (("k8s/deploy.sh", "somewhere", "local"), ["kubectl"]),
    ],
    ids=str,
)
def test_what_is_missing_is_named_with_where_to_get_it(
    command: tuple[str, ...], lacking: list[str], tmp_path: Path
) -> None:
    status, said = run(*command, path=bare(tmp_path))
    assert status != 0
    lines = said.splitlines()
    assert [line.split()[0] for line in lines] == lacking
    assert all("https://" in line or "apt-get install" in line for line in lines)


def with_docker(folder: Path) -> tuple[str, Path]:
    """Return a PATH with a docker and a k3d that note what is asked; building an image fails."""
    asked = folder / "asked"
    for name in ("docker", "k3d"):
        program = folder / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>"{asked}"\ntest "$1" != build\n')
        program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}", asked


@needs_kubectl
def test_a_laptops_cluster_gets_the_image_that_its_overlay_runs(tmp_path: Path) -> None:
    path, asked = with_docker(tmp_path)
    assert run("make", "k3d-up", path=path)[0] != 0
    (image,) = {container.spec["image"] for container in built("local").ours}
    assert asked.read_text().splitlines()[-1] == f"docker build --tag {image} ."


@needs_kubectl
def test_a_laptops_cluster_is_not_begun_with_another_image(tmp_path: Path) -> None:
    path, asked = with_docker(tmp_path)
    status, said = run("make", "k3d-up", "IMAGE=other:1", path=path)
    assert status != 0
    assert "The overlay local runs actor-mesh:" in said
    assert "not other:1" in said
    assert asked.read_text().splitlines() == ["docker info"]


@needs_kubectl
def test_nothing_is_applied_without_a_cluster_being_named() -> None:
    status, said = run("k8s/deploy.sh", "", "production")
    assert (status, said.startswith("Say which cluster: CONTEXT=…")) == (1, True)


@needs_kubectl
def test_an_overlay_that_is_none_is_answered_with_those_there_are() -> None:
    status, said = run("k8s/deploy.sh", "somewhere", "staging")
    assert (status, said) == (
        1,
        "There is no overlay staging. There are: keda local production \n",
    )


@needs_kubectl
def test_production_is_not_applied_with_our_examples_in_it() -> None:
    status, said = run("k8s/deploy.sh", "somewhere", "keda")
    assert status == 1
    for name in (
        "MESH_ORDERS_URL",
        "newName: registry",
        "host: chat",
        "host: operators",
        "source-range",
    ):
        assert name in said


def test_deploy_asks_for_the_secrets_that_the_other_script_makes() -> None:
    script = (K8S / "deploy.sh").read_text()
    (line,) = (line for line in script.splitlines() if line.startswith("for secret in "))
    assert set(line.removeprefix("for secret in ").removesuffix("; do").split()) == set(
        secrets("production")
    )


def test_every_run_makes_other_secrets_and_unknown_overlays_none() -> None:
    again = subprocess.run(
        [K8S / "secrets.sh", "local"], capture_output=True, text=True, check=True
    ).stdout
    for name in ("mesh-web", "mesh-redis", "mesh-metrics"):
        for value in secrets("local")[name].values():
            assert value not in again
    assert run(str(K8S / "secrets.sh"), "staging")[0] == 2
