Vagrant.configure("2") do |config|
  config.vm.provider :virtualbox do |provider|
    # The guest has no Guest Additions.
    provider.check_guest_additions = false
    provider.functional_vboxsf = false
    provider.customize ["modifyvm", :id, "--firmware", "efi"]
    provider.customize ["modifyvm", :id, "--natdnshostresolver1", "on"]
    provider.customize ["modifyvm", :id, "--natdnsproxy1", "on"]
  end
end
