"""What the stories about `bench compare` and `bench report` share: running the benchmark, and checking what it leaves behind."""

import contextlib
import subprocess
import sys
import traceback
from pathlib import Path

from story import BENCH, ROOT, SYNWARD, exit_on_signals, lab_name


def benchmark_story(run):
    """Calls `run(lab's name, variant)`; the benchmark builds the lab itself. A failed assertion is exit code 1."""
    exit_on_signals()
    try:
        run(lab_name(), sys.argv[1] if len(sys.argv) > 1 else None)
    except AssertionError:
        traceback.print_exc(file=sys.stdout)
        sys.exit(1)


@contextlib.contextmanager
def started(*arguments):
    """The benchmark as a process, which is stopped at the end."""
    process = subprocess.Popen([BENCH, *arguments, "--lab", ROOT / "deploy/lab", "--synward", SYNWARD],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def bench(*arguments):
    """The output of the benchmark, which must succeed."""
    with started(*arguments) as process:
        output, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


def nothing_is_left(lab):
    left = [*Path("/run/netns").glob(f"sw-{lab}-*"), *Path("/run/synward-lab").glob(lab)]
    assert not left, f"left behind: {left}"
