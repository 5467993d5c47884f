#!/usr/bin/bash
# The store's own counters on this member.
set -eu
# shellcheck source=/dev/null
. /etc/environment
curl --silent --fail "http://$COREOS_PRIVATE_IPV4:4001/v2/stats/store"
