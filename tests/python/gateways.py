"""What `deploy/` has for gateways in Kubernetes, judged by the schemas of the gateways, which tests/schemas/go.mod pins.

The first thing that is not so ends it with a failure.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from jsonschema import Draft4Validator

ROOT = Path(__file__).parents[2]
SCOPES = {"orders:read", "orders:read orders:write"}


def main():
    modules = downloaded()
    gateway, contour, istio = (
        modules[name] for name in ("github.com/envoyproxy/gateway", "github.com/projectcontour/contour", "istio.io/api"))
    crds = gateway / "charts/gateway-helm/charts/crds/crds"
    envoy_gateway = fits("envoy-gateway", [crds / "gatewayapi-crds.yaml", *sorted((crds / "generated").glob("*.yaml"))])
    contour = fits("contour", [contour / "examples/contour/01-crds.yaml"])
    istio_pod = fits("istio", [istio / "kubernetes/customresourcedefinitions.gen.yaml"])
    gloo = [(found, GLOO[found["kind"]]) for found in read("gloo/orders.yaml")]
    for found, schema in gloo:
        validate(found, schema)

    envoy_gateway_is_closed(envoy_gateway)
    contour_is_closed(contour)
    istio_is_closed(istio_pod, mesh_config(istio))
    gloo_is_closed([found for found, _ in gloo])


def downloaded():
    """The directories of the modules."""
    done = subprocess.run(["go", "mod", "download", "-json"], cwd=ROOT / "tests/schemas", capture_output=True, text=True)
    assert done.returncode == 0, f"go mod download: {done.stdout}{done.stderr}"
    decoder, text, modules = json.JSONDecoder(), done.stdout, {}
    while text.strip():
        module, end = decoder.raw_decode(text.lstrip())
        modules[module["Path"]], text = Path(module["Dir"]), text.lstrip()[end:]
    return modules


def read(path):
    return [found for found in yaml.safe_load_all((ROOT / "deploy" / path).read_text()) if found]


def fits(directory, definitions):
    """The objects of a gateway, each as its CustomResourceDefinition has it."""
    schemas = {}
    for file in definitions:
        for definition in yaml.safe_load_all(file.read_text()):
            if definition and definition["kind"] == "CustomResourceDefinition":
                spec = definition["spec"]
                for version in spec["versions"]:
                    key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
                    schemas[key] = version["schema"]["openAPIV3Schema"] if version["served"] else None
    objects = read(f"{directory}/orders.yaml")
    for found in objects:
        validate(found, schemas[(found["apiVersion"], found["kind"])])
    return objects


def validate(found, schema):
    # What every object has, and not every schema.
    schema = {**schema, "properties": {"apiVersion": {}, "kind": {}, "metadata": {}, **schema["properties"]}}
    for error in Draft4Validator(strict(schema)).iter_errors(found):
        raise AssertionError(f"{found['kind']} {found['metadata']['name']}: {error.json_path}: {error.message}")


def strict(schema):
    """The same, but what it does not know is refused, where a cluster would only leave it out."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    known = made.get("properties")
    if isinstance(known, dict) and "type" in schema and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
        # A cluster fills these in first.
        made["required"] = [name for name in made.get("required", []) if "default" not in known.get(name, {})]
        if not made["required"]:
            del made["required"]
    return made


