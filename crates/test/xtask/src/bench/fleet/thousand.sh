#!/usr/bin/bash
# Brings a thousand units to the state $1, `load` or `start`, and waits until all are listed so; prints seconds.
set -eu
cd /tmp
[ -e many@.service ] || printf '[Service]\nExecStart=/usr/bin/sleep infinity\n' >many@.service
began=${EPOCHREALTIME/./}
fleetctl "$1" --no-block many@{1..1000}.service >/dev/null 2>&1
case $1 in
load) wanted='loaded inactive dead' ;;
*) wanted='loaded active running' ;;
esac
deadline=$((SECONDS + 600))
until [ "$(fleetctl list-units --no-legend --fields=load,active,sub | tr -s '\t' ' ' | grep -cx "$wanted")" = 1000 ]; do
    [ "$SECONDS" -lt "$deadline" ] || exit 1
    sleep 0.5
done
echo "$(((${EPOCHREALTIME/./} - began) / 1000000))"
