"""Reads a line of JSON each, and prints its canonical form by securesystemslib in hexadecimal digits."""

import json
import sys

from securesystemslib.formats import encode_canonical

for line in sys.stdin:
    print(encode_canonical(json.loads(line)).encode().hex())
