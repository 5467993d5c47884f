//! Open Virtualization Format: the description of a machine and its disk that an OVA contains.
//!
//! VirtualBox and VMware refuse each other's `VirtualSystemType` and controllers, so each has its own description. Both
//! say that the machine boots by UEFI, each in its vendor's terms: the standard has none. Source: DMTF DSP0243, and the
//! readers of the two products.

use std::fmt::Write as _;

/// File name of the disk in every archive.
pub const DISK_FILE: &str = "disk.vmdk";

/// What a description says of its machine.
#[derive(Debug, Clone, Copy)]
pub struct Machine<'a> {
    /// Name that the importer suggests.
    pub name: &'a str,
    /// Product and its version.
    pub product: &'a str,
    /// See `product`.
    pub version: &'a str,
    /// Virtual processors.
    pub processors: u16,
    /// Memory in MiB.
    pub memory: u32,
    /// UUID of the machine, in VirtualBox.
    pub uuid: &'a str,
    /// Its disk.
    pub disk: Disk<'a>,
}

/// The disk: a stream-optimized VMDK named [`DISK_FILE`].
#[derive(Debug, Clone, Copy)]
pub struct Disk<'a> {
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes that the machine sees.
    pub capacity: u64,
    /// UUID in the descriptor of the file: VirtualBox refuses an import where they differ.
    pub uuid: &'a str,
}

/// Virtual hardware that differs between the products.
struct Hardware<'a> {
    /// `VirtualSystemType`.
    system: &'a str,
    /// `OperatingSystemSection`, whole.
    operating_system: &'a str,
    /// (`ResourceType`, `ResourceSubType`) of the disk's controller.
    controller: (u32, &'a str),
    network: &'a str,
    adapter: &'a str,
    /// Content of the hardware section behind the items.
    firmware: &'a str,
    /// Content of the system behind the hardware section.
    machine: &'a str,
}

/// Describes a machine to VirtualBox: EFI, AHCI, one virtio network adapter behind NAT.
///
/// VirtualBox reads the machine from `vbox:Machine`, which has the firmware's setting; the items are for other programs.
/// There is no hardware address: each import gets its own.
#[must_use]
pub fn virtualbox(machine: &Machine<'_>) -> String {
    let Machine { processors, memory, .. } = machine;
    let (name, uuid, disk) = (escape(machine.name), escape(machine.uuid), escape(machine.disk.uuid));
    let settings = format!(
        r#"    <vbox:Machine ovf:required="false" version="1.16-linux" uuid="{{{uuid}}}" name="{name}" OSType="Debian_64">
      <ovf:Info>Settings of VirtualBox</ovf:Info>
      <Hardware>
        <CPU count="{processors}">
          <PAE enabled="true"/>
          <LongMode enabled="true"/>
        </CPU>
        <Memory RAMSize="{memory}"/>
        <Firmware type="EFI"/>
        <Display controller="VMSVGA" VRAMSize="16"/>
        <BIOS>
          <IOAPIC enabled="true"/>
        </BIOS>
        <Network>
          <Adapter slot="0" enabled="true" type="virtio">
            <NAT/>
          </Adapter>
        </Network>
        <RTC localOrUTC="UTC"/>
      </Hardware>
      <StorageControllers>
        <StorageController name="AHCI" type="AHCI" PortCount="1" useHostIOCache="false" Bootable="true">
          <AttachedDevice type="HardDisk" hotpluggable="false" port="0" device="0">
            <Image uuid="{{{disk}}}"/>
          </AttachedDevice>
        </StorageController>
      </StorageControllers>
    </vbox:Machine>
"#
    );
    let operating_system = r#"    <OperatingSystemSection ovf:id="96">
      <Info>Guest operating system</Info>
      <vbox:OSType ovf:required="false">Debian_64</vbox:OSType>
    </OperatingSystemSection>
"#;
    envelope(
        machine,
        &Hardware {
            system: "virtualbox-2.2",
            operating_system,
            controller: (20, "AHCI"),
            network: "NAT",
            adapter: "E1000",
            firmware: "",
            machine: &settings,
        },
    )
}

/// Describes a machine to VMware: EFI, paravirtual SCSI, one VMXNET3 network adapter; hardware of ESXi 6.5.
#[must_use]
pub fn vmware(machine: &Machine<'_>) -> String {
    let operating_system = r#"    <OperatingSystemSection ovf:id="96" vmw:osType="debian10_64Guest">
      <Info>Guest operating system</Info>
    </OperatingSystemSection>
"#;
    envelope(
        machine,
        &Hardware {
            system: "vmx-13",
            operating_system,
            controller: (6, "VirtualSCSI"),
            network: "VM Network",
            adapter: "VmxNet3",
            firmware: "      <vmw:Config ovf:required=\"false\" vmw:key=\"firmware\" vmw:value=\"efi\"/>\n",
            machine: "",
        },
    )
}

