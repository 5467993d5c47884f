//! Reads `update.conf`, at every check.

use std::fmt;
use std::fs;
use std::io::ErrorKind;

use omaha::registration::MIN_TOKEN;
use update_core::conf::{ConfFile, Setting, lookup};

use crate::paths::Paths;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    Url(String),
    /// Updates are disabled; where that is set.
    Disabled(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub server: Server,
    /// `SERVER` differs from the image's.
    pub custom_server: bool,
    /// The channel.
    pub group: String,
    pub machine_alias: Option<String>,
    /// Proved to the server.
    pub registration: Option<RegistrationToken>,
    /// Trust the keys in `/etc/keelson/keys.d`.
    pub allow_local_keys: bool,
    /// Bytes per second; `None`: unlimited.
    pub rate_limit: Option<u64>,
    /// Invalid settings with their location.
    pub warnings: Vec<String>,
}

/// A secret. Not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistrationToken(String);

impl RegistrationToken {
    /// The header's value for a request with this body.
    #[must_use]
    pub fn code(&self, body: &str) -> String {
        omaha::registration::code(&self.0, body.as_bytes()).to_string()
    }
}

impl fmt::Debug for RegistrationToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("RegistrationToken")
    }
}

const DEFAULT_GROUP: &str = "stable";

impl Settings {
    /// Ignores missing files and warns about unreadable ones.
    #[must_use]
    pub fn read(paths: &Paths) -> Self {
        let mut warnings = Vec::new();
        let mut files = Vec::new();
        for path in paths.settings() {
            match fs::read(&path) {
                Ok(text) => files.push(ConfFile {
                    path: path.display().to_string(),
                    text: String::from_utf8_lossy(&text).into_owned(),
                }),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => warnings.push(format!("cannot read {}: {error}", path.display())),
            }
        }
        let registration = read_registration(paths, &mut warnings);
        let built_in = lookup(image_files(&files, paths), "SERVER");
        let server = lookup(&files, "SERVER");
        let custom_server =
            server.as_ref().map(|found| &found.value) != built_in.as_ref().map(|found| &found.value);
        let group = lookup(&files, "GROUP").map(|found| found.value).filter(|group| !group.is_empty());
        let rate_limit = lookup(&files, "RATE_LIMIT").and_then(|found| parse_rate(&found, &mut warnings));
        Self {
            server: parse_server(server),
            custom_server,
            group: group.unwrap_or_else(|| DEFAULT_GROUP.to_owned()),
            machine_alias: lookup(&files, "MACHINE_ALIAS").map(|found| found.value),
            registration,
            allow_local_keys: lookup(&files, "ALLOW_LOCAL_KEYS").is_some_and(|found| found.value == "yes"),
            rate_limit,
            warnings,
        }
    }
}

/// The first token that exists.
fn read_registration(paths: &Paths, warnings: &mut Vec<String>) -> Option<RegistrationToken> {
    for path in paths.registration_tokens() {
        match fs::read_to_string(&path) {
            Ok(text) if text.trim().len() >= MIN_TOKEN => {
                return Some(RegistrationToken(text.trim().to_owned()));
            }
            Ok(_) => warnings.push(format!(
                "ignoring {}: a registration token has at least {MIN_TOKEN} characters",
                path.display()
            )),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => warnings.push(format!("cannot read {}: {error}", path.display())),
        }
    }
    None
}

/// The image's files, which come after the machine's.
fn image_files<'a>(files: &'a [ConfFile], paths: &Paths) -> &'a [ConfFile] {
    let usr = paths.at("usr/").display().to_string();
    let others = files.iter().take_while(|file| !file.path.starts_with(&usr)).count();
    &files[others..]
}

fn parse_server(found: Option<Setting>) -> Server {
    let Some(found) = found else { return Server::Disabled("no SERVER is configured".to_owned()) };
    let value = found.value.trim();
    if value.starts_with("http://") || value.starts_with("https://") {
        return Server::Url(value.to_owned());
    }
    let what = if value.is_empty() { "SERVER is empty".to_owned() } else { format!("SERVER is `{value}`") };
    Server::Disabled(format!("{what} in {}", found.location))
}

