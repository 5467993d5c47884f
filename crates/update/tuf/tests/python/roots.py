"""Verifies and signs root metadata with python-tuf.

roots.py verify FILE...
    Verifies a chain of roots, the first by its own keys. Prints the version and the names of the root keys that signed
    the last one. Exit code 2 for a root that is refused.
roots.py sign FILE KEY_ID SEED
    Adds the signature of an ed25519 key, whose seed is given in hexadecimal digits.
"""

import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root


def verify(paths: list[str]) -> int:
    previous = None
    for path in paths:
        metadata = Metadata[Root].from_file(path)
        root = metadata.signed
        result = root.get_root_verification_result(previous, metadata.signed_bytes, metadata.signatures)
        if not result or root.version != (previous.version + 1 if previous else 1):
            print(f"{path} is refused", file=sys.stderr)
            return 2
        previous = root
    names = [key.unrecognized_fields["x-keelson-name"] for key in result.signed.values()]
    print(root.version, *sorted(names))
    return 0


def sign(path: str, key_id: str, seed: str) -> int:
    metadata = Metadata[Root].from_file(path)
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    metadata.sign(CryptoSigner(private, metadata.signed.keys[key_id]), append=True)
    metadata.to_file(path)
    return 0


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    sys.exit(verify(arguments) if command == "verify" else sign(*arguments))