fn envelope(machine: &Machine<'_>, hardware: &Hardware<'_>) -> String {
    let (name, product, version) = (escape(machine.name), escape(machine.product), escape(machine.version));
    let Disk { bytes, capacity, .. } = machine.disk;
    let disk_uuid = escape(machine.disk.uuid);
    let Hardware { system, operating_system, network, firmware, machine: settings, .. } = hardware;
    let items = items(machine, hardware);
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope ovf:version="1.0" xml:lang="en-US" xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:vbox="http://www.virtualbox.org/ovf/machine" xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
    <File ovf:id="file1" ovf:href="{DISK_FILE}" ovf:size="{bytes}"/>
  </References>
  <DiskSection>
    <Info>Virtual disks</Info>
    <Disk ovf:diskId="disk1" ovf:fileRef="file1" ovf:capacity="{capacity}" ovf:capacityAllocationUnits="byte" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized" vbox:uuid="{disk_uuid}"/>
  </DiskSection>
  <NetworkSection>
    <Info>Networks</Info>
    <Network ovf:name="{network}">
      <Description>Network of the first adapter</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="{name}">
    <Info>Virtual machine</Info>
    <Name>{name}</Name>
{operating_system}    <VirtualHardwareSection>
      <Info>Virtual hardware</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>{system}</vssd:VirtualSystemType>
      </System>
{items}{firmware}    </VirtualHardwareSection>
{settings}    <ProductSection>
      <Info>Installed software</Info>
      <Product>{product}</Product>
      <Version>{version}</Version>
    </ProductSection>
  </VirtualSystem>
</Envelope>
"#
    )
}

/// The hardware's items. `rasd` elements are in alphabetical order, as the schema demands.
fn items(machine: &Machine<'_>, hardware: &Hardware<'_>) -> String {
    let (processors, memory) = (machine.processors.to_string(), machine.memory.to_string());
    let (kind, controller) = hardware.controller;
    let kind = kind.to_string();
    let items: [&[(&str, &str)]; 5] = [
        &[
            ("AllocationUnits", "hertz * 10^6"),
            ("ElementName", "Processors"),
            ("InstanceID", "1"),
            ("ResourceType", "3"),
            ("VirtualQuantity", &processors),
        ],
        &[
            ("AllocationUnits", "byte * 2^20"),
            ("ElementName", "Memory"),
            ("InstanceID", "2"),
            ("ResourceType", "4"),
            ("VirtualQuantity", &memory),
        ],
        &[
            ("Address", "0"),
            ("ElementName", "Disk controller"),
            ("InstanceID", "3"),
            ("ResourceSubType", controller),
            ("ResourceType", &kind),
        ],
        &[
            ("AddressOnParent", "0"),
            ("ElementName", "Disk"),
            ("HostResource", "ovf:/disk/disk1"),
            ("InstanceID", "4"),
            ("Parent", "3"),
            ("ResourceType", "17"),
        ],
        &[
            ("AutomaticAllocation", "true"),
            ("Connection", hardware.network),
            ("ElementName", "Network adapter"),
            ("InstanceID", "5"),
            ("ResourceSubType", hardware.adapter),
            ("ResourceType", "10"),
        ],
    ];
    let mut text = String::new();
    for item in items {
        text += "      <Item>\n";
        for (name, value) in item {
            // invariant: writing to a string cannot fail.
            writeln!(text, "        <rasd:{name}>{value}</rasd:{name}>").unwrap_or_default();
        }
        text += "      </Item>\n";
    }
    text
}

