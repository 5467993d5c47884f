# EFI firmware in one file, as the distributions install it: without a file of variables, it is used as a ROM.
FIRMWARE = %w[
  /usr/share/ovmf/OVMF.fd
  /usr/share/edk2/x64/OVMF.4m.fd
  /usr/share/edk2-ovmf/x64/OVMF.fd
  /usr/share/qemu/ovmf-x86_64.bin
].freeze unless defined?(FIRMWARE)

Vagrant.configure("2") do |config|
  config.vm.provider :libvirt do |provider|
    provider.machine_type = "q35"
    # A project's Vagrantfile may set another one, with a file of variables as `nvram`.
    firmware = FIRMWARE.find { |file| File.exist?(file) }
    provider.loader = firmware if firmware
    provider.disk_bus = "virtio"
  end
end
