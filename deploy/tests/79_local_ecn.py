"""Explicit congestion notification with this machine's own kernel."""

from ecn import check_ecn
from story import local_story

BESIDE_OTHERS = True

local_story(check_ecn)
