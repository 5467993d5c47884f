//! The metadata that the online key signs: role `channels`, snapshot and timestamp.
//!
//! They are signed together and have one version. It is at least the Unix time: it also increases after the loss of this
//! server's files, or with those of a backup. Machines would reject a version that they have seen before.

use std::num::NonZeroU64;

use bytes::Bytes;
use tuf::{Date, ListedSigner, MetaFile, PublishError, Repository, Root, Snapshot, Timestamp, role_type};
use update_core::freshness::LIFETIME;
use update_core::repository::{CHANNELS, Channel, RepositoryError, channel_targets};
use update_core::roots;

use super::targets::StoredTargets;
use crate::limits::{MAX_CLOCK_DIFFERENCE, TIMESTAMP_REFRESH};
use crate::signing::OnlineKey;

/// Unix time before which the clock is not set: this program was written later.
pub const EARLIEST: u64 = 1_790_000_000;

/// Why the online key does not sign.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error(
        "the key of this server is not a channel key of root version {0}: machines would reject what it signs"
    )]
    NotInRoot(u64),
    #[error(
        "targets.json version {0} does not delegate role {CHANNELS} to the key of this server: sign it again \
         under the newest root"
    )]
    NotDelegated(u64),
    #[error("the clock of this server is not set")]
    Clock,
    #[error("no date for Unix time {0}")]
    Date(u64),
    #[error("no version can follow the highest one")]
    End,
    #[error("machines would reject what the key of this server signs")]
    Publish(#[from] PublishError),
    #[error("a channel cannot be signed")]
    Channel(#[from] RepositoryError),
}

/// What is signed. If it changes, a new version is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basis {
    pub root: u64,
    pub targets: u64,
    pub channels: Vec<Channel>,
}

/// Signed metadata.
#[derive(Debug, Clone)]
pub struct Online {
    /// Of each file.
    pub version: u64,
    /// Unix time in seconds.
    pub signed: u64,
    /// `None` after a restart.
    pub basis: Option<Basis>,
    pub timestamp: Bytes,
    pub snapshot: Bytes,
    pub channels: Bytes,
}

impl Online {
    /// Whether it need not be signed again at Unix time `now`. A clock that was ahead has made it useless: machines accept
    /// no timestamp from the far future.
    pub fn is_fresh(&self, basis: &Basis, now: u64) -> bool {
        let times = self.signed.saturating_sub(MAX_CLOCK_DIFFERENCE)..self.signed + TIMESTAMP_REFRESH;
        self.basis.as_ref() == Some(basis) && times.contains(&now)
    }
}

/// The online key, under the ids that it has in the metadata.
pub struct Signers<'a> {
    timestamp: ListedSigner<'a>,
    snapshot: ListedSigner<'a>,
    channels: ListedSigner<'a>,
}

impl<'a> Signers<'a> {
    /// # Errors
    /// `root` or `targets` do not list the key.
    pub fn of(root: &Root, targets: &StoredTargets, key: &'a OnlineKey) -> Result<Self, SignError> {
        let of_root = |role| {
            let listed = key.listed(role, &root.keys);
            listed.ok_or_else(|| SignError::NotInRoot(roots::version(root)))
        };
        let delegations = targets.targets.delegations.as_ref();
        let delegated = delegations.and_then(|delegations| {
            let role = delegations.roles.iter().find(|role| role.name == CHANNELS)?;
            key.listed(&role.keys(), &delegations.keys)
        });
        Ok(Self {
            timestamp: of_root(&root.roles.timestamp)?,
            snapshot: of_root(&root.roles.snapshot)?,
            channels: delegated.ok_or_else(|| SignError::NotDelegated(targets.version()))?,
        })
    }
}

