//! The search for a target through delegations (5.6.7), and its download (5.7).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::error::{Cause, Error};
use super::io::{Fetch, File, Store};
use super::target::Target;
use super::workflow::{Authority, Client, Trusted};
use crate::key::{Key, KeyId};
use crate::metadata::{DelegatedRole, RoleName, Targets, role_type};

/// A delegation that is still to be visited, with the keys of its delegator.
struct Next {
    role: DelegatedRole,
    /// Shared: a file may have thousands of keys, and of roles.
    keys: Rc<BTreeMap<KeyId, Key>>,
}

impl<F: Fetch, S: Store> Client<F, S> {
    /// Searches the targets metadata for a path, in pre-order, depth first. `None` if no role describes it.
    ///
    /// # Errors
    /// Metadata of a role on the way is not accepted, or there are too many roles.
    pub fn find(&mut self, trusted: &Trusted, path: &str) -> Result<Option<Target>, Error> {
        let mut visited = BTreeSet::from([role_type::TARGETS.to_owned()]);
        let mut stack = Vec::new();
        if let Some(target) = visit(role_type::TARGETS, &trusted.targets, path, trusted, &mut stack) {
            return Ok(Some(target));
        }
        while let Some(Next { role, keys }) = stack.pop() {
            if visited.contains(&role.name) {
                continue;
            }
            let limit = self.limits.roles;
            if visited.len() > limit {
                return Err(Cause::TooManyRoles { limit }.of(format!("target {path}")));
            }
            let authority = Authority { role: &role.name, rule: &role.keys(), keys: &keys };
            // Verified with the keys of this delegator, though another one may have led to it before.
            let targets =
                self.load_targets(authority, &trusted.snapshot, trusted.root.consistent_snapshot)?;
            let found = visit(&role.name, &targets, path, trusted, &mut stack);
            visited.insert(role.name);
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Downloads a target into memory and verifies it. For a large one, see [`Target::hasher`].
    ///
    /// # Errors
    /// The repository does not have it, or other bytes.
    pub fn download(&mut self, target: &Target) -> Result<Vec<u8>, Error> {
        let place = || format!("target {}", target.path);
        let path = target.repository_path().map_err(|error| Cause::from(error).of(place()))?;
        let limit = target.file.length;
        let fetched = self.fetch.fetch(File::Target(&path), limit);
        let bytes = fetched.map_err(|error| Cause::Fetch(error).of(place()))?;
        let bytes = bytes.ok_or_else(|| Cause::Missing.of(place()))?;
        if bytes.len() as u64 > limit {
            return Err(Cause::TooLong { limit }.of(place()));
        }
        target.verify(&bytes).map_err(|error| Cause::from(error).of(place()))?;
        Ok(bytes)
    }
}

/// The target if `role` describes it; else its delegations that cover the path are added, the first one on top.
fn visit(
    role: &str,
    targets: &Targets,
    path: &str,
    trusted: &Trusted,
    stack: &mut Vec<Next>,
) -> Option<Target> {
    if let Some(file) = targets.targets.get(path) {
        let (path, role): (_, RoleName) = (path.to_owned(), role.to_owned());
        return Some(Target {
            path,
            role,
            file: file.clone(),
            has_digest_name: trusted.root.consistent_snapshot,
        });
    }
    let delegations = targets.delegations.as_ref()?;
    let keys = Rc::new(delegations.keys.clone());
    let mut next = Vec::new();
    for role in delegations.roles.iter().filter(|role| role.covers(path)) {
        next.push(Next { role: role.clone(), keys: Rc::clone(&keys) });
        if role.terminating {
            // No other role counts, neither later ones here nor those of its delegators.
            stack.clear();
            break;
        }
    }
    stack.extend(next.into_iter().rev());
    None
}
