//! The members as recorded in the state. Voting is up to raft.

use std::collections::{BTreeMap, BTreeSet};

use etcd_api::Member;

use crate::codec::{ReadError, Reader, Writer};
use crate::command::Command;
use crate::membership_error::MembershipError;
use crate::outcome::Change;

/// Members by id, and the ids of removed members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    members: BTreeMap<u64, Member>,
    removed: BTreeSet<u64>,
    cluster_version: Option<String>,
    /// `None` until a disk is recorded, so that older programs can read the state.
    disks: Option<BTreeMap<u64, u128>>,
}

/// Disks of a checkpoint until they are assigned to their members.
#[derive(Debug)]
pub(crate) struct Disks(BTreeMap<u64, u128>);

impl Membership {
    pub(crate) fn apply(&mut self, command: &Command) -> Result<Change, MembershipError> {
        match command {
            Command::AddMember(member) => self.add(member),
            Command::RemoveMember { id } => self.remove(*id),
            Command::UpdateMember { id, peer_urls } => self.update(*id, peer_urls),
            Command::PublishMember { id, name, client_urls } => self.publish(*id, name, client_urls),
            Command::SetClusterVersion { version } => {
                self.cluster_version = Some(version.clone());
                Ok(Change::ClusterVersion(version.clone()))
            }
            Command::RecordDisk { id, disk, instead_of } => self.record_disk(*id, *disk, *instead_of),
            Command::Put(_)
            | Command::Post(_)
            | Command::Delete(_)
            | Command::Sync { .. }
            | Command::Auth(_) => Err(MembershipError::NotOfMembers),
        }
    }

    fn add(&mut self, member: &Member) -> Result<Change, MembershipError> {
        let id = member.id;
        if self.removed.contains(&id) {
            return Err(MembershipError::Removed { id });
        }
        if self.members.contains_key(&id) {
            return Err(MembershipError::IdExists { id });
        }
        self.check_unique_peer_urls(id, &member.peer_urls)?;
        self.members.insert(id, member.clone());
        Ok(Change::Member(member.clone()))
    }

    fn remove(&mut self, id: u64) -> Result<Change, MembershipError> {
        let member = self.members.remove(&id).ok_or_else(|| self.not_found_error(id))?;
        self.removed.insert(id);
        if let Some(disks) = &mut self.disks {
            disks.remove(&id);
        }
        Ok(Change::Member(member))
    }

    fn record_disk(
        &mut self,
        id: u64,
        disk: u128,
        instead_of: Option<u128>,
    ) -> Result<Change, MembershipError> {
        if !self.members.contains_key(&id) {
            return Err(self.not_found_error(id));
        }
        let recorded = self.disk(id);
        if recorded.is_some() && recorded != Some(disk) && recorded != instead_of {
            return Err(MembershipError::OtherDisk { id });
        }
        self.disks.get_or_insert_default().insert(id, disk);
        Ok(Change::Disk)
    }

    fn update(&mut self, id: u64, peer_urls: &[String]) -> Result<Change, MembershipError> {
        // In etcd's order: the id, then its URLs.
        if !self.members.contains_key(&id) {
            return Err(self.not_found_error(id));
        }
        self.check_unique_peer_urls(id, peer_urls)?;
        self.change(id, |member| member.peer_urls = peer_urls.to_vec())
    }

    fn publish(&mut self, id: u64, name: &str, client_urls: &[String]) -> Result<Change, MembershipError> {
        self.change(id, |member| {
            name.clone_into(&mut member.name);
            member.client_urls = client_urls.to_vec();
        })
    }

    fn change(&mut self, id: u64, change: impl FnOnce(&mut Member)) -> Result<Change, MembershipError> {
        let not_found_error = self.not_found_error(id);
        let member = self.members.get_mut(&id).ok_or(not_found_error)?;
        change(member);
        Ok(Change::Member(member.clone()))
    }

    fn not_found_error(&self, id: u64) -> MembershipError {
        if self.is_removed(id) { MembershipError::Removed { id } } else { MembershipError::NotFound { id } }
    }

    /// A peer URL belongs to one member only.
    fn check_unique_peer_urls(&self, id: u64, peer_urls: &[String]) -> Result<(), MembershipError> {
        let mut others = self.members.values().filter(|member| member.id != id);
        let used = others.find_map(|other| peer_urls.iter().find(|url| other.peer_urls.contains(url)));
        match used {
            Some(url) => Err(MembershipError::PeerUrlExists { url: url.clone() }),
            None => Ok(()),
        }
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        out.number(self.members.len() as u64);
        for member in self.members.values() {
            out.member(member);
        }
        out.number(self.removed.len() as u64);
        for id in &self.removed {
            out.number(*id);
        }
        out.option(self.cluster_version.as_ref(), |out, version| out.text(version));
    }

    pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Self, ReadError> {
        let members = input.list(Reader::member)?;
        let removed = input.list(Reader::number)?;
        let cluster_version = input.option(Reader::text)?;
        Ok(Self {
            members: members.into_iter().map(|member| (member.id, member)).collect(),
            removed: removed.into_iter().collect(),
            cluster_version,
            disks: None,
        })
    }

    /// A separate record, unless it is empty.
    pub(crate) fn encode_disks(&self, out: &mut Writer) -> bool {
        let Some(disks) = &self.disks else { return false };
        out.number(disks.len() as u64);
        for (id, disk) in disks {
            out.number(*id);
            out.disk(*disk);
        }
        true
    }

    pub(crate) fn decode_disks(input: &mut Reader<'_>) -> Result<Disks, ReadError> {
        let disks = input.list(|input| Ok((input.number()?, input.disk()?)))?;
        Ok(Disks(disks.into_iter().collect()))
    }

    pub(crate) fn with_disks(self, disks: Option<Disks>) -> Self {
        Self { disks: disks.map(|Disks(disks)| disks), ..self }
    }

    /// Sorted by id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// `None` for ids that were removed or never added.
    pub fn get(&self, id: u64) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Whether a member of that id existed and was removed.
    pub fn is_removed(&self, id: u64) -> bool {
        self.removed.contains(&id)
    }

    /// The recorded disk of a member.
    pub fn disk(&self, id: u64) -> Option<u128> {
        self.disks.as_ref()?.get(&id).copied()
    }

    /// Whether any disk is recorded, which means that all members support it.
    pub fn has_disks(&self) -> bool {
        self.disks.is_some()
    }

    /// `None` until the first leader sets it.
    pub fn cluster_version(&self) -> Option<&str> {
        self.cluster_version.as_deref()
    }
}
