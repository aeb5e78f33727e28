"""The manifests agree with Kubernetes, with each other and with the code."""

import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from aiohttp.web import Application

import app as the_app
from k8s import healthcheck
from mocks import outside
from streams import probes
from streams.gateway import Gateway
from streams.observability import scrape
from streams.settings import Settings
from tests.k8s.manifests import K8S, OVERLAYS, ROOT, Container, Manifests, Object, built, secrets
from web import chat, create_web
from web.operator import LARGEST_BODY

#: The oldest Kubernetes that knows all we ask for, and the newest whose schemas we have.
VERSIONS = ("1.30", "1.37")

#: What is known of kinds that Kubernetes itself does not have; unknown fields are mistakes.
CUSTOM = {
    "ServiceMonitor": {
        "selector": {"type": "object"},
        "endpoints": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "port": {"type": "string"},
                    "path": {"type": "string"},
                    "interval": {"type": "string", "pattern": r"^\d+s$"},
                    "authorization": {
                        "type": "object",
                        "properties": {
                            "credentials": {
                                "type": "object",
                                "properties": {
                                    "name": {"type": "string"},
                                    "key": {"type": "string"},
                                },
                                "required": ["name", "key"],
                                "additionalProperties": False,
                            }
                        },
                        "additionalProperties": False,
                    },
                },
                "additionalProperties": False,
            },
        },
    },
    "ScaledObject": {
        "scaleTargetRef": {
            "type": "object",
            "properties": {name: {"type": "string"} for name in ("apiVersion", "kind", "name")},
            "required": ["name"],
            "additionalProperties": False,
        },
        "pollingInterval": {"type": "integer"},
        "cooldownPeriod": {"type": "integer"},
        "minReplicaCount": {"type": "integer"},
        "maxReplicaCount": {"type": "integer"},
        "advanced": {
            "type": "object",
            "properties": {"horizontalPodAutoscalerConfig": {"type": "object"}},
            "additionalProperties": False,
        },
        "triggers": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "type": {"enum": ["prometheus", "cpu"]},
                    "metricType": {"enum": ["Utilization", "AverageValue"]},
                    # All values are text there, numbers too.
                    "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
                },
                "required": ["type", "metadata"],
                "additionalProperties": False,
            },
        },
    },
}
API_VERSIONS = {
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "ScaledObject": "keda.sh/v1alpha1",
}


# Kubernetes


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_what_kubernetes_takes(manifests: Manifests, version: str) -> None:
    for found in manifests.objects:
        if found["kind"] not in CUSTOM:
            kubernetes_validate.validate(found, version, strict=True)


def test_every_object_of_an_operator_is_what_it_takes(manifests: Manifests) -> None:
    for found in manifests.of(*CUSTOM):
        assert found["apiVersion"] == API_VERSIONS[found["kind"]]
        properties = CUSTOM[found["kind"]]
        schema = {"properties": properties, "additionalProperties": False}
        jsonschema.validate(found["spec"], schema)


def test_names_are_there_once_and_all_in_one_namespace(manifests: Manifests) -> None:
    names = [(found["kind"], found["metadata"]["name"]) for found in manifests.objects]
    assert len(names) == len(set(names))
    for found in manifests.objects:
        if found["kind"] != "Namespace":
            assert found["metadata"]["namespace"] == "actor-mesh"


def test_images_have_a_version_and_ours_is_the_projects(manifests: Manifests) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for container in manifests.containers:
        image, _, tag = container.spec["image"].rpartition(":")
        assert image, f"{container} has no tag"
        assert tag != "latest"
        if container in manifests.ours:
            assert tag == version


# Rights