fn parse_rate(found: &Setting, warnings: &mut Vec<String>) -> Option<u64> {
    let parse_rate = found.value.parse().ok().filter(|parse_rate| *parse_rate > 0);
    if parse_rate.is_none() {
        warnings.push(format!(
            "ignoring RATE_LIMIT={} in {}: not a number of bytes",
            found.value, found.location
        ));
    }
    parse_rate
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(own: Option<&str>, image: &str) -> Settings {
        read_all([own, None, Some(image), Some("COREOS_RELEASE_BOARD=x\n")])
    }

    fn read_all(texts: [Option<&str>; 4]) -> Settings {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        for (path, text) in paths.settings().iter().zip(texts) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if let Some(text) = text {
                fs::write(path, text).unwrap();
            }
        }
        Settings::read(&paths)
    }

    #[test]
    fn the_owner_s_settings_take_precedence() {
        let image = "SERVER=https://a/v1/update/\nGROUP=alpha\n";
        let settings = read(None, image);
        assert_eq!(settings.server, Server::Url("https://a/v1/update/".into()));
        assert_eq!((settings.group.as_str(), settings.custom_server), ("alpha", false));
        let settings = read(Some("SERVER=http://b/\nRATE_LIMIT=1000\nALLOW_LOCAL_KEYS=yes\n"), image);
        assert_eq!(settings.server, Server::Url("http://b/".into()));
        assert!(settings.custom_server && settings.allow_local_keys);
        assert_eq!(settings.rate_limit, Some(1000));
        assert!(!read(Some("GROUP=\n"), image).custom_server);
        assert_eq!(read(Some("GROUP=\n"), image).group, "stable");
    }

    #[test]
    fn the_owner_s_registration_token_takes_precedence_and_is_not_printed() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        let [own, of_host] = paths.registration_tokens();
        let code = || Settings::read(&paths).registration.map(|token| token.code("body"));
        assert_eq!(code(), None);
        for path in [&own, &of_host] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        fs::write(&of_host, "0123456789abcdef of the host\n").unwrap();
        let expected = |token: &str| Some(omaha::registration::code(token, b"body").to_string());
        assert_eq!(code(), expected("0123456789abcdef of the host"));
        fs::write(&own, "short\n").unwrap();
        let settings = Settings::read(&paths);
        assert!(settings.warnings[0].contains("etc/keelson/registration.token"), "{:?}", settings.warnings);
        assert!(!settings.warnings[0].contains("short"), "{:?}", settings.warnings);
        fs::write(&own, "0123456789abcdef of the owner\n").unwrap();
        assert_eq!(code(), expected("0123456789abcdef of the owner"));
        assert!(!format!("{:?}", Settings::read(&paths)).contains("0123456789"));
    }

    #[test]
    fn runtime_settings_come_between_both() {
        let (runtime, image) =
            (Some("SERVER=http://host.keelson:8041/v1/update/\n"), Some("SERVER=\nGROUP=beta\n"));
        let settings = read_all([Some("GROUP=alpha\n"), runtime, image, None]);
        assert_eq!(settings.server, Server::Url("http://host.keelson:8041/v1/update/".into()));
        assert_eq!((settings.group.as_str(), settings.custom_server), ("alpha", true));
        assert!(!read_all([None, image, image, None]).custom_server, "the same as the image's");
        let own = Some("SERVER=http://b/\n");
        assert_eq!(read_all([own, runtime, image, None]).server, Server::Url("http://b/".into()));
    }

    #[test]
    fn an_invalid_server_disables_checks() {
        let disabled = |own: &str| match read(Some(own), "SERVER=https://a/\n").server {
            Server::Disabled(why) => why,
            Server::Url(url) => panic!("{url}"),
        };
        assert!(disabled("GROUP=x\n\nSERVER=disabled\n").ends_with("etc/coreos/update.conf:3"));
        assert!(disabled("SERVER=\n").contains("is empty"));
        assert!(matches!(read(None, "").server, Server::Disabled(_)));
        let settings = read(Some("RATE_LIMIT=fast\n"), "");
        assert!(settings.warnings[0].contains("RATE_LIMIT=fast"), "{:?}", settings.warnings);
    }
}
