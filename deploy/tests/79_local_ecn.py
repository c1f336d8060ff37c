"""A client negotiates explicit congestion notification with the kernel of synward's own machine."""

from ecn import check_ecn
from story import local_story

BESIDE_OTHERS = True

local_story(check_ecn)
