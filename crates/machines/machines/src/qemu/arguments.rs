//! The command line of a QEMU node: a pure function with a golden test.

use std::fmt::Write;

use crate::certificates;
use crate::cluster::{BootSource, Cluster, Datasource, Node};
use crate::credential;
use crate::firmware;
use crate::lan;
use crate::processor::Acceleration;
use crate::qemu::boot_source;
use crate::qemu::hardware::{DISK_NODE, Devices};
use crate::qemu::option_value::value;
use crate::ready::PORT;
use crate::resets;
use crate::store::{Layout, NodeLayout};

/// Denies QEMU system calls that no machine needs, so that a guest that takes over QEMU starts no program on the host.
/// A user network that starts programs (`guestfwd=...-cmd:`, `smb=`) would need `spawn`.
const SANDBOX: [&str; 2] =
    ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"];

/// With Secure Boot only the firmware may write its variables: the long form, since the driver's name has a dot. S3 is
/// disabled because resume does not restore that protection.
const PROTECTED_VARIABLES: [&str; 4] =
    ["-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1"];

/// Serial number of the second disk: `/dev/disk/by-id/virtio-spare`.
const SPARE_SERIAL: &str = "spare";
/// Name of the firmware configuration file that contains the user-data.
pub const FW_CFG: &str = "opt/com.coreos/config";

/// `confined` requires a QEMU with seccomp.
#[must_use]
pub fn arguments(
    layout: &Layout,
    cluster: &Cluster,
    node: &Node,
    acceleration: &Acceleration,
    confined: bool,
) -> Vec<String> {
    let files = layout.node(&node.name);
    let devices = Devices::of(cluster.hardware);
    let mut all = Vec::new();
    let mut add = |arguments: &[&str]| all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    add(&["-name", &format!("{}/{}", cluster.name, node.name), "-uuid", &node.uuid]);
    add(&["-nodefaults", "-no-user-config", "-display", "none"]);
    add(if confined { &SANDBOX } else { &[] });
    add(&["-machine", &machine(devices.machine, cluster.secure_boot)]);
    add(if cluster.secure_boot { &PROTECTED_VARIABLES } else { &[] });
    add(acceleration.arguments());
    add(&["-smp", &node.cpus.to_string(), "-m", &node.memory_mib.to_string()]);
    for drive in uefi(cluster, &files) {
        add(&["-drive", &drive]);
    }
    add(&[
        "-drive",
        &format!(
            "if=none,id=disk,node-name={DISK_NODE},format=qcow2,discard=unmap,file={}",
            value(&files.disk())
        ),
    ]);
    add(devices.arguments);
    add(&["-device", &format!("{},drive=disk,bootindex=1", devices.disk)]);
    add(devices.others);
    add(boot_source::protocols(&cluster.boot_source));
    add(&["-device", "i6300esb", "-action", "watchdog=reset"]);
    for arguments in network(devices, layout, node, &cluster.boot_source) {
        add(&arguments.each_ref().map(String::as_str));
    }
    add(&[
        "-chardev",
        &format!(
            "socket,id=console,path={},server=on,wait=off,logfile={},logappend=on",
            value(&files.console_socket()),
            value(&files.console_log())
        ),
    ]);
    add(&["-serial", "chardev:console", "-device", "virtio-serial-pci"]);
    // Opened in append mode: the LAN process also writes to it.
    add(&["-chardev", &format!("file,id=ready,path={},append=on", value(&files.ready()))]);
    add(&["-device", &format!("virtserialport,chardev=ready,name={PORT}")]);
    add(&["-qmp", &format!("unix:{},server=on,wait=off", value(&files.qmp()))]);
    let events = value(&resets::socket(&layout.lan(), &node.name));
    add(&["-chardev", &format!("socket,id=events,path={events},reconnect-ms=500")]);
    add(&["-mon", "chardev=events,mode=control"]);
    let disks = user_data(devices, cluster.datasource, &files).into_iter();
    for arguments in disks.chain(spare_disk(cluster, &files)) {
        add(&arguments.each_ref().map(String::as_str));
    }
    for (index, folder) in cluster.shared.iter().enumerate() {
        let (tag, path) = (credential::share_tag(index), value(&folder.host));
        add(&["-fsdev", &format!("local,id={tag},path={path},security_model=none,multidevs=remap")]);
        add(&["-device", &format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}")]);
    }
    for (name, content) in credential::all(cluster, node) {
        let text = credential::smbios(&name, &content).replace(',', ",,");
        add(&["-smbios", &format!("type=11,value={text}")]);
    }
    for (name, _) in certificates::CREDENTIALS.iter().filter(|_| cluster.tls) {
        let path = value(&credential::smbios_file(files.root(), name));
        add(&["-smbios", &format!("type=11,path={path}")]);
    }
    if cluster.registration {
        add(&["-smbios", &format!("type=11,path={}", value(&layout.registration()))]);
    }
    all.extend(boot_source::medium(&cluster.boot_source));
    all.extend(cluster.qemu_arguments.iter().cloned());
    let kernel_arguments = acceleration.kernel_arguments().into_iter().chain(devices.kernel_arguments);
    add_kernel(&mut all, &cluster.boot_source, kernel_arguments);
    all
}

/// Passes `arguments` to a kernel that systemd-stub starts, or to that of `source`, whose own ones follow.
fn add_kernel<'a>(all: &mut Vec<String>, source: &'a BootSource, arguments: impl Iterator<Item = &'a str>) {
    let BootSource::Kernel(boot) = source else {
        return arguments.for_each(|arguments| append_kernel_arguments(all, arguments));
    };
    let arguments = arguments.chain([&*boot.arguments]).collect::<Vec<_>>().join(" ");
    let [kernel, initrd] = [&boot.kernel, &boot.initrd].map(|file| file.to_string_lossy().into_owned());
    all.extend(["-kernel".to_owned(), kernel, "-initrd".to_owned(), initrd, "-append".to_owned(), arguments]);
}