/// Signs what `basis` has, as the version after `last`, and verifies it as clients do. `root`: parsed and as published.
/// `now`: Unix time in seconds.
///
/// # Errors
/// A client would not accept it, or the clock is not set.
pub fn sign(
    (root, root_file): (&Root, Vec<u8>),
    targets: &StoredTargets,
    key: &OnlineKey,
    basis: Basis,
    (last, now): (u64, u64),
) -> Result<Online, SignError> {
    if now < EARLIEST {
        return Err(SignError::Clock);
    }
    let signers = Signers::of(root, targets, key)?;
    let number = last.checked_add(1).ok_or(SignError::End)?.max(now);
    let version = NonZeroU64::new(number).ok_or(SignError::End)?;
    let expires = now.saturating_add(LIFETIME);
    let unix = i64::try_from(expires).map_err(|_| SignError::Date(expires))?;
    let expires = Date::from_unix(unix).map_err(|_| SignError::Date(expires))?;
    let mut repository = Repository::default();
    repository.metadata.insert(roots::file(roots::version(root)), root_file);
    let role = channel_targets(&targets.targets, &basis.channels, version, expires)?;
    let channels =
        repository.publish_targets(CHANNELS, role, Some(&targets.targets), &[&signers.channels])?;
    let mut snapshot = Snapshot::new(expires);
    snapshot.header.version = version;
    snapshot.list(role_type::TARGETS, MetaFile::of(targets.targets.header.version, &targets.bytes));
    snapshot.list(CHANNELS, channels);
    let snapshot = repository.publish_snapshot(snapshot, &[&signers.snapshot])?;
    let mut timestamp = Timestamp::new(expires, snapshot);
    timestamp.header.version = version;
    repository.publish_timestamp(timestamp, &[&signers.timestamp])?;
    let mut take = |role: &str, version| {
        Bytes::from(repository.metadata.remove(&tuf::metadata_file(role, version)).unwrap_or_default())
    };
    Ok(Online {
        version: number,
        signed: now,
        basis: Some(basis),
        timestamp: take(role_type::TIMESTAMP, None),
        snapshot: take(role_type::SNAPSHOT, Some(number)),
        channels: take(CHANNELS, Some(number)),
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use tuf::{Ed25519Signer, Signed, Signer as _, Targets};
    use update_core::repository::next_targets;
    use update_core::roots::{NamedKey, Role, set_keys};

    use super::*;

    const NOW: u64 = EARLIEST + 100 * 86_400;

    struct Fixture {
        root: (Root, Vec<u8>),
        targets: StoredTargets,
        key: OnlineKey,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let key = OnlineKey::open(folder.path(), None).unwrap();
        let mut root = Root::new(Date::from_unix(4_000_000_000).unwrap(), true);
        let named = |name: &str, public: &[u8; 32]| {
            [NamedKey::new(name.parse::<release::FileName>().unwrap(), public)]
        };
        let release = Ed25519Signer::from_seed(&[1; 32]).unwrap();
        let public: [u8; 32] = release.key().identity().unwrap().try_into().unwrap();
        set_keys(&mut root, Role::Release, &named("own", &public), NonZeroU64::MIN);
        set_keys(&mut root, Role::Channel, &named("own", key.public()), NonZeroU64::MIN);
        let targets: Targets = next_targets(&root, None).unwrap();
        let bytes = tuf::sign(root.clone(), &[]).unwrap().to_bytes().unwrap();
        let stored = tuf::sign(targets.clone(), &[]).unwrap().to_bytes().unwrap().into();
        Fixture { root: (root, bytes), targets: StoredTargets { targets, bytes: stored }, key }
    }

    fn basis() -> Basis {
        Basis { root: 1, targets: 1, channels: Vec::new() }
    }

    impl Fixture {
        fn sign(&self, last: u64, now: u64) -> Result<Online, SignError> {
            sign((&self.root.0, self.root.1.clone()), &self.targets, &self.key, basis(), (last, now))
        }
    }

    fn expires(online: &Online) -> u64 {
        let timestamp = Signed::<Timestamp>::parse(&online.timestamp).unwrap().signed;
        timestamp.header.expires.unix().try_into().unwrap()
    }

    #[test]
    fn versions_increase_whatever_the_clock_does() {
        let fixture = fixture();
        let first = fixture.sign(0, NOW).unwrap();
        assert_eq!((first.version, first.signed, expires(&first)), (NOW, NOW, NOW + LIFETIME));
        // Set back, then ahead, then right again.
        let back = fixture.sign(first.version, NOW - 5000).unwrap();
        assert_eq!((back.version, expires(&back)), (NOW + 1, NOW - 5000 + LIFETIME));
        let ahead = fixture.sign(back.version, NOW + 1_000_000).unwrap();
        let right = fixture.sign(ahead.version, NOW + 10).unwrap();
        assert_eq!((right.version, expires(&right)), (NOW + 1_000_001, NOW + 10 + LIFETIME));
        assert!(matches!(fixture.sign(0, EARLIEST - 1), Err(SignError::Clock)));
        assert!(matches!(fixture.sign(u64::MAX, NOW), Err(SignError::End)));
    }

    #[test]
    fn it_is_signed_again_when_it_is_old_from_the_future_or_of_something_else() {
        let online = fixture().sign(0, NOW).unwrap();
        let is_fresh = |now| online.is_fresh(&basis(), now);
        assert!(is_fresh(NOW) && is_fresh(NOW + TIMESTAMP_REFRESH - 1) && !is_fresh(NOW + TIMESTAMP_REFRESH));
        assert!(is_fresh(NOW - MAX_CLOCK_DIFFERENCE) && !is_fresh(NOW - MAX_CLOCK_DIFFERENCE - 1));
        for other in [
            Basis { root: 2, ..basis() },
            Basis { targets: 2, ..basis() },
            Basis {
                channels: vec![Channel {
                    name: "alpha".to_owned(),
                    board: "amd64-usr".to_owned(),
                    target: update_core::repository::ChannelTarget {
                        version: semver::Version::new(2, 0, 0),
                        floors: Vec::new(),
                    },
                }],
                ..basis()
            },
        ] {
            assert!(!online.is_fresh(&other, NOW));
        }
    }

    #[test]
    fn a_key_that_is_not_listed_signs_nothing() {
        let mut fixture = fixture();
        fixture.targets.targets.delegations = None;
        assert!(matches!(fixture.sign(0, NOW), Err(SignError::NotDelegated(1))));
        set_keys(&mut fixture.root.0, Role::Channel, &[], NonZeroU64::MIN);
        assert!(matches!(fixture.sign(0, NOW), Err(SignError::NotInRoot(1))));
    }
}
