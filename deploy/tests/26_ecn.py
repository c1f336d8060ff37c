"""Client and server negotiate explicit congestion notification through a splice."""

from ecn import check_ecn
from story import story

BESIDE_OTHERS = True

story(check_ecn, lab=("--no-nginx",))