def test_pods_have_no_privilege(manifests: Manifests) -> None:
    for container in manifests.containers:
        pod, own = container.pod["securityContext"], container.spec["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] > 10_000
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, str(container)
        host = {"hostNetwork", "hostPID", "hostIPC", "initContainers"}
        assert not host & set(container.pod)
        for volume in container.pod["volumes"]:
            kinds = set(volume) - {"name"}
            assert kinds <= {"projected", "emptyDir"}, f"{container}: {kinds}"
    namespace = manifests.get("Namespace", "actor-mesh")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_no_pod_may_ask_the_api_server(manifests: Manifests) -> None:
    (account,) = manifests.of("ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    for container in manifests.containers:
        assert container.pod["serviceAccountName"] == account["metadata"]["name"]
        assert container.pod["automountServiceAccountToken"] is False
    assert not manifests.of("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


def test_services_do_not_turn_into_settings(manifests: Manifests) -> None:
    """A Service named mesh-web sets MESH_WEB_PORT to tcp://… in pods that want links."""
    for container in manifests.containers:
        assert container.pod["enableServiceLinks"] is False


def test_secrets_are_files_and_no_part_of_the_manifests(manifests: Manifests) -> None:
    assert not manifests.of("Secret")
    text = str(manifests.objects)
    for kept in secrets(manifests.overlay).values():
        for value in kept.values():
            assert not value or value not in text


# Settings

PARTS = [
    *((overlay, part) for overlay in OVERLAYS for part in ("worker", "web")),
    ("local", "mocks"),
]
parts = pytest.mark.parametrize(("overlay", "part"), PARTS)


def settings_of(
    overlay: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Return the settings as that container reads them, its files included."""
    manifests = built(overlay)
    files = manifests.files(manifests.container(part))
    for name, value in manifests.settings(part).items():
        if name.endswith("_FILE"):
            path = tmp_path / value.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[value])
            value = str(path)
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return Settings()


@parts
def test_every_variable_is_a_setting(overlay: str, part: str) -> None:
    known = {f"MESH_{name.upper()}" for name in Settings.model_fields}
    given = {name.removesuffix("_FILE") for name in built(overlay).settings(part)}
    assert given <= known, given - known


@parts
def test_every_setting_that_is_needed_is_given(
    overlay: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(overlay, part, tmp_path, monkeypatch)
    if part == "mocks":
        assert the_app.mock_ports(settings).keys() == {"customers", "orders", "tracking", "llm"}
        return
    assert settings.broker_url.startswith("nats://")
    assert "tls_ca=/etc/mesh/secrets/nats-ca.crt" in settings.broker_url
    assert settings.metrics_token.get_secret_value()
    if part == "worker":
        assert settings.redis_url
        assert the_app.mock_ports(settings) == {}, "a worker would look for mocks on itself"
        assert settings.store == "rocksdb://"
    if part == "web":
        assert settings.secret_key.get_secret_value()
        assert settings.operator_token.get_secret_value()


def test_workers_and_pages_agree(manifests: Manifests) -> None:
    worker, web = manifests.settings("worker"), manifests.settings("web")
    for name in {"MESH_PREFIX", "MESH_PARTITIONS", "MESH_REPLICAS", "MESH_JOURNAL_DAYS"}:
        assert worker.get(name) == web.get(name)


def test_streams_have_as_many_copies_as_there_are_servers(manifests: Manifests) -> None:
    servers = manifests.get("StatefulSet", "mesh-nats")["spec"]["replicas"]
    assert int(manifests.settings("worker")["MESH_REPLICAS"]) == servers


# Ports, probes, names


def code_ports(settings: Settings) -> dict[str, dict[str, int]]:
    """Return the ports that our parts listen on, by the names they have in the manifests."""
    return {
        "worker": {"http": settings.worker_port},
        "web": {"http": settings.web_port},
        "mocks": the_app.mock_ports(settings),
    }


@parts
def test_ports_are_those_that_the_code_listens_on(
    overlay: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(overlay, part, tmp_path, monkeypatch)
    assert built(overlay).container(part).ports == code_ports(settings)[part]
    assert (settings.mock_host if part == "mocks" else settings.web_host) == "0.0.0.0"


def code_paths(part: str, tmp_path: Path) -> set[str]:
    """Return the pages that a part of ours has."""
    settings = Settings(data_dir=tmp_path, broker_url="nats://nowhere")
    if part == "web":
        web = create_web(settings, Gateway(settings))
        return {resource.canonical for resource in web.router.resources()}
    if part == "worker":
        return {probes.LIVE, probes.READY}
    made = outside.create_apps(
        data_dir=tmp_path,
        seed=1,
        world_folder=None,
        latency_ms=0,
        failure_rate=0,
        llm_latency_ms=0,
        llm_failure_rate=0,
        llm_api_key=None,
    )
    return {resource.canonical for resource in made["llm"].router.resources()}


@parts
def test_probes_ask_for_pages_that_there_are(overlay: str, part: str, tmp_path: Path) -> None:
    container = built(overlay).container(part)
    pages = code_paths(part, tmp_path)
    for name, probe in container.probes:
        asked = probe["httpGet"]
        assert asked["port"] in container.ports, name
        assert asked["path"] in pages, name


def test_probes_mean_what_they_should(manifests: Manifests) -> None:
    worker = dict(manifests.container("worker").probes)
    assert worker["readinessProbe"]["httpGet"]["path"] == probes.READY
    assert worker["livenessProbe"]["httpGet"]["path"] == probes.LIVE
    for container in manifests.containers:
        assert {"readinessProbe", "livenessProbe"} <= {name for name, _ in container.probes}
        alive = container.spec["livenessProbe"]
        patience = alive["periodSeconds"] * alive.get("failureThreshold", 3)
        assert patience >= 60, f"{container} is killed for a short pause"


def test_the_images_own_check_asks_for_the_same(tmp_path: Path) -> None:
    defaults = Settings(data_dir=tmp_path)
    assert healthcheck.address(["python", "app.py", "web"]) == (
        f"http://127.0.0.1:{defaults.web_port}{probes.LIVE}"
    )
    assert healthcheck.address(["python", "app.py", "worker"]) == (
        f"http://127.0.0.1:{defaults.worker_port}{probes.LIVE}"
    )
    assert healthcheck.address(["python", "app.py", "doctor"]) is None
    for setting, default, _ in healthcheck.PAGES.values():
        assert str(getattr(defaults, setting.removeprefix("MESH_").lower())) == default


def test_services_lead_to_ports_of_pods(manifests: Manifests) -> None:
    for service in manifests.of("Service"):
        name = service["metadata"]["name"]
        assert manifests.selected({"matchLabels": service["spec"]["selector"]}) == {name}
        ports = {
            port
            for container in manifests.containers
            if container.workload["metadata"]["name"] == name
            for port in container.ports.items()
        }
        for port in service["spec"]["ports"]:
            assert (port["targetPort"], port["port"]) in ports, name
    for workload in manifests.of("StatefulSet"):
        governing = manifests.get("Service", workload["spec"]["serviceName"])
        assert governing["spec"]["clusterIP"] == "None"


def test_whatever_selects_pods_selects_some(manifests: Manifests) -> None:
    for workload in manifests.workloads:
        name = workload["metadata"]["name"]
        assert manifests.selected(workload["spec"]["selector"]) == {name}
        pod = workload["spec"]["template"]["spec"]
        for constraint in pod.get("topologySpreadConstraints", ()):
            assert manifests.selected(constraint["labelSelector"]) == {name}
    for budget in manifests.of("PodDisruptionBudget"):
        assert manifests.selected(budget["spec"]["selector"]) == {budget["metadata"]["name"]}
    for policy in manifests.of("NetworkPolicy"):
        assert manifests.selected(policy["spec"]["podSelector"]), policy["metadata"]["name"]
    for monitor in manifests.of("ServiceMonitor"):
        labels = monitor["spec"]["selector"]["matchLabels"].items()
        watched = {
            service["metadata"]["name"]
            for service in manifests.of("Service")
            if labels <= service["metadata"]["labels"].items()
        }
        assert watched == {"mesh-worker", "mesh-web"}
    for ingress in manifests.of("Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                to = path["backend"]["service"]
                ports = manifests.get("Service", to["name"])["spec"]["ports"]
                assert to["port"]["name"] in {port["name"] for port in ports}


def test_every_config_map_and_secret_that_is_used_is_made(manifests: Manifests) -> None:
    maps = {found["metadata"]["name"]: found["data"] for found in manifests.of("ConfigMap")}
    made = secrets(manifests.overlay)
    used: set[str] = set()

    def look(value: Any) -> None:
        if isinstance(value, list):
            for one in value:
                look(one)
        if not isinstance(value, dict):
            return
        for key, inner in value.items():
            if key in ("configMap", "configMapRef"):
                assert inner["name"] in maps
            elif key in ("secret", "secretKeyRef", "credentials"):
                used.add(inner["name"])
                keys = {item["key"] for item in inner.get("items", ())}
                keys |= {inner["key"]} if "key" in inner else set()
                assert keys <= made[inner["name"]].keys()
            look(inner)

    look(manifests.objects)
    # The local overlay has no Prometheus, and all use the same script.
    assert used == made.keys()


def test_mounts_have_volumes_and_volumes_are_mounted(manifests: Manifests) -> None:
    for container in manifests.containers:
        claims = container.workload["spec"].get("volumeClaimTemplates", ())
        volumes = {volume["name"] for volume in container.pod["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in claims}
        assert {mount["name"] for mount in container.spec["volumeMounts"]} == volumes
        if container in manifests.ours:
            settings = manifests.settings(container.spec["name"])
            writable = {
                mount["mountPath"]
                for mount in container.spec["volumeMounts"]
                if not mount.get("readOnly")
            }
            assert writable == {settings["MESH_DATA_DIR"], "/tmp"}


def test_a_workers_tables_outlive_its_pod(manifests: Manifests) -> None:
    worker = manifests.get("StatefulSet", "mesh-worker")
    (claim,) = worker["spec"]["volumeClaimTemplates"]
    (mount,) = (
        mount
        for mount in manifests.container("worker").spec["volumeMounts"]
        if mount["name"] == claim["metadata"]["name"]
    )
    assert mount["mountPath"] == manifests.settings("worker")["MESH_DATA_DIR"]


def test_volumes_stay_when_pods_are_scaled_away(manifests: Manifests) -> None:
    """To none, too: that is how a backup begins."""
    for workload in manifests.of("StatefulSet"):
        policy = workload["spec"].get("persistentVolumeClaimRetentionPolicy", {})
        assert set(policy.values()) <= {"Retain"}, workload["metadata"]["name"]


def test_the_guide_names_claims_as_kubernetes_does(manifests: Manifests) -> None:
    claims = {
        f"{claim['metadata']['name']}-{workload['metadata']['name']}"
        for workload in manifests.of("StatefulSet")
        for claim in workload["spec"]["volumeClaimTemplates"]
    }
    guide = (K8S / "README.md").read_text()
    assert set(re.findall(r"pvc ([a-z]+-[a-z-]+)-(?:\$n|\d)", guide)) == claims


# Resources, time, numbers


def bytes_of(quantity: str) -> int:
    match = re.fullmatch(r"(\d+)([KMG]i?B?)?", quantity)
    assert match is not None, quantity
    unit = (match[2] or "").removesuffix("B")
    factor = {"": 1, "M": 10**6, "G": 10**9, "Mi": 2**20, "Gi": 2**30}[unit]
    return int(match[1]) * factor


def test_every_container_asks_for_what_it_needs(manifests: Manifests) -> None:
    for container in manifests.containers:
        resources = container.spec["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys()
        limit = bytes_of(resources["limits"]["memory"])
        assert bytes_of(resources["requests"]["memory"]) <= limit
        assert "cpu" not in resources["limits"], "a limit of CPU only makes turns wait"


def test_jetstream_stays_within_its_volume(manifests: Manifests) -> None:
    nats = manifests.container("nats")
    (limit,) = (one["value"] for one in nats.spec["env"] if one["name"] == "MAX_FILE_STORE")
    (claim,) = nats.workload["spec"]["volumeClaimTemplates"]
    volume = bytes_of(claim["spec"]["resources"]["requests"]["storage"])
    # nats-server counts in powers of two, whatever its unit looks like.
    assert bytes_of(limit.replace("GB", "Gi")) <= 0.95 * volume


def grace(container: Container) -> int:
    seconds: int = container.pod["terminationGracePeriodSeconds"]
    return seconds


def test_a_worker_may_take_longer_to_stop_than_a_rebalance(
    manifests: Manifests, tmp_path: Path
) -> None:
    settings = Settings(broker_url="nats://nowhere", redis_url="redis://nowhere", data_dir=tmp_path)
    conf = the_app.create_app(settings).conf
    assert grace(manifests.container("worker")) > conf.broker_rebalance_timeout + 10


def test_a_node_of_the_pages_may_finish_what_it_answers(manifests: Manifests) -> None:
    web = manifests.container("web")
    pause = web.spec["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert grace(web) > pause + Settings().turn_timeout
    assert web.workload["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_a_server_may_move_its_clients_before_it_ends(manifests: Manifests) -> None:
    conf = (K8S / "base" / "nats" / "nats.conf").read_text()
    seconds = sum(int(found) for found in re.findall(r"lame_duck_\w+: (\d+)s", conf))
    assert grace(manifests.container("nats")) > seconds


def test_no_autoscaler_makes_workers_without_partitions(manifests: Manifests) -> None:
    partitions = int(manifests.settings("worker")["MESH_PARTITIONS"])
    scaled = []
    for found in manifests.of("HorizontalPodAutoscaler", "ScaledObject"):
        spec = found["spec"]
        target = spec["scaleTargetRef"]
        scaled.append(target["name"])
        workload = manifests.get(target["kind"], target["name"])
        # Each deployment would set the number back, and move partitions to and fro.
        assert "replicas" not in workload["spec"]
        least = spec.get("minReplicas", spec.get("minReplicaCount"))
        most = spec.get("maxReplicas", spec.get("maxReplicaCount"))
        assert least < most
        if target["name"] == "mesh-worker":
            assert most <= partitions
    assert len(scaled) == len(set(scaled)), "two autoscalers pull at one workload"
    if manifests.overlay != "local":
        assert set(scaled) == {"mesh-worker", "mesh-web"}


def test_keda_asks_for_a_series_that_workers_have() -> None:
    (scaled,) = built("keda").of("ScaledObject")
    (lag,) = (one for one in scaled["spec"]["triggers"] if one["type"] == "prometheus")
    asked = re.findall(r"mesh_\w+", lag["metadata"]["query"])
    assert asked == ["mesh_topic_lag_records"]
    assert asked[0] in inspect.getsource(scrape)


def test_a_drained_node_takes_one_of_each_kind_at_most(manifests: Manifests) -> None:
    budgets = {one["metadata"]["name"]: one["spec"] for one in manifests.of("PodDisruptionBudget")}
    assert budgets.keys() == {"mesh-nats", "mesh-worker", "mesh-web"}
    assert all(budget["maxUnavailable"] == 1 for budget in budgets.values())


def test_in_production_what_is_there_more_than_once_is_spread() -> None:
    for workload in built("production").workloads:
        constraints = workload["spec"]["template"]["spec"].get("topologySpreadConstraints", ())
        keys = {one["topologyKey"]: one["whenUnsatisfiable"] for one in constraints}
        if workload["metadata"]["name"] != "mesh-redis":
            assert keys.keys() == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
        if workload["metadata"]["name"] == "mesh-nats":
            assert keys["kubernetes.io/hostname"] == "DoNotSchedule"


def nginx(ingress: Object, annotation: str) -> str:
    value: str = ingress["metadata"]["annotations"][f"nginx.ingress.kubernetes.io/{annotation}"]
    return value


def test_production_is_behind_tls_and_its_sockets_stay_open() -> None:
    secret_names = set()
    for ingress in built("production").of("Ingress"):
        hosts = {rule["host"] for rule in ingress["spec"]["rules"]}
        (tls,) = ingress["spec"]["tls"]
        assert set(tls["hosts"]) == hosts
        secret_names.add(tls["secretName"])
        assert nginx(ingress, "ssl-redirect") == "true"
        for way in ("read", "send"):
            assert int(nginx(ingress, f"proxy-{way}-timeout")) >= 3600
    assert secret_names == {"mesh-web-tls", "mesh-operators-tls"}


def test_operators_come_from_listed_places_and_may_send_whole_messages() -> None:
    ingress = built("production").get("Ingress", "operators")
    # Whoever deploys replaces it; until then nobody comes in.
    assert nginx(ingress, "whitelist-source-range") == "192.0.2.0/24"
    assert nginx(ingress, "proxy-body-size") == f"{LARGEST_BODY // 2**20}m"


def addresses(app: Application) -> dict[str, set[str]]:
    """Return, by route, addresses that lead there: one each, and every file of a folder."""
    found = {}
    for resource in app.router.resources():
        told = resource.get_info()
        if "directory" in told:
            prefix, files = told["prefix"], told["directory"].iterdir()
            found[resource.canonical] = {f"{prefix}/{file.name}" for file in files}
        else:
            found[resource.canonical] = {re.sub(r"{\w+}", "7", resource.canonical)}
    return found


def test_customers_reach_the_chat_alone_and_operators_all_pages(tmp_path: Path) -> None:
    customers = Application()
    chat.setup(customers)
    theirs = addresses(customers)
    settings = Settings(data_dir=tmp_path, broker_url="nats://nowhere")
    pages = addresses(create_web(settings, Gateway(settings)))
    assert theirs.items() < pages.items()
    for route, examples in pages.items():
        for address in examples:
            hosts = built("production").hosts(address)
            assert hosts == {"operators.example.com"} | (
                {"chat.example.com"} if route in theirs else set()
            ), address
            assert built("local").hosts(address) == {"*"}


def test_what_is_no_page_of_the_chat_does_not_pass_for_one() -> None:
    manifests = built("production")
    for address in ("/chat", "/wss", "/ws/7", "/api", "/api/chatter", "/api/session/7", "/statics"):
        assert manifests.hosts(address) == {"operators.example.com"}, address


def test_mocks_are_on_laptops_alone() -> None:
    for overlay in OVERLAYS:
        there = {workload["metadata"]["name"] for workload in built(overlay).workloads}
        assert ("mesh-mocks" in there) is (overlay == "local")