/// The drives of UEFI: code and variables. Without them QEMU's firmware is a BIOS.
fn uefi(cluster: &Cluster, files: &NodeLayout) -> Vec<String> {
    if boot_source::is_bios(&cluster.boot_source) {
        return Vec::new();
    }
    vec![
        format!("if=pflash,unit=0,format=raw,readonly=on,file={}", firmware::code(cluster.secure_boot)),
        format!("if=pflash,unit=1,format=raw,file={}", value(&files.variables())),
    ]
}

fn spare_disk(cluster: &Cluster, files: &NodeLayout) -> Vec<[String; 2]> {
    if cluster.spare_disk_gib.is_none() {
        return Vec::new();
    }
    let file = value(&files.spare_disk());
    vec![
        ["-drive".to_owned(), format!("if=none,id=spare,format=raw,discard=unmap,file={file}")],
        ["-device".to_owned(), format!("virtio-blk-pci,drive=spare,serial={SPARE_SERIAL}")],
    ]
}

/// The drive or file with the user-data.
fn user_data(devices: &Devices, datasource: Datasource, files: &NodeLayout) -> Vec<[String; 2]> {
    match datasource {
        Datasource::ConfigDrive | Datasource::NoCloud => {
            let (options, drive) = (devices.config_drive, value(&files.config_drive()));
            vec![
                ["-drive".to_owned(), format!("if=none,id=config,format=raw,{options},file={drive}")],
                ["-device".to_owned(), format!("{},drive=config,serial=config-2", devices.config)],
            ]
        }
        Datasource::FwCfg => {
            let file = files.config_folder().join(crate::config_drive::FOLDER).join("user_data");
            vec![["-fw_cfg".to_owned(), format!("name={FW_CFG},file={}", value(&file))]]
        }
        Datasource::Platform => Vec::new(),
    }
}

/// Two networks: QEMU's user network, for outbound traffic and forwarded ports, and the cluster's LAN.
fn network(devices: &Devices, layout: &Layout, node: &Node, source: &BootSource) -> [[String; 4]; 2] {
    let mut user = "user,id=user".to_owned();
    let forwards = node.forwards.iter().map(|forward| (forward.host, forward.guest));
    for (host, guest) in [(node.ssh_port, 22)].into_iter().chain(forwards) {
        // invariant: writing to a String cannot fail.
        write!(user, ",hostfwd=tcp:127.0.0.1:{host}-:{guest}").unwrap_or_default();
    }
    let socket = value(&lan::socket(&layout.lan(), &node.name));
    let lan = format!("stream,id=lan,server=off,addr.type=unix,addr.path={socket},reconnect-ms=500");
    let boot = boot_source::adapter(source);
    [(user, "netdev=user,romfile=".to_owned()), (lan, format!("netdev=lan,mac={},{boot}", node.mac))].map(
        |(netdev, device)| {
            let device = format!("{},{device}", devices.network);
            ["-netdev".to_owned(), netdev, "-device".to_owned(), device]
        },
    )
}

/// Adds kernel arguments through systemd-stub, which reads only one such string. Ours come first, so that those of
/// the caller take precedence.
fn append_kernel_arguments(all: &mut Vec<String>, arguments: &str) {
    const STRING: &str = "value=io.systemd.stub.kernel-cmdline-extra=";
    let arguments = arguments.replace(',', ",,");
    match all.iter_mut().find(|argument| argument.starts_with("type=11,") && argument.contains(STRING)) {
        Some(existing) => *existing = existing.replacen(STRING, &format!("{STRING}{arguments} "), 1),
        None => all.extend(["-smbios".to_owned(), format!("type=11,{STRING}{arguments}")]),
    }
}

