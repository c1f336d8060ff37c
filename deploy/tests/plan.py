"""Which stories run, and how: prints `story, variant, alone or beside`, a line each, separated by tabs.

    plan.py fast|usual|full

A story's file may say, as constants at its top:

    VARIANTS = ("ipv4", "ipv6")   its variants, passed on the command line; by default the responders "afxdp" and "xdp"
    ONCE = "xdp"                  the variant that is enough except with --full, with the reason in the line above
    BESIDE_OTHERS = True          other tests may run at the same time: it neither fills the cores nor measures time;
                                  "usual": except with --full
    ONLY_FULL = True              it runs only with --full: another story has its usual form, named in the line above
    NOT_FAST = True               --fast leaves it out, for the reason in the line above

With --fast, a story that the usual run runs with both responders runs with one: "xdp" if its number is even, "afxdp" if it is odd.
"""

import ast
import sys
from pathlib import Path


RESPONDERS = ("afxdp", "xdp")
CONSTANTS = ("VARIANTS", "ONCE", "BESIDE_OTHERS", "ONLY_FULL", "NOT_FAST")


def main():
    size = sys.argv[1]
    assert size in ("fast", "usual", "full"), size
    for path in sorted(Path(__file__).parent.glob("[0-9]*.py")):
        settings = constants(path)
        if settings.get("ONLY_FULL") and size != "full" or settings.get("NOT_FAST") and size == "fast":
            continue
        variants = settings.get("VARIANTS", RESPONDERS)
        if "ONCE" in settings and size != "full":
            assert settings["ONCE"] in variants, path
            variants = (settings["ONCE"],)
        elif variants == RESPONDERS and size == "fast":
            variants = ("afxdp" if number(path) % 2 else "xdp",)
        beside = settings.get("BESIDE_OTHERS")
        assert beside in (None, True, "usual"), path
        place = "beside" if beside is True or beside and size != "full" else "alone"
        for variant in variants:
            print(path.stem, variant, place, sep="\t")


def number(path):
    """The number at the beginning of a story's name."""
    return int(path.stem.partition("_")[0])


def constants(path):
    """The constants that this program reads from a story, without running it."""
    found = {}
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Assign) and isinstance(name := statement.targets[0], ast.Name):
            if name.id in CONSTANTS:
                found[name.id] = ast.literal_eval(statement.value)
    return found


main()
