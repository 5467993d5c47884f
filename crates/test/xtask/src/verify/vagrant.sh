#!/usr/bin/env bash
# Three machines as row A3 of the tutorials types them, with a real Vagrant, libvirt and emulated machines. `cargo verify
# vagrant` starts it in mount, network and PID namespaces of its own, as their first process: everything ends with it.
# Arguments: the checkout; the folder of keelson, fleetctl and etcd-discovery; a folder with the keys, and each release with
# its images; the channel, the version that the machines start with, and a newer one. The script ends when its stdin does.
#
# The machines expand what is in single quotes:
# shellcheck disable=SC2016
set -euo pipefail

checkout=$1 programs=$2 releases=$3 channel=$4 version=$5 newer=$6

# The first process: Ctrl-C, SIGTERM and the end of stdin end the namespaces at any moment, whatever a command waits for.
if [[ $$ == 1 ]]; then
    work=$(mktemp -d /var/tmp/keelson-vagrant.XXXXXXXX)
    # Without processes that write, the folder stays removed.
    trap 'exec 2>/dev/null; kill -KILL -1 || true; wait; rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM HUP
    { cat >/dev/null && kill -TERM 1; } <&0 &
    KEELSON_WORK=$work bash "$0" "$@" </dev/null &
    code=0
    wait "$!" || code=$?
    exit "$code"
fi

work=$KEELSON_WORK project=$KEELSON_WORK/project
# libvirt's machines run as a user of their own.
chmod 0711 "$work"

typed() {
    printf '\n$ %s\n' "$*"
    "$@"
}

# Without progress, which would clutter a log.
vagrant() {
    command vagrant --no-tty "$@"
}

# Runs a command on a machine. Vagrant itself takes seconds to start.
on() {
    local machine=$1
    shift
    ssh -n -F "$work/ssh-config" "$machine" "$*"
}

# The names, addresses and keys of the running machines. A login takes seconds on an emulated machine: one connection each.
ssh_config() {
    {
        vagrant ssh-config
        printf 'Host *\n ControlMaster auto\n ControlPath %s/%%n\n ControlPersist yes\n' "$work"
    } >"$work/ssh-config"
}

address() {
    ssh -G -F "$work/ssh-config" "$1" | awk '$1 == "hostname" { print $2 }'
}

# All three machines are in this state.
status() {
    typed vagrant status | tee "$work/status"
    local machine
    for machine in core-01 core-02 core-03; do
        expect "$machine                   $1" cat "$work/status"
    done
}

# The output of a command contains the text.
expect() {
    local wanted=$1 found
    shift
    found=$("$@" 2>&1) || true
    if [[ $found != *"$wanted"* ]]; then
        printf 'expected %s from: %s\nfound: %s\n' "$wanted" "$*" "$found" >&2
        return 1
    fi
    printf '   %s: %s\n' "$*" "$wanted"
}

# The same, within the time that this host takes to start the machines.
await() {
    local began=$SECONDS
    until expect "$@" 2>"$work/last"; do
        if ((SECONDS - began > started_in)); then
            cat "$work/last" >&2
            echo "not within $started_in s" >&2
            return 1
        fi
        sleep 2
    done
}

# Waits for a server on the host.
serving() {
    local began=$SECONDS
    until curl -s -o "$work/last" "$1"; do
        if ((SECONDS - began > 60)); then
            echo "no server at $1 within 60 s" >&2
            return 1
        fi
        sleep 0.2
    done
}

