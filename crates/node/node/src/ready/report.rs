//! The lines that the host reads; their field names are a contract with the `machines` crate.

use std::fs;
use std::io;
use std::net::Ipv4Addr;

use serde::Serialize;

use super::manager::Status;
use crate::os_release;
use crate::root::Root;

/// The profile of released images.
const DEFAULT_PROFILE: &str = "node";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub state: &'static str,
    /// `VERSION_ID` of the image.
    pub version: Option<String>,
    /// `VARIANT_ID` of the image: its build profile; released images have none and report `node`.
    pub profile: Option<String>,
    /// `a` or `b`; `null` in a container.
    pub slot: Option<char>,
    pub failed_units: Vec<String>,
    pub address: Option<Ipv4Addr>,
    /// 32 hexadecimal digits, as in the journal.
    pub boot_id: String,
    /// From the kernel's start (in a container, systemd's) to the end of the boot.
    pub startup_ms: u64,
}

/// A progress report: the remaining jobs.
#[derive(Debug, Serialize)]
pub struct Starting<'a> {
    pub state: &'static str,
    pub jobs: usize,
    /// The first few running units.
    pub running: &'a [String],
    /// The status of one of them, while the jobs are unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'a Status>,
}

impl Starting<'_> {
    /// One line with a newline.
    pub fn line(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string(self)? + "\n")
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot read the boot id in {BOOT_ID}")]
pub struct BootIdError(#[source] io::Error);

impl Report {
    /// One line with a newline.
    pub fn line(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string(self)? + "\n")
    }
}

pub fn boot_id(root: &Root) -> Result<String, BootIdError> {
    let text = fs::read_to_string(root.at(BOOT_ID)).map_err(BootIdError)?;
    Ok(text.trim().replace('-', ""))
}

pub fn version(root: &Root) -> Option<String> {
    os_release::value(root, "VERSION_ID")
}

/// `None` without an os-release file.
pub fn profile(root: &Root) -> Option<String> {
    version(root)?;
    Some(os_release::value(root, "VARIANT_ID").unwrap_or_else(|| DEFAULT_PROFILE.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_format() {
        let report = Report {
            state: "ready",
            version: Some("9999.1.0".into()),
            profile: Some("quick".into()),
            slot: Some('a'),
            failed_units: vec!["x.service".into()],
            address: Some(Ipv4Addr::new(10, 77, 0, 11)),
            boot_id: "0123".into(),
            startup_ms: 17,
        };
        let expected = "{\"state\":\"ready\",\"version\":\"9999.1.0\",\"profile\":\"quick\",\"slot\":\"a\",\
                        \"failed_units\":[\"x.service\"],\"address\":\"10.77.0.11\",\"boot_id\":\"0123\",\
                        \"startup_ms\":17}\n";
        assert_eq!(report.line().unwrap(), expected);
        let unknown = Report {
            version: None,
            profile: None,
            slot: None,
            address: None,
            failed_units: Vec::new(),
            ..report
        };
        let expected = "{\"state\":\"ready\",\"version\":null,\"profile\":null,\"slot\":null,\
                        \"failed_units\":[],\"address\":null,\"boot_id\":\"0123\",\"startup_ms\":17}\n";
        assert_eq!(unknown.line().unwrap(), expected);
    }

    #[test]
    fn default_profile_without_variant_id() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        assert_eq!(profile(&root), None);
        fs::create_dir_all(root.at("/usr/lib")).unwrap();
        for (variant, expected) in [("", "node"), ("VARIANT_ID=quick\n", "quick")] {
            fs::write(root.at(os_release::OS_RELEASE), format!("VERSION_ID=1.2.3\n{variant}")).unwrap();
            assert_eq!(profile(&root).as_deref(), Some(expected), "{variant}");
        }
    }

    #[test]
    fn boot_id_has_no_dashes() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        assert!(boot_id(&root).is_err());
        fs::create_dir_all(root.at("/proc/sys/kernel/random")).unwrap();
        fs::write(root.at(BOOT_ID), "5c91-a0\n").unwrap();
        assert_eq!(boot_id(&root).unwrap(), "5c91a0");
    }
}
