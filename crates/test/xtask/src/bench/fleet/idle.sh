#!/usr/bin/bash
# What fleetd holds and takes while nothing happens: KiB resident, KiB proportional, nanoseconds of processor in $1
# seconds.
set -eu
sleep 40
cpu() { systemctl show --property=CPUUsageNSec --value fleet.service; }
before=$(cpu)
sleep "$1"
after=$(cpu)
pid=$(systemctl show --property=MainPID --value fleet.service)
rollup=$(sudo cat "/proc/$pid/smaps_rollup")
echo "$(awk '/^Rss:/ { print $2 }' <<<"$rollup") $(awk '/^Pss:/ { print $2 }' <<<"$rollup") $((after - before))"
