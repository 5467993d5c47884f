"""Makes repositories with python-tuf.

make_repository.py DIR consistent|plain   metadata/ and targets/ below DIR; the client's first root is DIR/first.root.json
make_repository.py DIR keys               TYPE.VERSION.root.json: roots with keys of each type
"""

import hashlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

EXPIRES = datetime(2099, 12, 31, tzinfo=UTC)
ONLINE = ["timestamp", "snapshot"]


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def signed(content, signers) -> bytes:
    metadata = Metadata(content)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


class Builder:
    def __init__(self, folder: Path, consistent: bool):
        self.folder, self.consistent = folder, consistent
        self.snapshot = Snapshot(expires=EXPIRES, meta={})

    def metadata(self, role: str, content, signers, versioned: bool) -> MetaFile:
        data = signed(content, signers)
        prefix = f"{content.version}." if versioned else ""
        write(self.folder / "metadata" / f"{prefix}{quote(role, '')}.json", data)
        return MetaFile(content.version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})

    def targets(self, role: str, content, signers) -> None:
        self.snapshot.meta[f"{role}.json"] = self.metadata(role, content, signers, self.consistent)

    def target(self, targets: Targets, path: str, content: bytes, algorithms=None) -> None:
        file = TargetFile.from_data(path, content, algorithms)
        targets.targets[path] = file
        folder, _, name = path.rpartition("/")
        prefixes = [f"{digest}." for digest in file.hashes.values()] if self.consistent else [""]
        for prefix in prefixes:
            write(self.folder / "targets" / folder / f"{prefix}{name}", content)


def roots(builder: Builder, online, offline) -> None:
    """Three versions: the second one replaces a root key, the third one the targets key."""
    keys = [CryptoSigner.generate_ed25519(), CryptoSigner.generate_ecdsa(), CryptoSigner.generate_rsa()]
    new = CryptoSigner.generate_ed25519()
    root = Root(expires=EXPIRES, consistent_snapshot=builder.consistent)
    root.roles["root"].threshold = 2
    for key in keys:
        root.add_key(key.public_key, "root")
    for role in ONLINE:
        root.add_key(online.public_key, role)
    old_targets = CryptoSigner.generate_ed25519()
    root.add_key(old_targets.public_key, "targets")
    write(builder.folder / "first.root.json", signed(root, keys[:2]))
    builder.metadata("root", root, keys[:2], True)
    root.version = 2
    root.revoke_key(keys[0].public_key.keyid, "root")
    root.add_key(new.public_key, "root")
    builder.metadata("root", root, keys, True)
    root.version = 3
    root.revoke_key(old_targets.public_key.keyid, "targets")
    root.add_key(offline.public_key, "targets")
    root.unrecognized_fields["x-note"] = {"ä": ["\"\\\x07", 1, None, True]}
    builder.metadata("root", root, [keys[1], new], True)


def repository(folder: Path, consistent: bool) -> None:
    online, offline, channel = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
    bins = CryptoSigner.generate_ecdsa()
    builder = Builder(folder, consistent)
    roots(builder, online, offline)
    top = Targets(expires=EXPIRES)
    builder.target(top, "top.txt", b"top")
    builder.target(top, "both.txt", b"both", ["sha256", "sha512"])
    alpha = DelegatedRole("channel/alpha", [], 1, True, ["releases/*/*"])
    prefixes = [f"{digit:x}" for digit in range(16)]
    binned = DelegatedRole("?bin", [], 1, False, None, prefixes)
    top.delegations = Delegations({}, {role.name: role for role in (alpha, binned)})
    top.add_key(channel.public_key, "channel/alpha")
    top.add_key(bins.public_key, "?bin")
    builder.targets("targets", top, [offline])
    delegated = Targets(expires=EXPIRES)
    builder.target(delegated, "releases/1.2.3/a b.raw", b"delegated")
    builder.targets("channel/alpha", delegated, [channel])
    hashed = Targets(expires=EXPIRES)
    builder.target(hashed, "anything", b"binned", ["sha512"])
    builder.targets("?bin", hashed, [bins])
    meta = builder.metadata("snapshot", builder.snapshot, [online], consistent)
    builder.metadata("timestamp", Timestamp(expires=EXPIRES, snapshot_meta=meta), [online], False)


def keys(folder: Path) -> None:
    for kind, generate in [("ecdsa", CryptoSigner.generate_ecdsa), ("rsa", CryptoSigner.generate_rsa)]:
        first, other = CryptoSigner.generate_ed25519(), generate()
        root = Root(expires=EXPIRES)
        for role in ["root", "targets", *ONLINE]:
            root.add_key(first.public_key, role)
        write(folder / f"{kind}.1.root.json", signed(root, [first]))
        root.version = 2
        root.add_key(other.public_key, "root")
        root.roles["root"].threshold = 2
        write(folder / f"{kind}.2.root.json", signed(root, [first, other]))


if __name__ == "__main__":
    target, what = Path(sys.argv[1]), sys.argv[2]
    if what == "keys":
        keys(target)
    else:
        repository(target, what == "consistent")
