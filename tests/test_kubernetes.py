"""The kustomize base and its components, rendered: what a cluster would get, held against the program."""

import ipaddress
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml

from drift_monitor.cli.main import main
from drift_monitor.cli.run import run
from drift_monitor.config.loading import load
from drift_monitor.daemon.settings import DaemonSettings
from drift_monitor.notify import outbound
from drift_monitor.version import __version__
from drift_monitor.web.access import allowed_hosts, parse_address
from drift_monitor.web.middleware import HEALTH_PATHS

ROOT = Path(__file__).parent.parent
KUBERNETES = ROOT / "config" / "kubernetes"
PAGE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
COMPONENTS = sorted(path.name for path in (KUBERNETES / "components").iterdir())
VARIANTS = {"base": [], **{name: [name] for name in COMPONENTS}, "everything": COMPONENTS}
# Kinds of the Prometheus Operator; Kubernetes itself has no schema for them.
OPERATOR = {"ServiceMonitor", "PrometheusRule"}
RULE_FILES = sorted((ROOT / "config" / "prometheus" / "rules").glob("*.yml"))

Objects = dict[tuple[str, str], dict[str, Any]]


def kubectl() -> str:
    found = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")
    if found is None:
        pytest.fail("kubectl is missing: install the test dependencies (make test does)")
    return found


