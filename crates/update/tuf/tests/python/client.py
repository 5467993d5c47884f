"""Reads a repository with python-tuf's client: client.py REPOSITORY FIRST_ROOT STATE TARGET...

REPOSITORY is a folder, or the URL of a server.

Prints the version of the trusted root, then each target's content in hexadecimal digits. Exit code 1 for a target
that does not exist, 2 for metadata or bytes that are refused.
"""

import sys
from pathlib import Path

from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.ngclient import FetcherInterface, Updater
from tuf.ngclient.config import UpdaterConfig


class Folder(FetcherInterface):
    """Files instead of HTTP. Metadata has quoted names, as python-tuf requests it; target paths are not quoted."""

    def _fetch(self, url: str):
        try:
            yield Path(url.removeprefix("file://")).read_bytes()
        except FileNotFoundError as error:
            raise DownloadHTTPError(f"no {url}", 404) from error


def main() -> int:
    repository, first, state, *targets = sys.argv[1:]
    state_folder = Path(state)
    (state_folder / "targets").mkdir(parents=True, exist_ok=True)
    config = UpdaterConfig(prefix_targets_with_hash=True)
    is_url = repository.startswith("http://")
    base = repository if is_url else f"file://{repository}"
    updater = Updater(
        str(state_folder),
        f"{base}/metadata/",
        str(state_folder / "targets"),
        f"{base}/targets/",
        None if is_url else Folder(),
        config,
        bootstrap=Path(first).read_bytes(),
    )
    try:
        updater.refresh()
        print(updater._trusted_set.root.version)
        for target in targets:
            info = updater.get_targetinfo(target)
            if info is None:
                print(f"no target {target}", file=sys.stderr)
                return 1
            path = updater.download_target(info)
            print(Path(path).read_bytes().hex())
    except (RepositoryError, DownloadError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
