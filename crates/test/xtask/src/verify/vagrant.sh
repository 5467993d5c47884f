#!/usr/bin/env bash
# A real Vagrant with libvirt and QEMU: three machines of `keelson vagrantfile`, as the tutorials start them. Runs in
# namespaces of its own: libvirt's state and networks end with it.
# Arguments: an empty folder, the program keelson, the checkout, the box for libvirt.
set -euo pipefail

folder=$1 keelson=$2 checkout=$3 box=$4

step() {
    printf '\n-- %s\n' "$*"
}

# Fails with both texts unless the command's output contains the first argument.
expect() {
    local wanted=$1 found
    shift
    found=$("$@" 2>&1) || true
    if [[ "$found" != *"$wanted"* ]]; then
        printf 'expected %s from: %s\nfound: %s\n' "$wanted" "$*" "$found" >&2
        exit 1
    fi
}

on() {
    local machine=$1
    shift
    vagrant ssh "$machine" -c "$*"
}

ip link set lo up
# The host's daemons, networks and machines are not seen.
for hidden in /run /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
    mkdir -p "$hidden"
    mount -t tmpfs -o mode=0755 tmpfs "$hidden"
done
# The disks do not fit into memory.
mkdir -p "$folder/images" "$folder/home" "$folder/project" /var/lib/libvirt/images
mount --bind "$folder/images" /var/lib/libvirt/images
virtlogd --daemon
libvirtd --daemon

export HOME=$folder/home VAGRANT_HOME=$folder/home/.vagrant.d VAGRANT_CHECKPOINT_DISABLE=1
export VAGRANT_DEFAULT_PROVIDER=libvirt
mkdir -p "$VAGRANT_HOME"
# Emulated machines: a host may have KVM that runs no guests.
cat >"$VAGRANT_HOME/Vagrantfile" <<'RUBY'
Vagrant.configure("2") do |config|
  config.vm.boot_timeout = 3600
  config.vm.provider :libvirt do |provider|
    provider.driver = "qemu"
    provider.cpu_mode = "custom"
    provider.cpu_model = "qemu64"
  end
end
RUBY

step vagrant box add
vagrant box add --name keelson-alpha "$box"

cd "$folder/project"
"$keelson" vagrantfile
cp "$checkout/cloud-config/config.rb.sample" config.rb
sed -i 's/^#\(\$num_instances = \).*/\13/; s/^#\(\$update_channel = \)/\1/' config.rb
printf '#cloud-config\nwrite_files: [{path: /etc/from-vagrant, content: first}]\n' >user-data

step vagrant up
vagrant up
expect 'core-03                   running' vagrant status
for number in 1 2 3; do
    machine=core-0$number
    expect "$machine" on "$machine" hostname
    expect first on "$machine" cat /etc/from-vagrant
    expect "COREOS_PRIVATE_IPV4=172.17.8.10$number" on "$machine" cat /etc/environment
done
expect '0% packet loss' on core-01 ping -c 3 172.17.8.103
expect 'GROUP=alpha' on core-01 cat /usr/share/coreos/update.conf /etc/coreos/update.conf

step vagrant ssh core-01 -- -A
eval "$(ssh-agent -s)" >/dev/null
ssh-keygen -q -t ed25519 -N '' -C forwarded -f "$folder/key"
ssh-add -q "$folder/key"
expect forwarded vagrant ssh core-01 -- -A ssh-add -l
kill "$SSH_AGENT_PID"

step 'the insecure key'
expect 'Permission denied' vagrant ssh core-01 -p -- -o IdentitiesOnly=yes -o PasswordAuthentication=no \
    -o BatchMode=yes -i "$VAGRANT_HOME/insecure_private_key" true

step vagrant up --provision
sed -i 's/first/second/' user-data
vagrant up --provision core-02
expect second on core-02 'sleep 5; cat /etc/from-vagrant'
expect first on core-01 cat /etc/from-vagrant

step vagrant reload core-02
vagrant reload core-02
expect second on core-02 cat /etc/from-vagrant
expect COREOS_PRIVATE_IPV4=172.17.8.102 on core-02 cat /etc/environment

step vagrant halt
vagrant halt
expect 'core-01                   shutoff' vagrant status

step vagrant destroy --force
vagrant destroy --force
expect 'core-01                   not created' vagrant status
