//! What an operator of a cloud does, and checks on the machine.

use std::fs;
use std::path::Path;

use machines::keys;
use machines::machine::Machine;

use super::super::kv::SOON;
use super::cloud::Cloud;
use super::platforms::{self, Platform};
use crate::failure::{Failure, expect};
use crate::scenario::Context;

/// A key of the metadata that is not the harness's.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEtlZWxzb24gc2NlbmFyaW8sIG5vdCBhIHJlYWwga2V5";

/// Operates a cloud in which the first machine runs.
pub struct Operator<'a> {
    context: &'a Context<'a>,
    pub machine: Machine<'a>,
    pub cloud: Cloud,
}

impl<'a> Operator<'a> {
    pub fn join(context: &'a Context<'a>) -> Result<Self, Failure> {
        Ok(Self { context, machine: context.machine(1), cloud: Cloud::join(context)? })
    }

    /// Replaces a container's OEM files, and the service.
    pub fn insert(&self, platform: &Platform) -> Result<(), Failure> {
        self.insert_with(platform, &user_data(platform))
    }

    pub fn insert_with(&self, platform: &Platform, user_data: &str) -> Result<(), Failure> {
        let folder = self.context.shared(1);
        write(&folder.join("cloud-config.yml"), platform.cloud_config)?;
        write(&folder.join("oem-release"), platform.release)?;
        self.serve(platform, user_data)
    }

    /// Replaces the service.
    pub fn serve(&self, platform: &Platform, user_data: &str) -> Result<(), Failure> {
        let own = keys::ensure(&self.context.site.layout().key(), "scenario")
            .map_err(|error| Failure::Expected(format!("a key pair: {error}")))?;
        let other = format!("{KEY} {}", platform.name);
        let machine = platforms::Machine { platform, keys: [&own, &other], user_data };
        self.cloud.become_service((platform.service)(&machine));
        Ok(())
    }

    /// Boots the machine on a platform.
    pub fn boot(&self, platform: &Platform) -> Result<(), Failure> {
        self.machine.shut_down()?;
        self.insert(platform)?;
        self.machine.start()?;
        self.check(platform)
    }

    pub fn check(&self, platform: &Platform) -> Result<(), Failure> {
        self.identity(platform)?;
        let Platform { name, private, public, .. } = platform;
        let applied =
            self.machine.succeed(&format!("cat /etc/from-{name}; systemctl is-active from-{name}"))?;
        expect(
            applied == format!("{private} {public}\nactive\n"),
            "the file and the unit of user-data",
            &applied,
        )?;
        let failed = self.machine.succeed("systemctl --failed --no-legend --plain")?;
        expect(failed.trim().is_empty(), "no failed unit", &failed)?;
        self.journal(&format!("Fetching user-data from datasource of type \"{}\"", platform.kind)).map(drop)
    }

    /// Checks what the metadata sets. That a command runs shows that its first key was installed.
    pub fn identity(&self, platform: &Platform) -> Result<(), Failure> {
        let Platform { name, host_name, private, public, .. } = platform;
        let host_name = host_name.split('.').next().unwrap_or_default();
        let seen = self.machine.succeed("cat /proc/sys/kernel/hostname")?;
        expect(seen.trim() == host_name, host_name, &seen)?;
        let keys = self.machine.read("/home/core/.ssh/authorized_keys")?;
        // The keys of the former platform are removed: they are of the same name.
        let others: Vec<_> = keys.lines().filter_map(|line| line.strip_prefix(KEY)).collect();
        expect(others == [format!(" {name}")], "the platform's other key alone", &keys)?;
        let environment = self.machine.read("/etc/environment")?;
        let known = [format!("COREOS_PRIVATE_IPV4={private}"), format!("COREOS_PUBLIC_IPV4={public}")];
        let has_all = known.iter().all(|line| environment.lines().any(|has| has == line));
        expect(has_all, &known.join(", "), &environment)?;
        let release = self.machine.read("/etc/oem-release")?;
        expect(release.lines().any(|line| line == format!("ID={name}")), name, &release)
    }

    /// Lines of the unit's journal in this boot; fails if there is none.
    pub fn journal(&self, text: &str) -> Result<String, Failure> {
        let command = format!("sudo journalctl --no-pager -b -u oem-cloudinit.service | grep -F '{text}'");
        Ok(self.machine.succeed(&command)?)
    }

    /// Makes programs of the machine trust a certificate, also at the next boots.
    pub fn trust(&self, certificate: &str) -> Result<(), Failure> {
        self.machine.write("/etc/ssl/certs/scenario.pem", certificate.as_bytes())?;
        let trusted = "openssl verify -no-CApath -CAfile /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/scenario.pem";
        self.machine.wait_until_succeeds(trusted, SOON).map(drop).map_err(Failure::from)
    }
}

/// With the addresses of the metadata.
pub fn user_data(platform: &Platform) -> String {
    let name = platform.name;
    format!(
        "#cloud-config\nwrite_files:\n- {{path: /etc/from-{name}, content: \"$private_ipv4 $public_ipv4\\n\"}}\n\
         coreos: {{units: [{{name: from-{name}.service, runtime: true, command: start, \
         content: \"[Service]\\nExecStart=/bin/sleep inf\\n\"}}]}}\n"
    )
}

pub fn write(path: &Path, content: &str) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, content))
        .map_err(|source| Failure::Disk { path: path.into(), source })
}