evidence() {
    local code=$?
    if ((code == 0)); then
        return
    fi
    set +e
    echo
    for log in "$work"/*.log /var/log/libvirt/libvirtd.log /var/log/libvirt/qemu/*.log "$project"/log/*-serial.txt; do
        [[ -e $log ]] && printf '\n-- end of %s\n' "$log" && tail -c 3000 "$log"
    done
    cd "$project" || exit "$code"
    printf '\n-- libvirt\n'
    virsh --connect qemu:///system list --all
    virsh --connect qemu:///system net-list --all
    for machine in .vagrant/machines/*/libvirt/id; do
        [[ -e $machine ]] || break
        machine=${machine#.vagrant/machines/} machine=${machine%%/*}
        printf '\n-- %s\n' "$machine"
        timeout 300 vagrant --no-tty ssh "$machine" -c \
            'systemctl --failed --no-pager; ip -brief address; cat /etc/environment; journalctl -b -p warning -n 40 --no-pager'
    done
    exit "$code"
}
trap evidence EXIT

echo '-- namespaces: libvirt without what the host has of it'
ip link set lo up
# The interfaces of this namespace. Without control groups and the system bus libvirt starts machines as its children.
umount --recursive --lazy /sys
mount -t sysfs sysfs /sys
for hidden in /run /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
    mkdir -p "$hidden"
    mount -t tmpfs -o mode=0755 tmpfs "$hidden"
done
# The disks do not fit into memory.
mkdir -p "$work/images" "$work/home" "$project" /var/lib/libvirt/images
mount --bind "$work/images" /var/lib/libvirt/images
printf 'log_outputs="3:file:/var/log/libvirt/libvirtd.log"\n' >/etc/libvirt/libvirtd.conf
virtlogd --daemon
# A disk that grows beyond 3 GiB fails, not the host.
(ulimit -f $((3 << 20)) && libvirtd --daemon --config /etc/libvirt/libvirtd.conf)

export HOME=$work/home VAGRANT_HOME=$work/home/.vagrant.d KEELSON_STATE_DIR=$work/state
export VAGRANT_CHECKPOINT_DISABLE=1 VAGRANT_DEFAULT_PROVIDER=libvirt PATH=$programs:$PATH
mkdir -p "$VAGRANT_HOME"
# Emulated machines: a host may have KVM that runs no guests. libvirt gives an address 600 s.
cat >"$VAGRANT_HOME/Vagrantfile" <<'RUBY'
Vagrant.configure("2") do |config|
  config.vm.boot_timeout = 3600
  config.vm.graceful_halt_timeout = 600
  config.vm.provider :libvirt do |provider|
    provider.driver = "qemu"
    provider.cpu_mode = "custom"
    provider.cpu_model = "qemu64"
  end
end
RUBY

echo '-- a channel server and a discovery service'
server=http://127.0.0.1:8041
keelson serve-updates --key "$releases/keys/server/channel.key" >"$work/serve-updates.log" 2>&1 &
# The host's address on the machines' private network.
discovery=http://172.17.8.1:8087
etcd-discovery --listen 0.0.0.0:8087 --public-url "$discovery" --data "$work/tokens" >"$work/discovery.log" 2>&1 &
serving "$server/"
serving http://127.0.0.1:8087/
publish=(keelson publish --server "$server" --key "$releases/keys/release.key" --channel "$channel")
typed "${publish[@]}" "$releases/$version"

echo '-- A3: config.rb and user-data of the samples'
cd "$project"
typed keelson vagrantfile --server "$server"
cp "$checkout/cloud-config/config.rb.sample" config.rb
mkdir shared
echo first >shared/file
sed -i "s|^#\(\$num_instances = \).*|\13|
    s|^#\(\$update_channel = \).*|\1\"$channel\"|
    s|^#\(\$shared_folders = \).*|\1{ \"$project/shared\" => \"/home/core/share\" }|" config.rb
# For the evidence of a failure.
echo '$enable_serial_logging = true' >>config.rb
token=$(curl -s 'http://127.0.0.1:8087/new?size=3')
cp "$checkout/cloud-config/user-data.sample" user-data
sed -i "s|^coreos:\$|write_files:\n  - {path: /etc/from-vagrant, content: first}\n&\n  etcd:\n    discovery: $token\n\
    addr: \$private_ipv4:4001\n    peer-addr: \$private_ipv4:7001|" user-data
typed keelson validate user-data
grep -v -e '^#' -e '^$' config.rb

echo '-- A3: up'
started_in=$SECONDS
typed vagrant up
started_in=$((SECONDS - started_in))
echo "started in $started_in s"
ssh_config
status running
for machine in core-01 core-02 core-03; do
    address=172.17.8.1${machine#core-}
    expect "$machine" on "$machine" hostname
    expect "inet $address/24" on "$machine" ip -4 address
    expect "COREOS_PRIVATE_IPV4=$address" on "$machine" cat /etc/environment
    await first on "$machine" cat /etc/from-vagrant
    expect first on "$machine" cat /home/core/share/file
    expect "GROUP=$channel" on "$machine" cat /usr/share/oem/update.conf
    expect "VERSION=$version" on "$machine" cat /etc/os-release
done
expect ' 0% packet loss' on core-01 ping -c 3 172.17.8.103

echo '-- one cluster'
await 'cluster is healthy' on core-01 etcdctl cluster-health
await machines=3 on core-01 'echo machines=$(fleetctl list-machines --no-legend | wc -l)'
typed on core-01 'etcdctl cluster-health; fleetctl list-machines'

echo '-- A3: vagrant ssh core-01 -- -A, with the keys of the machines in the agent'
eval "$(ssh-agent -s)" >/dev/null
ssh-add -q .vagrant/machines/*/libvirt/private_key
fingerprint=$(ssh-keygen -lf .vagrant/machines/core-02/libvirt/private_key | cut -d ' ' -f 2)
expect "$fingerprint" vagrant ssh core-01 -- -A ssh-add -l
third=$(on core-03 cat /etc/machine-id)
patience=(--strict-host-key-checking=false "--ssh-timeout=$started_in" "--request-timeout=$started_in")
await core-03 vagrant ssh core-01 -- -A fleetctl "${patience[@]}" ssh "$third" hostname
await 172.17.8.103 fleetctl "${patience[@]}" --tunnel "$(address core-01)" list-machines
expect 'SSH_AUTH_SOCK environment variable must be set' on core-01 env -u SSH_AUTH_SOCK fleetctl ssh "$third" hostname

# Everybody has their private parts. Only later versions of Vagrant have that of the other one.
insecure_keys() {
    for machine in core-01 core-02 core-03; do
        SSH_AUTH_SOCK='' expect 'Permission denied' ssh -F none -i "$VAGRANT_HOME/insecure_private_key" \
            -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
            "core@$(address "$machine")" true
        expect insecure=0 on "$machine" 'echo insecure=$(cut -d " " -f 2 /usr/share/oem/insecure-keys.pub |
            grep -c -F -f - .ssh/authorized_keys)'
    done
}
echo '-- the insecure keys are refused'
insecure_keys

echo '-- A3: up --provision applies changed user-data'
boot=$(on core-01 cat /proc/sys/kernel/random/boot_id)
sed -i 's/content: first/content: second/' user-data
echo second >shared/file
typed vagrant up --provision
for machine in core-01 core-02 core-03; do
    await second on "$machine" cat /etc/from-vagrant
done
expect "$boot" on core-01 cat /proc/sys/kernel/random/boot_id
typed vagrant rsync core-01
expect second on core-01 cat /home/core/share/file
await 'cluster is healthy' on core-01 etcdctl cluster-health

echo '-- reload'
typed vagrant reload core-02
ssh_config
expect core-02 on core-02 hostname
expect COREOS_PRIVATE_IPV4=172.17.8.102 on core-02 cat /etc/environment
expect second on core-02 cat /etc/from-vagrant
expect second on core-02 cat /home/core/share/file
await machines=3 on core-02 'echo machines=$(fleetctl list-machines --no-legend | wc -l)'
await 'cluster is healthy' on core-02 etcdctl cluster-health
insecure_keys

echo '-- box outdated, box update'
expect "is up to date" vagrant box outdated --global
typed "${publish[@]}" "$releases/$newer"
# By itself Vagrant checks once an hour.
expect "A newer version of the box 'coreos-$channel'" vagrant box outdated --force
typed vagrant box update
expect "coreos-$channel (libvirt, $newer" vagrant box list

echo '-- halt'
typed vagrant halt
status shutoff

echo '-- destroy'
typed vagrant destroy --force
status 'not created'

echo '-- a new machine has the newer version'
sed -i 's/^\$num_instances = 3/$num_instances = 1/' config.rb
rm user-data
typed vagrant up
ssh_config
expect "VERSION=$newer" on core-01 cat /etc/os-release
typed vagrant destroy --force
