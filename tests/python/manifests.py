"""`deploy/kubernetes`, judged by kustomize, the schemas of Kubernetes and the program itself, whose path is in `SCOPEGATE`.

The first thing that is not so ends it with a failure.
"""

import base64
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
# The first with native sidecars unless configured otherwise, and the newest that the tool knows.
VERSIONS = ["1.29", "1.37"]
SECRET = {"keys-secret": base64.b64encode(bytes(32)).decode() + "\n", "database-url": "postgres://user:password@postgres/scopegate\n"}


def main():
    for variant in ["sidecar", "envoy"]:
        text = run(TOOLS / "kubectl", "kustomize", ROOT / "deploy/kubernetes" / variant)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(text)
            file.flush()
            for version in VERSIONS:
                run(TOOLS / "kubernetes-validate", "--strict", "--quiet", "-k", version, file.name)
        objects = [found for found in yaml.safe_load_all(text) if found]
        pods = {found["kind"]: found["spec"]["template"]["spec"] for found in objects if "template" in found.get("spec", {})}
        assert set(pods) == {"Deployment", "Job"}, pods.keys()
        configurations = {found["metadata"]["name"]: found["data"] for found in objects if found["kind"] == "ConfigMap"}
        for pod in pods.values():
            is_restricted(pod)
            its_configuration_is_good(pod, configurations)
        pod = pods["Deployment"]
        the_sidecars_are_native(pod, {"sidecar": ["scopegate"], "envoy": ["envoy", "scopegate"]}[variant])
        they_meet_at_the_socket(pod, {"sidecar": "orders", "envoy": "envoy"}[variant], configurations)
        services_lead_to_ports(pod, [found for found in objects if found["kind"] == "Service"])
        print(f"{variant}: {len(objects)} objects")


def run(*command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def containers(pod):
    return pod.get("initContainers", []) + pod["containers"]


def is_restricted(pod):
    """The profile "restricted" of the pod security standards, and more."""
    assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True and context["runAsUser"] > 0 and context["fsGroup"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(pod):
        own = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert container["securityContext"] == own, container["name"]
        resources = container["resources"]
        assert resources["limits"]["memory"] and resources["requests"]["cpu"] and resources["requests"]["memory"]
        for variable in container.get("env", []):
            secret = any(word in variable["name"] for word in ("SECRET", "URL", "TOKEN")) and variable["name"] != "PUBLIC_URL"
            assert not secret or variable["name"].endswith("_FILE"), f"{variable['name']} is a secret in the open"


def its_configuration_is_good(pod, configurations):
    """`config check` with the files and variables that the container gets."""
    [container] = [container for container in containers(pod) if "/scopegate:" in container["image"]]
    with tempfile.TemporaryDirectory() as directory:
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        for volume in pod["volumes"]:
            files = configurations[volume["configMap"]["name"]] if "configMap" in volume else SECRET if "secret" in volume else {}
            if volume["name"] in mounted:
                place = Path(directory + mounted[volume["name"]])
                place.mkdir(parents=True)
                for name, content in files.items():
                    (place / name).write_text(content)
        config = container["args"][container["args"].index("--config") + 1]
        variables = {variable["name"]: directory + variable["value"] for variable in container["env"]}
        assert set(variables) == {"SCOPEGATE_KEYS__SECRET_FILE", "SCOPEGATE_DATABASE__URL_FILE"}
        run(os.environ["SCOPEGATE"], "config", "check", "--config", directory + config, env=variables)
        shown = run(os.environ["SCOPEGATE"], "config", "show", "--config", directory + config, env=variables)
        assert "https://auth.example.com" in shown, shown


def the_sidecars_are_native(pod, names):
    sidecars = pod["initContainers"]
    assert [sidecar["name"] for sidecar in sidecars] == names
    for sidecar in sidecars:
        assert sidecar["restartPolicy"] == "Always" and sidecar["startupProbe"] and sidecar["livenessProbe"]
    assert sidecars[-1]["readinessProbe"]["grpc"]["service"] == "scopegate.v1.TokenService"


def they_meet_at_the_socket(pod, caller, configurations):
    [socket] = [volume for volume in pod["volumes"] if "emptyDir" in volume]
    assert socket["emptyDir"]["medium"] == "Memory" and socket["emptyDir"]["sizeLimit"]
    mounts = {
        container["name"]: mount["mountPath"]
        for container in containers(pod)
        for mount in container["volumeMounts"]
        if mount["name"] == socket["name"]
    }
    assert set(mounts) == {"scopegate", caller} and len(set(mounts.values())) == 1, mounts
    path = mounts["scopegate"] + "/grpc.sock"
    texts = [text for data in configurations.values() for text in data.values()]
    assert all(path in text for text in texts) and texts
    [called] = [container for container in containers(pod) if container["name"] == caller]
    assert caller == "envoy" or {"name": "SCOPEGATE", "value": f"unix:{path}"} in called["env"]


def services_lead_to_ports(pod, services):
    ports = {port["name"] for container in containers(pod) for port in container.get("ports", [])}
    wanted = {port["targetPort"] for service in services for port in service["spec"]["ports"]}
    assert len(services) == 2 and wanted <= ports, f"{wanted} of {ports}"


if __name__ == "__main__":
    main()