def rendered(folder: Path) -> Objects:
    """Objects by kind and name; generated names without their hash."""
    done = subprocess.run([kubectl(), "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "it warns"
    objects = [one for one in yaml.safe_load_all(done.stdout) if one]
    return {(one["kind"], re.sub(r"-[0-9a-z]{10}$", "", one["metadata"]["name"])): one for one in objects}


Render = Callable[..., Objects]


@pytest.fixture(scope="module")
def render(tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Renders a variant; each is an overlay beside a copy, as the documentation has it."""
    folder = tmp_path_factory.mktemp("overlays")
    shutil.copytree(KUBERNETES, folder / "kubernetes")
    known: dict[str, Objects] = {}

    def render(variant: str) -> Objects:
        if variant not in known:
            overlay = folder / variant
            overlay.mkdir()
            components = [f"../kubernetes/components/{name}" for name in VARIANTS[variant]]
            document = {"resources": ["../kubernetes/base"], "components": components, "namespace": "drift"}
            (overlay / "kustomization.yaml").write_text(json.dumps(document), encoding="utf-8")
            known[variant] = rendered(overlay)
        return known[variant]

    return render


def pod_of(objects: Objects) -> dict[str, Any]:
    pod: dict[str, Any] = objects["Deployment", "drift-monitor"]["spec"]["template"]["spec"]
    return pod


def containers_of(objects: Objects) -> list[dict[str, Any]]:
    pod = pod_of(objects)
    return [*pod["containers"], *pod.get("initContainers", [])]


def daemon_of(objects: Objects) -> dict[str, Any]:
    [container] = pod_of(objects)["containers"]
    assert isinstance(container, dict)
    return container


def mounts_of(objects: Objects, container: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Path to the volume that is mounted there; a mount without a volume is a KeyError."""
    volumes = {volume["name"]: volume for volume in pod_of(objects)["volumes"]}
    return {mount["mountPath"]: {**volumes[mount["name"]], **mount} for mount in container["volumeMounts"]}


def arguments_of(container: dict[str, Any]) -> list[str]:
    """With $(NAME) as Kubernetes replaces it."""
    values = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    return [re.sub(r"\$\((\w+)\)", lambda match: values[match[1]], word) for word in container["args"]]


every_variant = pytest.mark.parametrize("variant", list(VARIANTS))


@every_variant
def test_every_object_keeps_the_schema_of_kubernetes(render: Render, variant: str) -> None:
    for one in render(variant).values():
        if one["kind"] not in OPERATOR:
            kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)


def test_the_schema_is_strict_enough_to_find_a_misspelled_key(render: Render) -> None:
    service = json.loads(json.dumps(render("base")["Service", "drift-monitor"]))
    service["spec"]["selektor"] = {}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, kubernetes_validate.latest_version(), strict=True)


def test_the_base_is_a_deployment_with_what_it_needs(render: Render) -> None:
    kinds = {"ConfigMap", "Deployment", "NetworkPolicy", "PersistentVolumeClaim", "Service"}

    assert set(render("base")) == {(kind, "drift-monitor") for kind in kinds}


@every_variant
def test_no_container_has_a_privilege(render: Render, variant: str) -> None:
    pod = pod_of(render(variant))
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers_of(render(variant)):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@every_variant
def test_only_data_and_tmp_can_be_written(render: Render, variant: str) -> None:
    for container in containers_of(render(variant)):
        mounts = mounts_of(render(variant), container)
        written = {path for path, mount in mounts.items() if not mount.get("readOnly")}
        assert written <= {"/data", "/tmp"}
        assert all({"emptyDir", "persistentVolumeClaim"} & set(mounts[path]) for path in written)


@every_variant
def test_probes_ask_what_needs_no_credentials(render: Render, variant: str) -> None:
    daemon = daemon_of(render(variant))
    asked = {probe: daemon[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}

    assert asked == {
        "startupProbe": {"path": "/-/healthy", "port": "http"},
        "livenessProbe": {"path": "/-/healthy", "port": "http"},
        "readinessProbe": {"path": "/-/ready", "port": "http"},
    }
    assert {probe["path"] for probe in asked.values()} <= set(HEALTH_PATHS)
    assert "http" in {port["name"] for port in daemon["ports"]}


@every_variant
def test_the_program_takes_the_arguments(render: Render, variant: str, tmp_path: Path) -> None:
    assert isinstance(main, click.Group)
    for container in containers_of(render(variant)):
        words = arguments_of(container)
        for word in words:
            if "=/" in word:
                (tmp_path / Path(word).name).touch()
        command, *flags = [re.sub(r"=/.*/", f"={tmp_path}/", word) for word in words]
        called = main.get_command(click.Context(main), command)
        assert called is not None
        called.make_context(command, flags)


@every_variant
def test_it_listens_where_the_service_and_the_probes_come_in(render: Render, variant: str) -> None:
    daemon = daemon_of(render(variant))
    [listen] = [word for word in daemon["args"] if word.startswith("--web.listen-address=")]
    address = parse_address(listen.partition("=")[2])
    [port] = daemon["ports"]
    [served] = render(variant)["Service", "drift-monitor"]["spec"]["ports"]
    [told] = [word for word in arguments_of(daemon) if word.startswith("--web.external-url=")]
    hosts = allowed_hosts(address, (told.partition("=")[2],))

    # Probes and scrapes come with the address of the pod as their host.
    assert hosts.allow("10.1.2.3:8765") and hosts.allow("[fd00::7]:8765")
    assert hosts.allow("drift-monitor:8765"), "the service's name"
    assert (port["name"], port["containerPort"]) == (served["targetPort"], address.port)


@every_variant
def test_every_selector_selects_exactly_these_pods(render: Render, variant: str) -> None:
    objects = render(variant)
    labels = objects["Deployment", "drift-monitor"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        objects["Deployment", "drift-monitor"]["spec"]["selector"]["matchLabels"],
        objects["Service", "drift-monitor"]["spec"]["selector"],
        objects["NetworkPolicy", "drift-monitor"]["spec"]["podSelector"]["matchLabels"],
    ]
    budget = objects.get(("PodDisruptionBudget", "drift-monitor"))
    selectors += [budget["spec"]["selector"]["matchLabels"]] if budget else []

    for selector in selectors:
        assert selector == labels == {"app.kubernetes.io/name": "drift-monitor"}


@pytest.mark.parametrize(
    ("variant", "environ", "store"),
    [
        ("base", {}, "sqlite:////data/drift.db"),
        ("postgresql-store", {"DRIFT_STORE_URL": "postgresql+psycopg://d@db/d"}, "postgresql+psycopg://d@db/d"),
    ],
)
def test_the_configuration_loads(
    render: Render, variant: str, environ: dict[str, str], store: str, tmp_path: Path
) -> None:
    text = render(variant)["ConfigMap", "drift-monitor"]["data"]["drift.yaml"]
    secrets = "/run/secrets/drift-monitor"
    assert secrets in mounts_of(render(variant), daemon_of(render(variant)))
    (tmp_path / "warehouse_url").write_text("postgresql+psycopg://reader@db/shop\n", encoding="utf-8")
    (tmp_path / "drift.yaml").write_text(text.replace(secrets, str(tmp_path)), encoding="utf-8")

    config = load(tmp_path / "drift.yaml", environ)

    assert config.monitors
    assert config.store.url.get_secret_value() == store


@every_variant
def test_the_configuration_is_where_the_arguments_look(render: Render, variant: str) -> None:
    config_map = render(variant)["ConfigMap", "drift-monitor"]
    for container in containers_of(render(variant)):
        mount = mounts_of(render(variant), container)["/etc/drift-monitor"]
        assert mount["configMap"]["name"] == config_map["metadata"]["name"] != "drift-monitor", "no hash of the content"
        assert "--config.file=/etc/drift-monitor/drift.yaml" in container["args"]


def test_the_image_is_that_of_this_version(render: Render) -> None:
    for container in containers_of(render("everything")):
        assert container["image"] == f"drift-monitor:{__version__}"


def test_on_sqlite_the_old_process_ends_before_the_new_one_starts(render: Render) -> None:
    deployment = render("base")["Deployment", "drift-monitor"]["spec"]
    claim = mounts_of(render("base"), daemon_of(render("base")))["/data"]["persistentVolumeClaim"]["claimName"]

    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    assert ("PersistentVolumeClaim", claim) in render("base")


def test_on_postgresql_replicas_share_the_work_after_a_migration(render: Render) -> None:
    objects = render("postgresql-store")
    deployment = objects["Deployment", "drift-monitor"]["spec"]
    [migration] = pod_of(objects)["initContainers"]
    from_secret = {"secretKeyRef": {"name": "drift-monitor", "key": "store_url"}}

    assert (deployment["replicas"], deployment["strategy"]) == (2, {"type": "RollingUpdate"})
    assert migration["args"][0] == "migrate"
    for container in containers_of(objects):
        assert {"name": "DRIFT_STORE_URL", "valueFrom": from_secret} in container["env"]
        assert "/data" not in mounts_of(objects, container)
    assert not [kind for kind, _ in objects if kind == "PersistentVolumeClaim"]
    assert objects["PodDisruptionBudget", "drift-monitor"]["spec"]["minAvailable"] < deployment["replicas"]


def test_the_pod_has_time_to_end_by_itself(render: Render) -> None:
    spared = pod_of(render("base"))["terminationGracePeriodSeconds"]

    assert spared > DaemonSettings().grace.total_seconds() + 5  # cancelling, giving back, last messages


def test_prometheus_scrapes_the_job_that_its_rules_ask_for(render: Render) -> None:
    objects = render("service-monitor")
    monitor, service = objects["ServiceMonitor", "drift-monitor"]["spec"], objects["Service", "drift-monitor"]
    [endpoint] = monitor["endpoints"]
    [job] = [one["replacement"] for one in endpoint["relabelings"] if one["targetLabel"] == "job"]

    [limit] = [option.default for option in run.params if "--web.max-series" in option.opts]
    admitted = objects["NetworkPolicy", "drift-monitor"]["spec"]["ingress"][0]["from"]

    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert f'job="{job}"' in "".join(path.read_text(encoding="utf-8") for path in RULE_FILES)
    assert monitor["sampleLimit"] > limit
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}} in admitted


