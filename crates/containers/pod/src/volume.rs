//! Volumes of a pod, and where apps mount them.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::MAX_NAME;

const VOLUME_FORM: &str = "NAME,kind=host,source=PATH[,readOnly=BOOL][,recursive=BOOL] or \
                           NAME,kind=empty[,readOnly=BOOL][,mode=MODE][,uid=UID][,gid=GID]";
const MOUNT_FORM: &str = "volume=NAME,target=PATH";
const DEFAULT_MODE: u32 = 0o755;

/// What a volume contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeKind {
    /// A file or folder of the host.
    Host {
        /// An absolute path.
        source: String,
        /// With what is mounted below it.
        recursive: bool,
    },
    /// A folder that is removed with the pod.
    Empty {
        /// Its mode.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Unique in the pod.
    pub name: String,
    /// Where its content is.
    pub kind: VolumeKind,
    /// Whether apps may write.
    pub read_only: bool,
}

/// A volume in an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The name of a volume.
    pub volume: String,
    /// An absolute path in the app.
    pub target: String,
}

/// Why a volume or mount is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum VolumeError {
    #[error("volume {text:?}: {reason}; expected {VOLUME_FORM}")]
    Volume { text: String, reason: String },
    #[error("mount {text:?}: {reason}; expected {MOUNT_FORM}")]
    Mount { text: String, reason: String },
}

impl Volume {
    /// An empty folder that root owns.
    #[must_use]
    pub fn empty(name: &str) -> Self {
        let kind = VolumeKind::Empty { mode: DEFAULT_MODE, uid: 0, gid: 0 };
        Self { name: name.to_owned(), kind, read_only: false }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let name = check_name(parts.next().unwrap_or_default())?;
        let (mut kind, mut source, mut read_only, mut recursive) = (None, None, false, None);
        let (mut mode, mut uid, mut gid) = (None, None, None);
        for part in parts {
            let (key, value) = part.split_once('=').ok_or_else(|| format!("{part:?} has no value"))?;
            let invalid = || format!("{key} is {value:?}");
            match key {
                "kind" => kind = Some(value),
                "source" => source = Some(check_path(value)?),
                "readOnly" => read_only = parse_bool(value).ok_or_else(invalid)?,
                "recursive" => recursive = Some(parse_bool(value).ok_or_else(invalid)?),
                "mode" => mode = Some(parse_mode(value).ok_or_else(invalid)?),
                "uid" => uid = Some(value.parse().map_err(|_| invalid())?),
                "gid" => gid = Some(value.parse().map_err(|_| invalid())?),
                other => return Err(format!("unknown key {other:?}")),
            }
        }
        let kind = match (kind, source) {
            (Some("host"), Some(source)) if (mode, uid, gid) == (None, None, None) => {
                VolumeKind::Host { source, recursive: recursive.unwrap_or(true) }
            }
            (Some("host"), None) => return Err("source is missing".to_owned()),
            (Some("host"), _) => return Err("mode, uid and gid are for empty volumes".to_owned()),
            (Some("empty"), None) => VolumeKind::Empty {
                mode: mode.unwrap_or(DEFAULT_MODE),
                uid: uid.unwrap_or(0),
                gid: gid.unwrap_or(0),
            },
            (Some("empty"), Some(_)) => return Err("an empty volume has no source".to_owned()),
            (Some(other), _) => return Err(format!("unknown kind {other:?}")),
            (None, _) => return Err("kind is missing".to_owned()),
        };
        Ok(Self { name, kind, read_only })
    }
}

impl Mount {
    fn parse(text: &str) -> Result<Self, String> {
        let (mut volume, mut target) = (None, None);
        for part in text.split(',') {
            let (key, value) = part.split_once('=').ok_or_else(|| format!("{part:?} has no value"))?;
            match key {
                "volume" => volume = Some(check_name(value)?),
                "target" => target = Some(check_path(value)?),
                other => return Err(format!("unknown key {other:?}")),
            }
        }
        let target = target.ok_or("target is missing")?;
        if target.split('/').all(|part| part.is_empty() || part == ".") {
            return Err("the target is the root of the app".to_owned());
        }
        Ok(Self { volume: volume.ok_or("volume is missing")?, target })
    }
}

