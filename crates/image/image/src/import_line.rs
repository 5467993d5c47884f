//! What an operator types to import a finished file at its target.

use crate::formats::Format;

/// The command that imports `file`, a file name. Capital words are placeholders.
pub fn import_line(format: Format, file: &str) -> String {
    match format {
        Format::Raw => format!("sudo dd if={file} of=/dev/DISK bs=4M conv=fsync"),
        Format::RawGz => format!("zcat {file} | sudo dd of=/dev/DISK bs=4M iflag=fullblock conv=fsync"),
        Format::RawZst => format!("zstdcat {file} | sudo dd of=/dev/DISK bs=4M iflag=fullblock conv=fsync"),
        Format::Qcow2 => format!("keelson up --image {file}"),
        Format::Vmdk => format!("vmware-vdiskmanager -r {file} -t 0 keelson.vmdk"),
        Format::Vdi => format!(
            "VBoxManage createvm --name NAME --ostype Debian_64 --register && \
             VBoxManage modifyvm NAME --firmware efi --memory 1024 --nic1 nat && \
             VBoxManage storagectl NAME --name SATA --add sata --portcount 1 && \
             VBoxManage storageattach NAME --storagectl SATA --port 0 --type hdd --medium {file}"
        ),
        Format::Vhd => {
            format!("Convert-VHD -Path {file} -DestinationPath keelson.vhdx; {}", hyper_v("keelson.vhdx"))
        }
        Format::Vhdx => hyper_v(file),
        Format::Ova => format!("VBoxManage import {file} --vsys 0 --vmname NAME"),
        Format::Vmware => format!("ovftool --name=NAME {file} vi://USER@HOST/"),
        Format::Box | Format::BoxLibvirt => {
            format!("vagrant box add --name keelson-CHANNEL {file} && keelson vagrantfile && vagrant up")
        }
        Format::Ec2 => format!(
            "aws ec2 import-snapshot --disk-container 'Format=VMDK,UserBucket={{S3Bucket=BUCKET,S3Key={file}}}', and \
             aws ec2 register-image --name NAME --architecture x86_64 --virtualization-type hvm --boot-mode uefi \
             --ena-support --root-device-name /dev/xvda \
             --block-device-mappings 'DeviceName=/dev/xvda,Ebs={{SnapshotId=SNAPSHOT}}'"
        ),
        Format::Openstack => format!(
            "openstack image create --disk-format qcow2 --container-format bare --property hw_firmware_type=uefi \
             --property hw_machine_type=q35 --file {file} NAME"
        ),
        Format::Gce => format!(
            "gcloud compute images create NAME --source-uri gs://BUCKET/{file} \
             --guest-os-features UEFI_COMPATIBLE,VIRTIO_SCSI_MULTIQUEUE"
        ),
        Format::Pxe => live_line(file),
        Format::Iso => format!("sudo dd if={file} of=/dev/USB-STICK bs=4M conv=fsync"),
        Format::Azure => format!(
            "az storage blob upload --type page --account-name ACCOUNT --container-name CONTAINER --name {file} --file {file}, \
             and az image create --resource-group GROUP --name NAME --os-type Linux --hyper-v-generation V2 --source URL"
        ),
    }
}

/// Creates a machine of Hyper-V. Its firmware trusts only Microsoft's keys until Secure Boot is off.
fn hyper_v(disk: &str) -> String {
    format!(
        "New-VM -Name NAME -Generation 2 -MemoryStartupBytes 1GB -VHDPath {disk} -SwitchName \"Default Switch\"; \
         Set-VMFirmware -VMName NAME -EnableSecureBoot Off; Start-VM -Name NAME"
    )
}

/// Lines of an iPXE script, or what firmware that boots by HTTP loads.
fn live_line(file: &str) -> String {
    match file.rsplit_once("-pxe") {
        Some((name, ".vmlinuz" | "-initrd.img")) => format!(
            "kernel URL/{name}-pxe.vmlinuz initrd={name}-pxe-initrd.img cloud-config-url=URL; \
             initrd URL/{name}-pxe-initrd.img; boot"
        ),
        _ => format!("http://SERVER/{file} as boot file of UEFI HTTP boot"),
    }
}
