"""Moves interfaces to another network namespace and back, as they were."""

import contextlib
import json


@contextlib.contextmanager
def elsewhere(lab, interfaces):
    """Inside of it, the interfaces, each with its role, are in another namespace, which is the lab's, too."""
    away = f"sw-{lab.name}-away"
    before = [(role, name, settings(lab, role, name)) for role, name in interfaces]
    lab.run("edge", "ip", "netns", "add", away)
    try:
        for role, name in interfaces:
            lab.run(role, "ip", "link", "set", name, "netns", away)
        yield
        for role, name, commands in before:
            lab.run("away", "ip", "link", "set", name, "netns", f"sw-{lab.name}-{role}")
            lab.run(role, "ip", "link", "set", name, "up")
            for command in commands:
                lab.run(role, *command)
    finally:
        lab.run("edge", "ip", "netns", "del", away)


def settings(lab, role, name):
    """The commands that give an interface its addresses, routes and permanent neighbours."""
    def listed(*command):
        return json.loads(lab.run(role, "ip", "-j", *command, "dev", name))

    commands = []
    for address in listed("addr", "show")[0]["addr_info"]:
        if address["scope"] == "global":
            flags = ("nodad",) if address["family"] == "inet6" else ()
            commands.append(("addr", "replace", f"{address['local']}/{address['prefixlen']}", "dev", name, *flags))
    for family in "-4", "-6":
        for route in listed(family, "route", "show"):
            if route.get("protocol") not in ("kernel", "ra"):
                via = ("via", route["gateway"]) if "gateway" in route else ()
                commands.append((family, "route", "replace", route["dst"], *via, "dev", name))
    for neighbour in listed("neigh", "show", "nud", "permanent"):
        if "lladdr" in neighbour:
            commands.append(("neigh", "replace", neighbour["dst"], "lladdr", neighbour["lladdr"], "dev", name,
                             "nud", "permanent"))
    return [("ip", *command) for command in commands]