/// Escapes text for XML elements and quoted attributes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use roxmltree::{Document, Node};

    const MACHINE: Machine<'static> = Machine {
        name: "keelson-9999.1.0-alpha",
        product: "Keelson",
        version: "9999.1.0",
        processors: 2,
        memory: 1024,
        uuid: "6f0e4a2c-0000-8000-8000-000000000002",
        disk: Disk { bytes: 1000, capacity: 3 << 30, uuid: "6f0e4a2c-0000-8000-8000-000000000001" },
    };

    fn named<'a>(document: &'a Document<'_>, name: &str) -> Vec<Node<'a, 'a>> {
        document.descendants().filter(|node| node.tag_name().name() == name).collect()
    }

    fn attribute<'a>(node: &Node<'a, 'a>, name: &str) -> &'a str {
        node.attributes().find(|attribute| attribute.name() == name).unwrap().value()
    }

    /// Text of an item's element, if it has that.
    fn value<'a>(item: &Node<'a, 'a>, name: &str) -> Option<&'a str> {
        item.children().find(|child| child.tag_name().name() == name).and_then(|child| child.text())
    }

    /// What VirtualBox's reader rejects.
    fn check_reader_s_rules(document: &Document<'_>) {
        let files: Vec<_> = named(document, "File").iter().map(|file| attribute(file, "id")).collect();
        let disks = named(document, "Disk");
        for disk in &disks {
            assert!(files.contains(&attribute(disk, "fileRef")));
            attribute(disk, "capacity").parse::<u64>().unwrap();
        }
        let systems = named(document, "OperatingSystemSection");
        attribute(&systems[0], "id").parse::<u32>().unwrap();
        let networks: Vec<_> = named(document, "Network")
            .iter()
            .filter_map(|node| {
                Some(node.attribute(("http://schemas.dmtf.org/ovf/envelope/1", "name"))?.to_owned())
            })
            .collect();
        let items = named(document, "Item");
        let mut ids: Vec<_> = items.iter().map(|item| value(item, "InstanceID").unwrap()).collect();
        let controllers: Vec<_> = items
            .iter()
            .filter(|item| matches!(value(item, "ResourceType"), Some("5" | "6" | "20")))
            .map(|item| value(item, "InstanceID").unwrap())
            .collect();
        for item in &items {
            match value(item, "ResourceType").unwrap() {
                "3" => assert!(value(item, "VirtualQuantity").unwrap().parse::<u16>().unwrap() > 0),
                "4" => assert_eq!(value(item, "AllocationUnits"), Some("byte * 2^20")),
                "6" => assert_eq!(value(item, "ResourceSubType"), Some("VirtualSCSI")),
                "10" => assert!(networks.contains(&value(item, "Connection").unwrap().to_owned())),
                "17" => {
                    assert!(controllers.contains(&value(item, "Parent").unwrap()));
                    let disk = value(item, "HostResource").unwrap().strip_prefix("ovf:/disk/").unwrap();
                    assert!(disks.iter().any(|node| attribute(node, "diskId") == disk));
                }
                "20" => assert_eq!(value(item, "ResourceSubType"), Some("AHCI")),
                other => panic!("resource type {other}"),
            }
            let names: Vec<_> =
                item.children().filter(Node::is_element).map(|child| child.tag_name().name()).collect();
            assert!(names.is_sorted(), "{names:?}");
        }
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "an instance ID is used twice");
    }

    #[test]
    fn both_descriptions_keep_the_reader_s_rules() {
        for text in [virtualbox(&MACHINE), vmware(&MACHINE)] {
            check_reader_s_rules(&Document::parse(&text).unwrap());
        }
    }

    #[test]
    fn virtualbox_finds_efi_and_the_disk_in_its_own_settings() {
        let text = virtualbox(&MACHINE);
        let document = Document::parse(&text).unwrap();
        assert_eq!(attribute(&named(&document, "Firmware")[0], "type"), "EFI");
        let image = attribute(&named(&document, "Image")[0], "uuid");
        let disk = attribute(&named(&document, "Disk")[0], "uuid");
        assert_eq!(image, format!("{{{disk}}}"));
        let system = named(&document, "VirtualSystemType")[0].text();
        assert_eq!(system, Some("virtualbox-2.2"));
        assert!(!text.contains("MACAddress"));
    }

    #[test]
    fn vmware_finds_efi_in_its_hardware_section() {
        let text = vmware(&MACHINE);
        let document = Document::parse(&text).unwrap();
        let config = named(&document, "Config")[0];
        assert_eq!((attribute(&config, "key"), attribute(&config, "value")), ("firmware", "efi"));
        assert_eq!(config.parent().unwrap().tag_name().name(), "VirtualHardwareSection");
        assert!(named(&document, "Machine").is_empty());
    }

    #[test]
    fn names_are_escaped() {
        let text = virtualbox(&Machine { name: "a <b> & \"c\"", ..MACHINE });
        let document = Document::parse(&text).unwrap();
        assert_eq!(named(&document, "Name")[0].text(), Some("a <b> & \"c\""));
        assert_eq!(attribute(&named(&document, "Machine")[0], "name"), "a <b> & \"c\"");
    }
}
