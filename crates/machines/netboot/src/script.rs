//! iPXE's scripts, and the kernel's command line in them.

use crate::dhcp::reply::file_url;
use crate::limits::COMMAND_LINE_BYTES;
use crate::query::Query;
use crate::rules::{Boot, Rule};

/// The end of a script that has failed.
const RETRY: &str = "echo The netboot server has no script: next attempt in 10 s\nsleep 10\ngoto retry\n";

/// The command line is longer than what the kernel reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the kernel's command line has {0} bytes, more than {COMMAND_LINE_BYTES}: put sshkeys into user-data"
)]
pub struct LongCommandLine(usize);

/// `/boot.ipxe`: reports the machine, and runs the script for it.
#[must_use]
pub fn first(url: &str) -> String {
    let report = report(url);
    format!("#!ipxe\n:retry\n{report} ||\n{RETRY}")
}

/// `autoexec.ipxe`: the same for iPXE that has no address yet, with each network adapter in turn.
///
/// Without this script iPXE waits for a key (2 s), then also for an IPv6 router (3.9 s if there is none), and needs a
/// DHCP server that offers it `/boot.ipxe`.
#[must_use]
pub fn autoexec(url: &str) -> String {
    let report = report(url);
    format!(
        "#!ipxe\n:retry\nset index:int32 0\n\
         :next\nisset ${{net${{index}}/mac}} || goto last\n\
         ifconf --configurator dhcp net${{index}} && {report} ||\n\
         ifclose net${{index}}\ninc index\ngoto next\n\
         :last\n{RETRY}"
    )
}

fn report(url: &str) -> String {
    let machine = "mac=${mac:hexhyp}&uuid=${uuid}&serial=${serial:uristring}&hostname=${hostname:uristring}";
    format!("chain --replace {url}/ipxe?{machine}")
}

/// Boots from disk.
#[must_use]
pub fn disk() -> String {
    // Firmware of EFI tries the next device only after an error; a BIOS may stop instead.
    "#!ipxe\necho Booting from disk\niseq ${platform} pcbios && sanboot --no-describe --drive 0x80 ||\nexit 1\n"
        .to_owned()
}

/// Shows why nothing boots.
#[must_use]
pub fn failure(message: &str) -> String {
    let plain = |char: &char| !char.is_control() && *char != '$';
    let message: String = message.chars().filter(plain).collect();
    format!("#!ipxe\necho Netboot: {message}\nsleep 10\nexit 1\n")
}

/// Boots a kernel. Names need no quoting: see [`crate::catalog::scan`].
#[must_use]
pub fn kernel(url: &str, kernel: &str, initrds: &[&str], command_line: &str) -> String {
    let mut script = format!("#!ipxe\nkernel {} {command_line}\n", file_url(url, kernel));
    for initrd in initrds {
        script += &format!("initrd --name {initrd} {}\n", file_url(url, initrd));
    }
    script + "boot\n"
}