fn machine(model: &str, secure_boot: bool) -> String {
    if secure_boot { format!("{model},smm=on") } else { model.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cluster::{
        ClusterSpec, DirectBoot, Forward, Hardware, Medium, MediumDrive, NetworkFirmware, SharedFolder,
        tests::image,
    };

    const GOLDEN: &str = include_str!("golden/core-01.txt");

    fn lines(cluster: &Cluster, state: &str, acceleration: &Acceleration) -> String {
        let layout = Layout::new(Path::new(state), &cluster.name).unwrap();
        let arguments = arguments(&layout, cluster, &cluster.nodes[0], acceleration, true);
        let mut text = String::new();
        for argument in arguments {
            text.push_str(if argument.starts_with('-') && !text.is_empty() { "\n" } else { "" });
            text.push_str(if text.is_empty() || text.ends_with('\n') { "" } else { " " });
            text.push_str(&argument);
        }
        text + "\n"
    }

    fn cluster() -> Cluster {
        let spec = ClusterSpec {
            forwards: vec![Forward { host: 8080, guest: 80 }],
            shared: vec![SharedFolder { host: "/srv/a,b".into(), guest: "/home/core/share".into() }],
            ..ClusterSpec::default()
        };
        let mut cluster = Cluster::new("default", &spec, image());
        cluster.nodes[0].ssh_port = 52211;
        cluster
    }

    #[test]
    fn command_line_matches_golden() {
        let tcg = Acceleration::Tcg { reason: "no /dev/kvm".into() };
        let text = lines(&cluster(), "/state", &tcg);
        if std::env::var_os("KEELSON_BLESS").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/qemu/golden/core-01.txt"), &text)
                .unwrap();
        }
        assert_eq!(text, GOLDEN);
        let (layout, cluster) = (Layout::new(Path::new("/state"), "default").unwrap(), cluster());
        let unconfined = arguments(&layout, &cluster, &cluster.nodes[0], &tcg, false).join(" ");
        assert_eq!(unconfined, GOLDEN.trim_end().replace('\n', " ").replace(&(SANDBOX.join(" ") + " "), ""));
    }

    #[test]
    fn secure_boot_protects_the_variables() {
        let mut cluster = cluster();
        assert!(!GOLDEN.contains("smm") && !GOLDEN.contains("secboot"), "only who asks for it has it");
        cluster.secure_boot = true;
        let text = lines(&cluster, "/state", &Acceleration::Kvm);
        assert!(
            text.contains("-machine q35,smm=on\n-global driver=cfi.pflash01,property=secure,value=on\n"),
            "{text}"
        );
        assert!(text.contains("readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.secboot.fd\n"), "{text}");
    }

    #[test]
    fn a_second_disk_follows_the_others() {
        assert!(!GOLDEN.contains("spare"));
        let cluster = Cluster { spare_disk_gib: Some(4), ..cluster() };
        let text = lines(&cluster, "/a,b", &Acceleration::Kvm);
        let expected = "-drive if=none,id=spare,format=raw,discard=unmap,file=/a,,b/default/core-01/spare-disk.raw\n\
                        -device virtio-blk-pci,drive=spare,serial=spare\n";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn other_hardware_has_no_virtio_disk_and_network() {
        let mut cluster = cluster();
        for (hardware, expect) in [
            (
                Hardware::VirtualBox,
                &[
                    "-machine pc\n",
                    "-device ich9-ahci,id=ahci\n-device ide-hd,bus=ahci.0,drive=disk,bootindex=1\n",
                    "-netdev user,id=user,hostfwd=tcp:127.0.0.1:52211-:22,hostfwd=tcp:127.0.0.1:8080-:80\n-device e1000,netdev=user,romfile=\n",
                    "-smbios type=1,manufacturer=innotek GmbH,product=VirtualBox\n",
                ][..],
            ),
            (
                Hardware::Vmware,
                &[
                    "-device scsi-hd,bus=pvscsi.0,share-rw=on,drive=disk,bootindex=1\n",
                    "kernel-cmdline-extra=module_blacklist=usb_storage,,uas\n",
                    &format!("-device usb-storage,bus=usb.0,drive={DISK_NODE},share-rw=on,bootindex=2\n"),
                    "-device vmxnet3,netdev=user,romfile=\n",
                    "-smbios type=1,manufacturer=VMware,, Inc.,product=VMware Virtual Platform\n",
                ],
            ),
        ] {
            cluster.hardware = hardware;
            let text = lines(&cluster, "/state", &Acceleration::Kvm);
            for part in expect {
                assert!(text.contains(part), "{part} in {text}");
            }
            let foreign = ["virtio-blk", "virtio-net", "virtio-rng"];
            assert!(foreign.iter().all(|device| !text.contains(device)), "{text}");
        }
    }

    #[test]
    fn a_directly_booted_kernel_has_all_arguments() {
        let mut cluster = cluster();
        let [kernel, initrd] = ["/out/vmlinuz", "/out/initrd.img"].map(std::path::PathBuf::from);
        let boot = DirectBoot { kernel, initrd, arguments: "console=ttyS0".to_owned() };
        cluster.boot_source = BootSource::Kernel(boot);
        let text = lines(&cluster, "/state", &Acceleration::Tcg { reason: "no /dev/kvm".into() });
        let boot = "-kernel /out/vmlinuz\n-initrd /out/initrd.img\n\
                    -append systemd.default_device_timeout_sec=180 no_timer_check console=ttyS0\n";
        assert!(text.ends_with(boot) && !text.contains("kernel-cmdline-extra"), "{text}");
    }

    #[test]
    fn the_network_comes_before_the_disk() {
        let mut cluster = cluster();
        let mac = cluster.nodes[0].mac.clone();
        for (firmware, present, absent) in [
            (NetworkFirmware::Bios, format!("netdev=lan,mac={mac},bootindex=0\n"), "pflash"),
            (
                NetworkFirmware::Pxe,
                "name=opt/org.tianocore/IPv6PXESupport,string=n".to_owned(),
                "IPv4PXESupport",
            ),
            (NetworkFirmware::Http, "name=opt/org.tianocore/IPv4PXESupport,string=n".to_owned(), "-kernel"),
        ] {
            cluster.boot_source = BootSource::Network(firmware);
            let text = lines(&cluster, "/state", &Acceleration::Kvm);
            assert!(text.contains(&present) && !text.contains(absent), "{firmware:?}: {text}");
            assert!(text.contains("bootindex=0") && text.contains("netdev=user,romfile=\n"), "{text}");
        }
    }

    #[test]
    fn a_medium_precedes_the_disk() {
        let mut cluster = cluster();
        let mut check = |drive, bios, expected: &str| {
            cluster.boot_source = BootSource::Medium(Medium { file: "/out/a,b.iso".into(), drive, bios });
            let text = lines(&cluster, "/state", &Acceleration::Kvm);
            let drive = "-drive if=none,id=medium,format=raw,readonly=on,file=/out/a,,b.iso\n";
            assert!(text.contains(&format!("{drive}{expected}")), "{text}");
            assert_eq!(text.contains("if=pflash"), !bios, "{text}");
        };
        check(MediumDrive::CdRom, false, "-device ide-cd,drive=medium,bootindex=0\n");
        let usb = "-device qemu-xhci,id=medium-usb\n-device usb-storage,bus=medium-usb.0,drive=medium,bootindex=0\n";
        check(MediumDrive::Usb, true, usb);
    }

    #[test]
    fn kernel_arguments_are_one_stub_string() {
        let tcg = Acceleration::Tcg { reason: "no /dev/kvm".into() };
        let mut cluster = cluster();
        cluster.qemu_arguments =
            ["-smbios", "type=11,value=io.systemd.stub.kernel-cmdline-extra=keelson.autologin"]
                .map(str::to_owned)
                .to_vec();
        let text = lines(&cluster, "/state", &tcg);
        let strings: Vec<_> = text.lines().filter(|line| line.contains("kernel-cmdline-extra")).collect();
        let both = "-smbios type=11,value=io.systemd.stub.kernel-cmdline-extra=\
                    systemd.default_device_timeout_sec=180 no_timer_check keelson.autologin";
        assert_eq!(strings, [both], "the stub would read the first of two and no other");
        let existing = lines(&cluster, "/state", &Acceleration::Kvm);
        assert!(existing.contains("kernel-cmdline-extra=keelson.autologin\n"), "{existing}");
    }

    #[test]
    fn fw_cfg_replaces_the_drive_and_commas_are_doubled() {
        let mut cluster = cluster();
        cluster.datasource = Datasource::FwCfg;
        let text = lines(&cluster, "/a,b", &Acceleration::Kvm);
        assert!(!text.contains("id=config"), "never both: user-data must not be applied twice");
        assert!(text.contains("name=opt/com.coreos/config,file=/a,,b/default/core-01/config-drive/"));
        assert!(text.contains("-accel kvm\n-cpu host\n"));
    }
}
