#!/bin/bash
# The four services of a boot, in their order. A stage may fail at what a container has not (its last word is not its
# exit code here): what counts is that the configuration was applied.
cloud-init init --local
cloud-init init
cloud-init modules --mode=config
cloud-init modules --mode=final
grep -q Hello /etc/motd && [ "$(hostname)" = core-01 ] && systemctl --quiet is-active hello.service
