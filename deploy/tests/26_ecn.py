"""Explicit congestion notification through a splice."""

from ecn import check_ecn
from story import story

story(check_ecn, lab=("--no-nginx",))