def test_the_rules_are_those_of_prometheus(render: Render) -> None:
    objects = render("prometheus-rules")
    given = {name: one["spec"] for (kind, name), one in objects.items() if kind == "PrometheusRule"}

    assert given == {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in RULE_FILES}, "run make manifests"


def test_passwords_take_the_place_of_the_open_listener(render: Render) -> None:
    arguments = daemon_of(render("basic-auth"))["args"]

    assert "--web.config.file=/run/secrets/drift-monitor/web.yml" in arguments
    assert "--web.allow-unauthenticated" not in arguments


def test_egress_leads_to_no_address_that_the_service_itself_refuses(render: Render) -> None:
    policy = render("egress")["NetworkPolicy", "drift-monitor-egress"]["spec"]
    assert policy["policyTypes"] == ["Egress"]
    assert policy["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "drift-monitor"}
    open_blocks = [to["ipBlock"] for rule in policy["egress"] for to in rule.get("to", ())]
    assert {block["cidr"] for block in open_blocks} == {"0.0.0.0/0", "::/0"}
    kept_out = [ipaddress.ip_network(network) for block in open_blocks for network in block["except"]]
    for address in outbound._METADATA:
        assert any(address in network for network in kept_out), address
    # Without a `to`, only ports on which no metadata service answers.
    anywhere = {port["port"] for rule in policy["egress"] if "to" not in rule for port in rule["ports"]}
    assert anywhere == {53, 5432, 9093}


def test_the_page_lists_the_components_and_no_other() -> None:
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE)) == COMPONENTS


def test_the_overlay_that_the_page_shows_replaces_image_configuration_and_address(tmp_path: Path) -> None:
    [overlay] = re.findall(r"^   ```\n(   apiVersion: kustomize.*?)^   ```$", PAGE, re.MULTILINE | re.DOTALL)
    [config] = re.findall(r"^   ```yaml\n(.*?)^   ```$", PAGE, re.MULTILINE | re.DOTALL)
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    (tmp_path / "drift").mkdir()
    (tmp_path / "drift" / "kustomization.yaml").write_text(re.sub(r"^   ", "", overlay, flags=re.MULTILINE), "utf-8")
    (tmp_path / "drift" / "drift.yaml").write_text(f"# ours\n{config}", encoding="utf-8")

    objects = rendered(tmp_path / "drift")

    daemon = daemon_of(objects)
    assert daemon["image"] == f"registry.example.com/drift-monitor:{__version__}"
    assert {"name": "EXTERNAL_URL", "value": "https://drift.example.com"} in daemon["env"]
    assert objects["ConfigMap", "drift-monitor"]["data"]["drift.yaml"].startswith("# ours\n")
    assert {one["metadata"].get("namespace") for one in objects.values()} == {"drift"}
    assert ("ServiceMonitor", "drift-monitor") in objects
