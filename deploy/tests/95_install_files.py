"""The units of deploy/systemd are valid and as confined as docs/install.md says, and what they call exists."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from story import ROOT, SYNWARD

# No program is in the path of a packet.
VARIANTS = ("files",)
BESIDE_OTHERS = True

UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))


def output(*command):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}"
    return done.stdout


def units_are_valid(folder):
    documented = (ROOT / "docs/install.md").read_text()
    for unit in UNITS:
        copy = Path(folder) / unit.name
        copy.write_text(unit.read_text().replace("/usr/bin/synward ", f"{SYNWARD} "))
    for unit in UNITS:
        copy = Path(folder) / unit.name
        said = output("systemd-analyze", "verify", "--man=no", copy)
        # It also reports units of this machine.
        assert unit.stem not in said, said
        rating = output("systemd-analyze", "security", "--offline=yes", "--no-pager", copy).splitlines()[-1]
        exposure = re.search(r": (\d+\.\d)", rating)[1]
        print(f"{unit.name}: exposure {exposure}")
        assert f"`{unit.name}` at {exposure}" in documented, f"docs/install.md has another rating than {rating}"


def commands_exist(files):
    """What the files call is a command of synward, with options that it has."""
    found = set()
    for file in files:
        found |= set(re.findall(r"^Exec\w+=/usr/bin/synward (.*)$", file.read_text(), re.MULTILINE))
    assert found, files
    for arguments in found:
        command, *options = arguments.split()
        text = output(SYNWARD, command, "--help")
        for option in options:
            assert not option.startswith("--") or option in text, f"synward {command} has no {option}"


if not shutil.which("systemd-analyze"):
    raise SystemExit("systemd-analyze is not installed: apt-get install systemd")
with tempfile.TemporaryDirectory() as temporary:
    units_are_valid(temporary)
commands_exist(UNITS)