def mesh_config(istio):
    """`meshConfig` of deploy/istio, as Istio reads it: protobuf in JSON, which knows no other keys."""
    [values] = read("istio/mesh.yaml")
    assert set(values) == {"meshConfig"}, values.keys()
    with tempfile.TemporaryDirectory() as directory:
        described = Path(directory, "mesh")
        run = [sys.executable, "-m", "grpc_tools.protoc", f"-I{istio}", f"-I{istio / 'common-protos'}", "--include_imports",
               f"--descriptor_set_out={described}", "mesh/v1alpha1/config.proto"]
        done = subprocess.run(run, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        files = descriptor_pb2.FileDescriptorSet.FromString(described.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName("istio.mesh.v1alpha1.MeshConfig"))
    return json_format.ParseDict(values["meshConfig"], message(), descriptor_pool=pool)


def only(objects, kind):
    return [found["spec"] for found in objects if found["kind"] == kind]


def envoy_gateway_is_closed(objects):
    [route] = only(objects, "HTTPRoute")
    rules, said, targets = [rule["name"] for rule in route["rules"]], set(), []
    for policy in only(objects, "SecurityPolicy"):
        asked = policy["extAuth"]
        assert asked["failOpen"] is False and asked["timeout"] == "200ms" and asked["statusOnError"] == 503
        assert asked["grpc"]["backendRefs"] == [{"name": "scopegate", "port": 50051}]
        for extension in asked.get("contextExtensions", []):
            assert extension["name"] == "required_scopes"
            said.add(extension["value"])
        targets += policy["targetRefs"]
    # Also a rule without a policy of its own is checked.
    assert [target["name"] for target in targets if target["kind"] == "Gateway"] == [route["parentRefs"][0]["name"]]
    sections = [target["sectionName"] for target in targets if target["kind"] == "HTTPRoute"]
    assert set(sections) < set(rules) and len(sections) == len(set(sections)), sections
    assert said == SCOPES, said
    [clients] = only(objects, "ClientTrafficPolicy")
    assert clients["headers"]["earlyRequestHeaders"]["removeOnMatch"] == [{"type": "Prefix", "value": "x-auth-"}]


def contour_is_closed(objects):
    [service], [proxy] = only(objects, "ExtensionService"), only(objects, "HTTPProxy")
    asked = proxy["virtualhost"]["authorization"]
    assert asked["failOpen"] is False and asked["responseTimeout"] == service["timeoutPolicy"]["response"] == "200ms"
    assert asked["extensionRef"] == {"name": "scopegate"} and proxy["virtualhost"]["tls"]
    policies = [route.get("authPolicy", {}) for route in proxy["routes"]]
    assert {policy["context"]["required_scopes"] for policy in policies if "context" in policy} == SCOPES
    assert not any("disabled" in policy for policy in policies) and not any(route.get("permitInsecure") for route in proxy["routes"])


def istio_is_closed(objects, mesh):
    [policy], [entry], [rule] = only(objects, "AuthorizationPolicy"), only(objects, "ServiceEntry"), only(objects, "DestinationRule")
    [provider] = mesh.extension_providers
    asked = provider.envoy_ext_authz_grpc
    assert policy["action"] == "CUSTOM" and policy["provider"]["name"] == provider.name and policy["rules"] == [{}]
    assert not asked.fail_open and asked.status_on_error == "503" and asked.timeout.ToMilliseconds() == 200
    assert entry["hosts"] == [rule["host"]] == [asked.service] and entry["ports"][0]["number"] == asked.port
    assert entry["endpoints"] == [{"address": "127.0.0.1"}]


def gloo_is_closed(objects):
    [upstream], [settings], [service] = only(objects, "Upstream"), only(objects, "Settings"), only(objects, "VirtualService")
    asked = settings["extauth"]
    assert asked["failureModeAllow"] is False and asked["requestTimeout"] == "0.2s" and asked["statusOnError"] == 503
    assert upstream["useHttp2"] is True and asked["extauthzServerRef"]["name"] == "scopegate"
    host = service["virtualHost"]
    assert host["options"]["extauth"] == {"customAuth": {}}, "what is not said to be checked is open"
    said = [route["options"]["extauth"]["customAuth"]["contextExtensions"] for route in host["routes"] if "options" in route]
    assert {extensions["required_scopes"] for extensions in said} == SCOPES


def of(**properties):
    return {"type": "object", "properties": properties, "additionalProperties": False}


def list_of(item):
    return {"type": "array", "items": item}


# What deploy/gloo uses of https://docs.solo.io/gloo-edge/latest/reference/api: no registry has the schemas of Gloo.
TEXT, NUMBER, SWITCH = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
REFERENCE = of(name=TEXT, namespace=TEXT)
EXTAUTH = of(extauth=of(customAuth=of(contextExtensions={"type": "object", "additionalProperties": TEXT}), disable=SWITCH))


def gloo_object(group, spec):
    return of(apiVersion={"enum": [group]}, kind=TEXT, metadata=REFERENCE, spec=spec)


GLOO = {
    "Upstream": gloo_object("gloo.solo.io/v1", of(
        useHttp2=SWITCH,
        kube=of(serviceName=TEXT, serviceNamespace=TEXT, servicePort=NUMBER),
        sslConfig=of(secretRef=REFERENCE, sni=TEXT, verifySubjectAltName=list_of(TEXT)))),
    "Settings": gloo_object("gloo.solo.io/v1", of(extauth=of(
        extauthzServerRef=REFERENCE, failureModeAllow=SWITCH, statusOnError=NUMBER, requestTimeout=TEXT,
        transportApiVersion={"enum": ["V3"]}))),
    "VirtualService": gloo_object("gateway.solo.io/v1", of(virtualHost=of(
        domains=list_of(TEXT),
        options=EXTAUTH,
        routes=list_of(of(
            matchers=list_of(of(prefix=TEXT, methods=list_of(TEXT))),
            options=EXTAUTH,
            routeAction=of(single=of(upstream=REFERENCE))))))),
}


if __name__ == "__main__":
    main()
