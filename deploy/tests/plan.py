"""Which stories run, and how: prints `story, variant, alone or beside`, a line each, separated by tabs.

    plan.py fast|usual|full

A story's file may say, as constants at its top:

    VARIANTS = ("ipv4", "ipv6")   its variants, passed on the command line; by default the responders "afxdp" and "xdp"
    ONCE = "xdp"                  the variant that is enough except with --full, with the reason in the line above
    BESIDE_OTHERS = True          other tests may run at the same time: it neither fills the cores nor measures time
"""

import ast
import sys
from pathlib import Path


def main():
    size = sys.argv[1]
    assert size in ("fast", "usual", "full"), size
    for path in sorted(Path(__file__).parent.glob("[0-9]*.py")):
        settings = constants(path)
        variants = settings.get("VARIANTS", ("afxdp", "xdp"))
        if "ONCE" in settings and size != "full":
            assert settings["ONCE"] in variants, path
            variants = (settings["ONCE"],)
        for variant in variants:
            print(path.stem, variant, "beside" if settings.get("BESIDE_OTHERS") else "alone", sep="\t")


def constants(path):
    """The constants that this program reads from a story, without running it."""
    found = {}
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Assign) and isinstance(name := statement.targets[0], ast.Name):
            if name.id in ("VARIANTS", "ONCE", "BESIDE_OTHERS"):
                found[name.id] = ast.literal_eval(statement.value)
    return found


main()
