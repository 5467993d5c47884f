#!/bin/bash
# Run at the boot of a Debian tree that has both programs: times them in turn, and writes one line for each run into
# /results: a name, microseconds, and the largest resident set in KiB. Before each the host is asked to drop its caches.
set -u

rounds=$1
seed=/var/lib/cloud/seed/nocloud

useradd --create-home core
echo "instance-id: i-1" >"$seed/meta-data"

cold() {
    sync
    touch /ready
    while [ -e /ready ]; do sleep 0.02; done
}

# NAME COMMAND...: the commands of a script that stops at the first failure.
timed() {
    local name=$1 start end
    shift
    cold
    start=$(date +%s%N)
    if ! /usr/bin/time --format %M --output /memory "$@" >>/log 2>&1; then
        echo "failed $name" >>/results
        return
    fi
    end=$(date +%s%N)
    echo "$name $(((end - start) / 1000)) $(tail -n 1 /memory)" >>/results
}

fresh() {
    cloud-init clean --logs >>/log 2>&1
    systemctl stop hello.service >>/log 2>&1
    rm -rf /etc/systemd/system/hello.service /etc/motd /home/core/.ssh
    # Not removed: ext4 looks past each inode that was freed in the last seconds, which no machine has at its first boot.
    [ ! -e /many ] || mv /many "/many-$(date +%s%N)"
    systemctl daemon-reload
    hostnamectl set-hostname bench
}

for _ in $(seq "$rounds"); do
    fresh
    cp /user-data.cloud-init "$seed/user-data"
    timed cloud-init /stages.sh
    fresh
    timed coreos-cloudinit /coreos-cloudinit -from-file=/user-data
    fresh
    timed thousand /coreos-cloudinit -from-file=/thousand
done
cloud-init --version >/version 2>&1
touch /done
poweroff