/// Volumes of image mount points are named by their paths: `volume-var-lib-data`.
fn check_name(name: &str) -> Result<String, String> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if starts && name.bytes().all(valid) && name.len() <= MAX_NAME {
        Ok(name.to_owned())
    } else {
        Err(format!("the name is {name:?}"))
    }
}

fn check_path(path: &str) -> Result<String, String> {
    let is_clean = path.starts_with('/') && !path.contains('\0') && path.split('/').all(|part| part != "..");
    if is_clean { Ok(path.to_owned()) } else { Err(format!("{path:?} is no absolute path without `..`")) }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

fn parse_mode(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777)
}

impl FromStr for Volume {
    type Err = VolumeError;

    fn from_str(text: &str) -> Result<Self, VolumeError> {
        Self::parse(text).map_err(|reason| VolumeError::Volume { text: text.to_owned(), reason })
    }
}

impl FromStr for Mount {
    type Err = VolumeError;

    fn from_str(text: &str) -> Result<Self, VolumeError> {
        Self::parse(text).map_err(|reason| VolumeError::Mount { text: text.to_owned(), reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes() {
        let check =
            |text: &str, expected: Result<(VolumeKind, bool), &str>| match (text.parse::<Volume>(), expected)
            {
                (Ok(volume), Ok((kind, read_only))) => {
                    assert_eq!(
                        (volume.name.as_str(), volume.kind, volume.read_only),
                        ("data", kind, read_only),
                        "{text}"
                    );
                }
                (Err(error), Err(excerpt)) => assert!(error.to_string().contains(excerpt), "{text}: {error}"),
                (other, _) => panic!("{text}: {other:?}"),
            };
        let host = |recursive| VolumeKind::Host { source: "/srv".to_owned(), recursive };
        check("data,kind=host,source=/srv", Ok((host(true), false)));
        check("data,kind=host,source=/srv,readOnly=true,recursive=false", Ok((host(false), true)));
        check("data,kind=empty", Ok((VolumeKind::Empty { mode: 0o755, uid: 0, gid: 0 }, false)));
        check(
            "data,kind=empty,mode=0700,uid=1,gid=2",
            Ok((VolumeKind::Empty { mode: 0o700, uid: 1, gid: 2 }, false)),
        );
        check("data,source=/srv", Err("kind is missing"));
        check("data,kind=host", Err("source is missing"));
        check("data,kind=host,source=srv", Err("no absolute path"));
        check("data,kind=host,source=/srv/../etc", Err("no absolute path"));
        check("data,kind=host,source=/srv,mode=0700", Err("for empty volumes"));
        check("data,kind=empty,source=/srv", Err("has no source"));
        check("data,kind=empty,mode=999", Err("mode is \"999\""));
        check("data,kind=nfs", Err("unknown kind"));
        check("../a,kind=empty", Err("the name is"));
        check("data,readonly=true", Err("unknown key \"readonly\""));
        check("data,kind=host,source=/srv,readOnly=yes", Err("readOnly is \"yes\""));
    }

    #[test]
    fn mounts() {
        let check = |text: &str, expected: Result<(&str, &str), &str>| match (text.parse::<Mount>(), expected)
        {
            (Ok(mount), Ok(expected)) => assert_eq!((mount.volume.as_str(), mount.target.as_str()), expected),
            (Err(error), Err(excerpt)) => assert!(error.to_string().contains(excerpt), "{text}: {error}"),
            (other, _) => panic!("{text}: {other:?}"),
        };
        check("volume=data,target=/var/data", Ok(("data", "/var/data")));
        check("target=/a,volume=data", Ok(("data", "/a")));
        check("volume=data", Err("target is missing"));
        check("volume=data,target=/", Err("root of the app"));
        check("volume=data,target=/a/../..", Err("without `..`"));
        check("data:/a", Err("has no value"));
    }
}
