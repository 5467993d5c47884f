//! State that fleetd writes for its next start and for `fleetd fence`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fleet_core::{FenceKey, MachineId};
use fleet_node::{Peer, SaveState, SaveUnits, SavedState};
use serde::{Deserialize, Serialize};
use unit_file::{UnitHash, UnitName};

/// Number of recorded starts. More than one, as a start may fail before it registers.
const MAX_STARTS: usize = 8;
const MODE: u32 = 0o600;

/// Random ids of the latest starts, kept across reboots, by which fleetd recognizes its own presence in the store.
pub struct StartHistory {
    pub instance: String,
    pub earlier: Vec<String>,
}

impl StartHistory {
    /// Records the new id before it is published. A write error is logged only.
    pub fn begin(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("starts.json");
        let text = std::fs::read(&path).unwrap_or_default();
        let mut earlier: Vec<String> = serde_json::from_slice(&text).unwrap_or_default();
        let number = getrandom::u64().map_err(|error| anyhow::anyhow!("random numbers: {error}"))?;
        let instance = format!("{number:016x}");
        earlier.truncate(MAX_STARTS - 1);
        let all: Vec<&String> = [&instance].into_iter().chain(&earlier).collect();
        let written = std::fs::create_dir_all(folder)
            .and_then(|()| service::file::replace(&path, &serde_json::to_vec(&all)?, MODE));
        if let Err(error) = written {
            tracing::warn!(
                "{}: {error}: after a crash this machine may have to wait for its own presence",
                path.display()
            );
        }
        Ok(Self { instance, earlier })
    }
}

/// State in `/run`, valid until the next boot. Cheap to clone. Write errors are logged only.
#[derive(Clone)]
pub struct RuntimeState {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct ContactJson {
    /// Seconds since boot.
    sent: f64,
    others: Vec<(String, String)>,
    #[serde(default)]
    fence_key: Option<String>,
    /// Seconds since boot.
    #[serde(default)]
    without_store_at: Option<f64>,
}

/// The settings of `fleetd fence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceSettings {
    pub ttl: Duration,
    pub partition_port: Option<u16>,
    pub units_directory: PathBuf,
    pub systemd_user: bool,
}

impl RuntimeState {
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn contact_file(&self) -> PathBuf {
        self.folder.join("contact.json")
    }

    fn units_file(&self) -> PathBuf {
        self.folder.join("launched.json")
    }

    pub fn contact(&self) -> Option<SavedState> {
        let json: ContactJson = serde_json::from_slice(&std::fs::read(self.contact_file()).ok()?).ok()?;
        let others = json.others.into_iter().map(|(id, address)| Peer { id: MachineId::new(&id), address });
        Some(SavedState {
            last_heartbeat: Duration::try_from_secs_f64(json.sent).ok()?,
            peers: others.collect(),
            fence_key: json.fence_key.and_then(|text| FenceKey::decode(&text).ok()),
            without_store_at: json
                .without_store_at
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        })
    }

    pub fn save_contact(&self) -> SaveState {
        let path = self.contact_file();
        Arc::new(move |state| {
            let others = state.peers.iter().map(|peer| (peer.id.to_string(), peer.address.clone()));
            let json = ContactJson {
                sent: state.last_heartbeat.as_secs_f64(),
                others: others.collect(),
                fence_key: state.fence_key.as_ref().map(FenceKey::encode),
                without_store_at: state.without_store_at.map(|at| at.as_secs_f64()),
            };
            save(&path, &json);
        })
    }

    fn fence_file(&self) -> PathBuf {
        self.folder.join("fence.json")
    }

    pub fn fence(&self) -> Option<FenceSettings> {
        serde_json::from_slice(&std::fs::read(self.fence_file()).ok()?).ok()
    }

    pub fn save_fence(&self, settings: &FenceSettings) {
        save(&self.fence_file(), settings);
    }

    /// The launched units. May be incomplete, but never wrong.
    pub fn units(&self) -> BTreeMap<UnitName, UnitHash> {
        let text = std::fs::read(self.units_file()).unwrap_or_default();
        let json: BTreeMap<String, String> = serde_json::from_slice(&text).unwrap_or_default();
        let unit = |(name, hash): (String, String)| Some((UnitName::parse(&name).ok()?, hash.parse().ok()?));
        json.into_iter().filter_map(unit).collect()
    }

    pub fn save_units(&self) -> SaveUnits {
        let path = self.units_file();
        Arc::new(move |units| {
            let json: BTreeMap<_, _> =
                units.iter().map(|(name, hash)| (name.as_str(), hash.to_string())).collect();
            save(&path, &json);
        })
    }
}

fn save(path: &Path, value: &impl Serialize) {
    let written = serde_json::to_vec(value)
        .map_err(std::io::Error::from)
        .and_then(|json| service::file::replace(path, &json, MODE));
    if let Err(error) = written {
        tracing::warn!("cannot store the state for the next start: {}: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let mut before = StartHistory::begin(folder.path()).unwrap();
        assert_eq!(before.earlier, Vec::<String>::new());
        for _ in 0..MAX_STARTS + 3 {
            let now = StartHistory::begin(folder.path()).unwrap();
            assert_eq!(now.earlier[0], before.instance);
            assert!(now.earlier.len() < MAX_STARTS && !now.earlier.contains(&now.instance));
            before = now;
        }
    }

    #[test]
    fn state_is_restored() {
        let folder = tempfile::tempdir().unwrap();
        let kept = RuntimeState::at(folder.path());
        assert_eq!((kept.contact(), kept.fence(), kept.units()), (None, None, BTreeMap::new()));
        let peer = Peer { id: MachineId::new("a"), address: "192.0.2.7".into() };
        let memory = SavedState {
            last_heartbeat: Duration::from_millis(1_500),
            peers: vec![peer],
            fence_key: Some(FenceKey([7; FenceKey::BYTES])),
            without_store_at: Some(Duration::from_millis(2_250)),
        };
        kept.save_contact()(&memory);
        assert_eq!(kept.contact(), Some(memory));
        std::fs::write(folder.path().join("contact.json"), "{").unwrap();
        assert_eq!(kept.contact(), None);
        let units = BTreeMap::from([(UnitName::parse("a.service").unwrap(), UnitHash([7; 20]))]);
        kept.save_units()(&units);
        assert_eq!(kept.units(), units);
        let ttl = Duration::from_millis(6_500);
        let fence = FenceSettings {
            ttl,
            partition_port: Some(49_154),
            units_directory: "/run/fleet/units".into(),
            systemd_user: false,
        };
        kept.save_fence(&fence);
        assert_eq!(kept.fence(), Some(fence));
    }
}
