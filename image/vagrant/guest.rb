# Keelson's box: what both providers share.

# Vagrant knows the guest as CoreOS. Without a program `cloud-init` in it, Vagrant 2.2.19 and later configure networks
# with NetworkManager, which the guest does not have: its cloud-config branch is the right one.
require Vagrant.source_root.join("plugins/guests/coreos/cap/configure_networks").to_s
module VagrantPlugins
  module GuestCoreOS
    module Cap
      class ConfigureNetworks
        if respond_to?(:configure_networks_cloud_init)
          def self.configure_networks(machine, networks)
            configure_networks_cloud_init(machine, networks)
          end
        end
      end
    end
  end
end

Vagrant.configure("2") do |config|
  config.ssh.username = "core"
  # The guest has no vboxsf and no NFS client. Folders of type "rsync" work.
  config.vm.synced_folder ".", "/vagrant", disabled: true
end
