"""While the kernel forwards nothing, or a link is down, `status`, `/readyz` and the log say so with the cure: "serving" means that
connections get through."""

from story import story, wait_until

# The watch is the same for each responder.
ONCE = "xdp"
BESIDE_OTHERS = True
# Family → the key that turns its forwarding on.
KEYS = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}


def run(lab, synward):
    if synward.responder == "none":
        return
    for family, key in KEYS.items():
        lab.pair(family)
        lab.run("edge", "sysctl", "-qw", f"{key}=0")
        degraded(synward, f"forwards no IPv{family} from out0", f"sysctl -w {key}=1")
        lab.run("edge", "sysctl", "-qw", f"{key}=1")
        wait_until("it serves", lambda: synward.command("status")[0] == 0)
        lab.pair(family)
    lab.run("client", "ip", "link", "set", "client0", "down")
    degraded(synward, "out0 has no carrier")
    lab.run("client", "ip", "link", "set", "client0", "up")
    wait_until("it serves", lambda: synward.command("status")[0] == 0)


def degraded(synward, *words):
    """`status`, `/readyz` and the log have these words."""
    def is_said():
        code, text = synward.command("status")
        return code == 3 and all(word in text for word in words)

    def is_unready():
        http, page = synward.get("/readyz")
        return http == 503 and all(word in page for word in words)

    wait_until(f"it is degraded: {words}", is_said, 60)
    wait_until(f"/readyz says so: {words}", is_unready)
    wait_until(f"the log says so: {words}", lambda: all(word in synward.process.output() for word in words))


story(run)
