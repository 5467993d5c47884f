//! Users of a container: `USER[:GROUP]` of an image, resolved by the image's own `/etc/passwd` and `/etc/group`.

/// A name or a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// A number.
    Id(u32),
    /// A name of the image's files.
    Name(String),
}

/// A user, and its group if that is not the user's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSpec {
    /// The user.
    pub user: Account,
    /// The group.
    pub group: Option<Account>,
}

/// Numbers of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessUser {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The home directory; `/` for a user without an entry.
    pub home: String,
}

/// A name that the image does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the image has no {kind} {name:?} in {file}")]
pub struct UnknownAccount {
    kind: &'static str,
    name: String,
    file: &'static str,
}

impl Account {
    fn parse(text: &str) -> Option<Self> {
        if let Ok(id) = text.parse() {
            // -1 is no id of the kernel's.
            return (id != u32::MAX).then_some(Self::Id(id));
        }
        let valid = |char: char| !char.is_whitespace() && !char.is_control() && char != ':';
        let is_name =
            !text.is_empty() && text.chars().all(valid) && !text.bytes().all(|byte| byte.is_ascii_digit());
        is_name.then(|| Self::Name(text.to_owned()))
    }

    fn matches(&self, name: &str, id: u32) -> bool {
        match self {
            Self::Id(wanted) => *wanted == id,
            Self::Name(wanted) => wanted == name,
        }
    }

    fn unknown(&self, kind: &'static str, file: &'static str) -> UnknownAccount {
        let name = match self {
            Self::Id(id) => id.to_string(),
            Self::Name(name) => name.clone(),
        };
        UnknownAccount { kind, name, file }
    }
}

impl UserSpec {
    /// Parses `USER[:GROUP]`. An empty text is root.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let user = if user.is_empty() && group.is_none() { Account::Id(0) } else { Account::parse(user)? };
        let group = match group {
            Some(group) => Some(Account::parse(group)?),
            None => None,
        };
        Some(Self { user, group })
    }

    /// Resolves names by the contents of the image's files. Numbers need no entry. Lines that cannot be parsed are skipped.
    ///
    /// # Errors
    /// The image lacks a name.
    pub fn resolve(&self, passwd: &str, group: &str) -> Result<ProcessUser, UnknownAccount> {
        let entry = passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, _, home, ..] = fields.as_slice() else { return None };
            let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
            self.user.matches(name, uid).then(|| ((*name).to_owned(), uid, gid, (*home).to_owned()))
        });
        let (name, uid, own_gid, home) = match (entry, &self.user) {
            (Some((name, uid, gid, home)), _) => (Some(name), uid, gid, home),
            (None, Account::Id(uid)) => (None, *uid, 0, String::new()),
            (None, user) => return Err(user.unknown("user", "/etc/passwd")),
        };
        let entries = || {
            group.lines().filter_map(|line| {
                let fields: Vec<&str> = line.split(':').collect();
                let [name, _, gid, members] = fields.as_slice() else { return None };
                Some((*name, gid.parse::<u32>().ok()?, *members))
            })
        };
        let gid = match &self.group {
            None => own_gid,
            Some(Account::Id(gid)) => *gid,
            Some(group) => {
                let found = entries().find(|(name, gid, _)| group.matches(name, *gid));
                found.ok_or_else(|| group.unknown("group", "/etc/group"))?.1
            }
        };
        // As Docker does: an explicit group replaces all others.
        let mut groups: Vec<u32> = match (&name, &self.group) {
            (Some(name), None) => {
                let member = |members: &str| members.split(',').any(|member| member == name);
                entries().filter(|(_, _, members)| member(members)).map(|(_, gid, _)| gid).collect()
            }
            _ => Vec::new(),
        };
        groups.sort_unstable();
        groups.dedup();
        let home = if home.starts_with('/') { home } else { "/".to_owned() };
        Ok(ProcessUser { uid, gid, groups, home })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nbroken\netcd:x:232:233:::/bin/false\nweb:x:33:33::/srv:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:web,etcd\nweb:x:33:\nlog:x:7:web\nbroken:x\n";

    #[test]
    fn users_are_the_images() {
        let check = |text: &str, expected: Result<(u32, u32, &[u32], &str), &str>| {
            let found = UserSpec::parse(text).ok_or("invalid".to_owned());
            let found = found.and_then(|spec| spec.resolve(PASSWD, GROUP).map_err(|error| error.to_string()));
            let expected = expected.map(|(uid, gid, groups, home)| ProcessUser {
                uid,
                gid,
                groups: groups.to_vec(),
                home: home.to_owned(),
            });
            assert_eq!(found, expected.map_err(str::to_owned), "{text}");
        };
        check("", Ok((0, 0, &[], "/root")));
        check("web", Ok((33, 33, &[4, 7], "/srv")));
        check("33", Ok((33, 33, &[4, 7], "/srv")));
        check("web:log", Ok((33, 7, &[], "/srv")));
        check("web:99", Ok((33, 99, &[], "/srv")));
        check("etcd", Ok((232, 233, &[4], "/")));
        check("1000", Ok((1000, 0, &[], "/")));
        check("1000:1001", Ok((1000, 1001, &[], "/")));
        check("missing", Err("the image has no user \"missing\" in /etc/passwd"));
        check("web:missing", Err("the image has no group \"missing\" in /etc/group"));
        for invalid in ["a b", ":", ":a", "a:", "a:b:c", "4294967295", "4294967296", "a\n"] {
            check(invalid, Err("invalid"));
        }
    }
}