/// The kernel's options for a machine. With EFI the kernel finds initrds by their names.
///
/// # Errors
/// The command line is too long.
pub fn command_line(
    rule: &Rule,
    url: &str,
    initrds: &[&str],
    query: &Query,
) -> Result<String, LongCommandLine> {
    let mut options: Vec<String> = initrds.iter().map(|name| format!("initrd={name}")).collect();
    // Of two, the last one counts. With it the kernel does not limit the initrd to half of the memory.
    options.push("root=tmpfs".to_owned());
    options.extend(rule.options.iter().cloned());
    options.extend(rule.ssh_keys.iter().map(|key| format!("sshkey=\"{key}\"")));
    let report = query.encoded();
    let user_data = rule.user_data.as_ref().map(|_| format!("{url}/user-data?{report}"));
    match &rule.boot {
        Boot::Install { device, once } => {
            options.push(format!("keelson.install={device}"));
            options.extend((!once).then(|| "keelson.install.force".to_owned()));
            options.extend(user_data.map(|url| format!("keelson.install.config={url}")));
            options.push(format!("keelson.install.report={url}/installed?{report}"));
        }
        Boot::Live | Boot::Disk => {
            options.extend(user_data.map(|url| format!("cloud-config-url={url}")));
            options.push(format!("keelson.ready.report={url}/ready?{report}"));
        }
    }
    let line = options.join(" ");
    if line.len() > COMMAND_LINE_BYTES { Err(LongCommandLine(line.len())) } else { Ok(line) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::rules::Rules;

    const URL: &str = "http://10.9.0.1:8042";

    fn check(rule: &str, expect: &str) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.yaml"), "").unwrap();
        let rules = Rules::parse(&format!("[[rule]]\nmatch = \"*\"\n{rule}"), folder.path()).unwrap();
        let query = Query::parse("mac=52-54-00-12-34-56&serial=A%20%221").unwrap();
        let line = command_line(rules.iter().next().unwrap(), URL, &["a.img"], &query).unwrap();
        assert_eq!(line, expect);
    }

    #[test]
    fn options_of_the_kernel() {
        const MACHINE: &str = "mac=52-54-00-12-34-56&serial=A%20%221";
        check("", &format!("initrd=a.img root=tmpfs keelson.ready.report={URL}/ready?{MACHINE}"));
        check(
            "user-data = \"a.yaml\"\noptions = \"console=ttyS0 coreos.autologin\"\nsshkeys = \"ssh-rsa AAAA me\"",
            &format!(
                "initrd=a.img root=tmpfs console=ttyS0 coreos.autologin sshkey=\"ssh-rsa AAAA me\" \
                 cloud-config-url={URL}/user-data?{MACHINE} keelson.ready.report={URL}/ready?{MACHINE}"
            ),
        );
        check(
            "user-data = \"a.yaml\"\ninstall = \"once\"\ndevice = \"/dev/vda\"",
            &format!(
                "initrd=a.img root=tmpfs keelson.install=/dev/vda keelson.install.config={URL}/user-data?{MACHINE} \
                 keelson.install.report={URL}/installed?{MACHINE}"
            ),
        );
    }

    #[test]
    fn a_repeated_installation_is_forced() {
        check(
            "install = \"always\"\ndevice = \"smallest\"",
            &format!(
                "initrd=a.img root=tmpfs keelson.install=smallest keelson.install.force \
                 keelson.install.report={URL}/installed?mac=52-54-00-12-34-56&serial=A%20%221"
            ),
        );
    }

    #[test]
    fn a_command_line_that_the_kernel_would_cut_is_refused() {
        let text = format!("[[rule]]\nmatch = \"*\"\noptions = \"{}\"", "a".repeat(900));
        let rules = Rules::parse(&text, Path::new("/")).unwrap();
        let name = "b".repeat(120);
        let names = [name.as_str(); 10];
        let error = command_line(rules.iter().next().unwrap(), URL, &names, &Query::default());
        assert!(matches!(error, Err(LongCommandLine(length)) if length > 2047));
    }

    #[test]
    fn scripts() {
        assert_eq!(
            kernel(URL, "k-1.0.0+a-pxe.vmlinuz", &["i.img", "oem.gz"], "initrd=i.img initrd=oem.gz quiet"),
            "#!ipxe\n\
             kernel http://10.9.0.1:8042/files/k-1.0.0%2Ba-pxe.vmlinuz initrd=i.img initrd=oem.gz quiet\n\
             initrd --name i.img http://10.9.0.1:8042/files/i.img\n\
             initrd --name oem.gz http://10.9.0.1:8042/files/oem.gz\n\
             boot\n"
        );
        assert!(
            first(URL)
                .contains("\nchain --replace http://10.9.0.1:8042/ipxe?mac=${mac:hexhyp}&uuid=${uuid}&")
        );
        assert!(autoexec(URL).contains(&format!(
            "\nifconf --configurator dhcp net${{index}} && chain --replace {URL}/ipxe?mac=${{mac:hexhyp}}&"
        )));
        assert!(disk().contains("sanboot") && disk().ends_with("exit 1\n"));
        assert_eq!(failure("no ${image}\n"), "#!ipxe\necho Netboot: no {image}\nsleep 10\nexit 1\n");
    }
}
