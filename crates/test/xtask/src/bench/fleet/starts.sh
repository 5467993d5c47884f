#!/usr/bin/bash
# Starts as many units as $1 says, one after the other, and prints for each two times in microseconds, counted from
# the moment when `fleetctl start` is typed: until it has returned, and until `list-units` shows active and running.
set -eu
cd /tmp
printf '[Service]\nExecStart=/usr/bin/sleep infinity\n' >quick@.service
for number in $(seq "$1"); do
    unit=quick@$number.service
    began=${EPOCHREALTIME/./}
    fleetctl start "$unit" >/dev/null 2>&1
    returned=${EPOCHREALTIME/./}
    until fleetctl list-units --no-legend --fields=unit,active,sub | tr -s '\t' ' ' | grep -qx "$unit active running"; do :; done
    shown=${EPOCHREALTIME/./}
    echo "$((returned - began)) $((shown - began))"
done
seq --format='quick@%g.service' "$1" | xargs fleetctl destroy >/dev/null
