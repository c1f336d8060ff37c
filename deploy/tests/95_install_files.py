"""The files that install synward are valid, and agree with each other and with the program: units of systemd, the image, the
objects for Kubernetes."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import debian_modules  # noqa: F401
import yaml
from story import ROOT, SKIPPED, SYNWARD

# No program is in the path of a packet.
VARIANTS = ("files",)
BESIDE_OTHERS = True

UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
IMAGE = ROOT / "deploy/container/Dockerfile"
KUBERNETES = ROOT / "deploy/kubernetes"
# deploy/setup --package installs kubectl and kubernetes-validate there.
TOOLS = Path("~/.cache/synward/kubernetes-tools/bin").expanduser()


def main():
    if not shutil.which("systemd-analyze"):
        print("systemd-analyze is not installed: apt-get install systemd")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory() as folder:
        units_are_valid(Path(folder))
        configurations_are_valid(Path(folder))
    objects = kubernetes_objects()
    ports_agree(objects)
    with tempfile.TemporaryDirectory() as folder:
        rendered_are_valid(Path(folder))
    commands = {command for unit in UNITS for command in re.findall(r"^Exec\w+=\+?/usr/bin/synward (.*)$", unit.read_text(), re.M)}
    commands |= {command for _, container in containers(objects) for command in calls(container)}
    commands |= {" ".join(yaml.safe_load(words)[1 if "bin" in words else 0:])
                 for words in re.findall(r"CMD (\[.*\])", IMAGE.read_text())}
    commands_exist(commands)
    capabilities_agree(objects)


def output(*command):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}"
    return done.stdout


# ---- systemd

def units_are_valid(folder):
    documented = (ROOT / "docs/install.md").read_text()
    copies = [folder / unit.name for unit in UNITS]
    for unit, copy in zip(UNITS, copies):
        copy.write_text(unit.read_text().replace("/usr/bin/synward ", f"{SYNWARD} "))
    for copy in copies:
        said = output("systemd-analyze", "verify", "--man=no", copy)
        # It also reports units of this machine.
        assert "synward" not in said, said
        rating = output("systemd-analyze", "security", "--offline=yes", "--no-pager", copy).splitlines()[-1]
        exposure = re.search(r": (\d+\.\d)", rating)[1]
        print(f"{copy.name}: exposure {exposure}")
        assert f"`{copy.name}` at {exposure}" in documented, f"docs/install.md has another rating than: {rating}"


# ---- Kubernetes

def kubernetes_objects():
    """All objects that the kustomizations name, by path."""
    objects = {}
    for file in sorted(KUBERNETES.glob("*/kustomization.yaml")):
        settings = yaml.safe_load(file.read_text())
        named = [name for name in settings.get("resources", ()) if not (file.parent / name).is_dir()]
        generated = [name for one in settings.get("configMapGenerator", ()) for name in one["files"]]
        there = {path.name for path in file.parent.iterdir()} - {file.name}
        assert there == {*named, *generated}, f"{file} names {named + generated}, and there are {sorted(there)}"
        for name in named:
            objects[file.parent / name] = yaml.safe_load((file.parent / name).read_text())
    return objects


def rendered_are_valid(folder):
    """What `kubectl apply -k` would send."""
    if not (TOOLS / "kubectl").exists():
        print(f"not rendered or validated: there is no {TOOLS}/kubectl: deploy/setup --package installs it")
        return
    rendered = {}
    image = yaml.safe_load((KUBERNETES / "image/kustomization.yaml").read_text())["images"][0]
    image = f"{image['newName']}:{image['newTag']}"
    for file in sorted(KUBERNETES.glob("*/kustomization.yaml")):
        name = file.parent.name
        if name == "image":
            continue
        objects = list(yaml.safe_load_all(output(TOOLS / "kubectl", "kustomize", file.parent)))
        rendered[name] = {one["kind"]: one for one in objects}
        assert all(one["kind"] == "Namespace" or one["metadata"].get("namespace") == "synward" for one in objects), objects
        # A deletion of anything else must not take along what runs in the namespace, such as the pods of unload.
        assert any(one["kind"] == "Namespace" for one in objects) == (name == "namespace"), f"{name}: {objects}"
        rendered_images = {container["image"] for _, container in containers(dict(enumerate(objects)))}
        assert rendered_images <= {image}, f"{name}: {rendered_images}, and image/ says {image}"
        known = [one for one in objects if not one["apiVersion"].startswith("monitoring.")]
        if known:
            (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(known))
            print(output(TOOLS / "kubernetes-validate", "--strict", folder / f"{name}.yaml").strip())
        print(f"{name}: {', '.join(rendered[name])}")
    base, local = rendered["base"], rendered["local"]
    pod = base["DaemonSet"]["spec"]["template"]["spec"]
    mounted = {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
    assert mounted == {base["ConfigMap"]["metadata"]["name"]} != {"synward"}, mounted
    # What the patch for local services removes.
    del pod["containers"][0]["lifecycle"]
    assert base == local, f"local is not base without its drain: {local}"


def ports_agree(objects):
    container = objects[KUBERNETES / "base/daemonset.yaml"]["spec"]["template"]["spec"]["containers"][0]
    names = {port["name"] for port in container["ports"]}
    probes = [container[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert {probe["port"] for probe in probes} == names == {"metrics"}
    settings = (KUBERNETES / "base/synward.toml").read_text()
    assert f':{container["ports"][0]["containerPort"]}"' in settings
    monitor = objects[KUBERNETES / "monitoring/podmonitor.yaml"]["spec"]
    labels = objects[KUBERNETES / "base/daemonset.yaml"]["spec"]["template"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"] == labels
    assert {point["port"] for point in monitor["podMetricsEndpoints"]} == names


def containers(objects):
    for path, one in objects.items():
        pod = one["spec"].get("template", {}).get("spec", {}) if one["kind"] == "DaemonSet" else {}
        for container in pod.get("initContainers", []) + pod.get("containers", []):
            yield path, container


def calls(container):
    """The commands of synward that a container runs."""
    if "args" in container:
        yield " ".join(container["args"])
    if stop := container.get("lifecycle", {}).get("preStop"):
        yield " ".join(stop["exec"]["command"][1:])


# ---- what they share

def configurations_are_valid(folder):
    """A node's file is valid once its secret exists; the image's and the package's lack interfaces and services only."""
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text(output(SYNWARD, "secret"))
    node = folder / "node.toml"
    node.write_text((KUBERNETES / "base/synward.toml").read_text().replace("/etc/synward-secret/secret", str(secret)))
    output(SYNWARD, "check", "--config", node)
    for file in ROOT / "deploy/container/synward.toml", ROOT / "deploy/package.d/synward.toml":
        problems = subprocess.run([SYNWARD, "check", "--config", file], text=True, stdout=subprocess.PIPE).stdout.splitlines()
        assert len(problems) == 2 and all(re.search(r"no \[\[(interface|service)\]\]", one) for one in problems), problems


def commands_exist(commands):
    """What the files call is a command of synward, with options that it has."""
    for words in sorted(commands):
        command, *options = words.split()
        text = output(SYNWARD, command, "--help")
        missing = [option for option in options if option.startswith("--") and option not in text]
        assert not missing, f"synward {command} has no {' '.join(missing)}"
    print("commands:", *sorted(commands), sep="\n  ")


def capabilities_agree(objects):
    unit = (ROOT / "deploy/systemd/synward.service").read_text()
    wanted = set(re.search(r"^CapabilityBoundingSet=(.*)$", unit, re.M)[1].split())
    pod = objects[KUBERNETES / "base/daemonset.yaml"]["spec"]["template"]["spec"]["containers"][0]
    granted = {f"CAP_{name}" for name in pod["securityContext"]["capabilities"]["add"]}
    command = re.search(r"^ +docker run --detach(.*\\\n)*.*", (ROOT / "docs/install.md").read_text(), re.M)[0]
    command = set(re.findall(r"--cap-add (\w+)", command))
    assert wanted == granted == {f"CAP_{name}" for name in command}, (wanted, granted, command)


main()
