//! Members in a plain list.

use etcd_api::Member;
use etcd_store::{Change, Command, MembershipError};

#[derive(Debug, Clone, Default)]
pub struct Members {
    here: Vec<Member>,
    removed: Vec<u64>,
    disks: Vec<(u64, u128)>,
}

impl Members {
    pub fn apply(&mut self, command: &Command) -> Result<Change, MembershipError> {
        match command {
            Command::AddMember(member) => {
                if self.removed.contains(&member.id) {
                    return Err(MembershipError::Removed { id: member.id });
                }
                if self.here.iter().any(|other| other.id == member.id) {
                    return Err(MembershipError::IdExists { id: member.id });
                }
                self.free_urls(member.id, &member.peer_urls)?;
                self.here.push(member.clone());
                self.here.sort();
                Ok(Change::Member(member.clone()))
            }
            Command::RemoveMember { id } => {
                let member = self.find(*id)?.clone();
                self.here.retain(|other| other.id != *id);
                self.removed.push(*id);
                self.disks.retain(|(member, _)| member != id);
                Ok(Change::Member(member))
            }
            Command::UpdateMember { id, peer_urls } => {
                self.find(*id)?;
                self.free_urls(*id, peer_urls)?;
                self.find(*id)?.peer_urls.clone_from(peer_urls);
                Ok(Change::Member(self.find(*id)?.clone()))
            }
            Command::PublishMember { id, name, client_urls } => {
                self.find(*id)?.name.clone_from(name);
                self.find(*id)?.client_urls.clone_from(client_urls);
                Ok(Change::Member(self.find(*id)?.clone()))
            }
            Command::SetClusterVersion { version } => Ok(Change::ClusterVersion(version.clone())),
            Command::RecordDisk { id, disk, instead_of } => {
                self.find(*id)?;
                match self.disks.iter_mut().find(|(member, _)| member == id) {
                    None => self.disks.push((*id, *disk)),
                    Some((_, known)) if Some(*known) == *instead_of => *known = *disk,
                    Some((_, known)) if known == disk => {}
                    Some(_) => return Err(MembershipError::OtherDisk { id: *id }),
                }
                Ok(Change::Disk)
            }
            other => panic!("{other:?} is none of members"),
        }
    }

    fn find(&mut self, id: u64) -> Result<&mut Member, MembershipError> {
        let removed = self.removed.contains(&id);
        let found = self.here.iter_mut().find(|member| member.id == id);
        found.ok_or(if removed { MembershipError::Removed { id } } else { MembershipError::NotFound { id } })
    }

    fn free_urls(&self, id: u64, urls: &[String]) -> Result<(), MembershipError> {
        for other in self.here.iter().filter(|other| other.id != id) {
            for url in urls {
                if other.peer_urls.contains(url) {
                    return Err(MembershipError::PeerUrlExists { url: url.clone() });
                }
            }
        }
        Ok(())
    }
}
