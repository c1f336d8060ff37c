"""The files that install synward are valid, and agree with each other and with the program: units of systemd, the image, the
objects for Kubernetes."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# Debian's python3-yaml, also for another python3 than Debian's.
sys.path.append("/usr/lib/python3/dist-packages")
import yaml  # noqa: E402

from story import ROOT, SKIPPED, SYNWARD

# No program is in the path of a packet.
VARIANTS = ("files",)
BESIDE_OTHERS = True

UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
IMAGE = ROOT / "deploy/container/Dockerfile"
KUBERNETES = ROOT / "deploy/kubernetes"
# deploy/setup --package installs it.
VALIDATE = Path("~/.cache/synward/kubernetes-validate/bin/kubernetes-validate").expanduser()


def main():
    if not shutil.which("systemd-analyze"):
        print("systemd-analyze is not installed: apt-get install systemd")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory() as folder:
        units_are_valid(Path(folder))
        configurations_are_valid(Path(folder))
    objects = kubernetes_objects()
    commands = {command for unit in UNITS for command in re.findall(r"^Exec\w+=/usr/bin/synward (.*)$", unit.read_text(), re.M)}
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
        named = [name for name in settings["resources"] if not (file.parent / name).is_dir()]
        generated = [name for one in settings.get("configMapGenerator", ()) for name in one["files"]]
        there = {path.name for path in file.parent.iterdir()} - {file.name}
        assert there == {*named, *generated}, f"{file} names {named + generated}, and there are {sorted(there)}"
        for name in named:
            objects[file.parent / name] = yaml.safe_load((file.parent / name).read_text())
    daemon_set = objects[KUBERNETES / "base/daemonset.yaml"]
    # What the patch for local services removes is there.
    patch = yaml.safe_load(yaml.safe_load((KUBERNETES / "local/kustomization.yaml").read_text())["patches"][0]["patch"])
    place = daemon_set
    for step in patch[0]["path"].strip("/").split("/"):
        place = place[int(step) if step.isdigit() else step]
    if VALIDATE.exists():
        known = [path for path, one in objects.items() if not one["apiVersion"].startswith("monitoring.")]
        print(output(VALIDATE, "--strict", *known))
    else:
        print(f"not validated against Kubernetes' schemas: there is no {VALIDATE}: deploy/setup --package installs it")
    ports_agree(objects, daemon_set["spec"]["template"]["spec"]["containers"][0])
    return objects


def ports_agree(objects, container):
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
    command = set(re.findall(r"--cap-add[ =](\w+)", (ROOT / "docs/install.md").read_text()))
    assert wanted == granted == {f"CAP_{name}" for name in command}, (wanted, granted, command)


main()
