#!/usr/bin/bash
# Starts six units that are to be moved.
set -eu
cd /tmp
printf '[Service]\nExecStart=/usr/bin/sleep infinity\n' >moved@.service
fleetctl start moved@{1..6}.service >/dev/null 2>&1
