"""The server's access log shows the client's own address."""

import re
import subprocess

from story import CLIENT, SERVER, same_address, story, wait_until

# A spliced connection does not depend on who answered its SYN.
ONCE = "xdp"
BESIDE_OTHERS = True


def run(lab, synward):
    for family, host in (4, SERVER[4]), (6, f"[{SERVER[6]}]"):
        agent = f"story-{family}"
        with lab.inside("client"):
            subprocess.run(["curl", "--silent", "--fail", "--max-time", "10", "--user-agent", agent,
                            "--output", "/dev/null", f"http://{host}/1m"], check=True)
        line = wait_until(f"the access log has {agent}", lambda: re.search(f".*{agent}.*", access_log(lab)))[0]
        print(line)
        assert same_address(line.split()[0], CLIENT[family]), f"this is not {CLIENT[family]}: {line}"
    synward.carried(2)


def access_log(lab):
    return (lab.nginx / "access.log").read_text()


story(run)
