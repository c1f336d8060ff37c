"""`synward top` in a terminal: it shows a flood, keeps asking while no process runs, leaves the terminal as it was, and ends with it."""

import os
import re
import subprocess
from pathlib import Path

from story import ROOT, SYNWARD, START, story, wait_until

BESIDE_OTHERS = True
# The picture does not depend on who answers SYNs.
ONCE = "xdp"

# The page whose picture this story makes. SYNWARD_WRITE_PICTURES=1 writes it; otherwise its lines are compared.
PAGE = ROOT / "docs/top.md"
WRITE = os.environ.get("SYNWARD_WRITE_PICTURES") == "1"
BEGIN, END = "<!-- made by deploy/tests/38_top.py -->\n```\n", "```\n"
COLOUR = re.compile(r"\x1b\[[0-9;]*?\b(3[0-8]|4[0-8]|9[0-7])[;m]")


class Screen:
    """A terminal of tmux that runs `synward top` and then says how that ended."""

    def __init__(self, lab, synward, name, width=80, height=24, **environment):
        self.server = ["tmux", "-L", f"sw-{lab.name}-{name}", "-f", "/dev/null"]
        settings = [f"{key}={value}" for key, value in environment.items()]
        script = ('stty -g >"$3.before"; "$1" --control "$2" top; ended=$?; stty -g >"$3.after"; '
                  'echo "top ended: $ended"; exec sleep 60')
        self.states = lab.folder / f"{name}.stty"
        self.tmux("new-session", "-d", "-x", str(width), "-y", str(height), "env", *settings,
                  "sh", "-c", script, "sh", str(SYNWARD), str(synward.control), str(self.states))

    def tmux(self, *arguments):
        return subprocess.run([*self.server, *arguments], check=True, text=True, stdout=subprocess.PIPE).stdout

    def text(self, *options):
        return self.tmux("capture-pane", "-p", *options)

    def press(self, *keys):
        self.tmux("send-keys", *keys)

    def shows(self, pattern, seconds=START):
        """The picture, once it has a line like this."""
        def found():
            text = self.text()
            return text if re.search(pattern, text, re.M) else None
        try:
            return wait_until(f"top shows {pattern}", found, seconds)
        except TimeoutError:
            print(self.text())
            raise

    def is_restored(self):
        """Whether the terminal shows what it showed before, and reads lines as before."""
        text = self.shows(r"^top ended: 0$")
        assert "synward 0" not in text, f"the picture is still there:\n{text}"
        before, after = (Path(f"{self.states}.{when}").read_text() for when in ("before", "after"))
        assert before == after, f"the terminal's settings were {before}, and are {after}"

    def close(self):
        subprocess.run([*self.server, "kill-server"], stderr=subprocess.DEVNULL)


def run(lab, synward):
    screens = []

    def screen(*arguments, **settings):
        screens.append(Screen(lab, synward, *arguments, **settings))
        return screens[-1]

    try:
        shows_a_flood(lab, screen)
        survives_a_restart(synward, screen)
        ends_with_its_terminal(synward, screen)
    finally:
        for one in screens:
            one.close()


def shows_a_flood(lab, screen):
    top, plain = screen("top"), screen("plain", TERM="vt100", NO_COLOR="1")
    for one in (top, plain):
        one.shows(r"^> web +always +0 ")
    # Few enough that it is no attack, whose lines would come and go.
    flood = lab.flood(4, 80, 300, "--rate", "400")
    picture = top.shows(r"^> web +always +[1-9]\d{0,2} +[1-9]\d{0,2} +0 ")
    compare(top)
    print(picture)
    top.press("s")
    top.shows(r"^q quit  s sort \(by answers/s\)")
    plain.shows(r"^> web +always +[1-9]\d{0,2} ")
    assert COLOUR.search(top.text("-e")), "no colours in a terminal that has some"
    assert not COLOUR.search(plain.text("-e")), "colours in spite of NO_COLOR and TERM=vt100"
    flood.report()
    top.press("q")
    plain.press("C-c")
    for one in (top, plain):
        one.is_restored()


def survives_a_restart(synward, screen):
    top = screen("restart", 132, 40)
    top.shows(r"synward \S+ serving")
    synward.stop()
    top.shows(r"^NO ANSWER for .*not running")
    synward.start()
    top.shows(r"synward \S+ serving")
    wait_until("the message is gone", lambda: "NO ANSWER" not in top.text())
    top.press("Escape")
    top.is_restored()


def ends_with_its_terminal(synward, screen):
    """As when the connection of ssh is lost: the process does not stay behind."""
    top = screen("gone")
    top.shows(r"synward \S+ serving")
    running = lambda: subprocess.run(["pgrep", "-f", f"{synward.control} top$"], stdout=subprocess.PIPE).stdout.split()
    assert len(running()) == 1, running()
    top.close()
    wait_until("top has ended", lambda: not running())


def compare(top):
    """The page shows this picture: lines with the same beginnings. Numbers and workers depend on the machine."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    old, _, after = rest.partition(END)
    if WRITE:
        PAGE.write_text(before + BEGIN + top.text().rstrip() + "\n" + END + after)
        return
    try:
        # tmux may show a picture that top is still drawing.
        wait_until("the same picture", lambda: shape(top.text()) == shape(old))
    except TimeoutError:
        raise AssertionError(f"docs/top.md shows\n{old}and top\n{top.text()}: SYNWARD_WRITE_PICTURES=1 renews the page") from None


def shape(picture):
    return re.findall(r"^[>a-z]+", picture, re.M)


story(run)
