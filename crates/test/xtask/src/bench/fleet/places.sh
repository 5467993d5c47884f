#!/usr/bin/bash
# Where the units are that are moved, as UNIT and ID, once all six are active and none is on machine $1.
set -eu
places() {
    fleetctl list-units --full --no-legend --fields=unit,machine,active | sed 's#/[0-9.]*##' | tr -s '\t' ' ' |
        grep '^moved@.* active$' || true
}
deadline=$((SECONDS + 120))
until [ "$(places | grep -vc " $1 ")" = 6 ]; do
    [ "$SECONDS" -lt "$deadline" ] || exit 1
    sleep 0.1
done
places
