"""Importing this module lets any python3 find the modules of Debian's packages (python3-yaml, python3-jsonschema)."""

import sys

sys.path.append("/usr/lib/python3/dist-packages")
