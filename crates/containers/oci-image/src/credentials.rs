//! Credentials of registries, as `docker login` stores them in `config.json` (`auths`) and, before, in `.dockercfg`.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::limits::MAX_CREDENTIALS;

/// Docker's name of its own registry in these files.
const DOCKER_HUB: &str = "index.docker.io";

/// User name and password. Not displayed.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user name.
    pub user: String,
    /// The password or access token.
    pub password: String,
}

/// Logins by registry.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    logins: BTreeMap<String, Login>,
}

/// Why a file was refused. Names no secret.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum CredentialsError {
    #[error("the file has {0} bytes, at most {MAX_CREDENTIALS} are accepted")]
    Large(usize),
    #[error("the file is no configuration of docker (line {line}, column {column})")]
    Json { line: usize, column: usize },
    #[error("the entry of {0:?} is no base64 of USER:PASSWORD")]
    Entry(String),
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

#[derive(Deserialize)]
struct File {
    auths: Option<BTreeMap<String, Entry>>,
}

impl Credentials {
    /// Parses `config.json`, or a `.dockercfg`. Entries without a password (of credential helpers) are left out.
    ///
    /// # Errors
    /// It is too large or invalid.
    pub fn parse(bytes: &[u8]) -> Result<Self, CredentialsError> {
        if bytes.len() as u64 > MAX_CREDENTIALS {
            return Err(CredentialsError::Large(bytes.len()));
        }
        // serde's message may have parts of the file.
        let refused =
            |error: serde_json::Error| CredentialsError::Json { line: error.line(), column: error.column() };
        let file: File = serde_json::from_slice(bytes).map_err(refused)?;
        let entries = match file.auths {
            Some(entries) => entries,
            // A .dockercfg has the entries at the top; other files without `auths` have none.
            None => serde_json::from_slice(bytes).unwrap_or_default(),
        };
        let mut logins = BTreeMap::new();
        for (registry, entry) in entries {
            let login = match (entry.auth.filter(|auth| !auth.is_empty()), entry.username, entry.password) {
                (Some(auth), ..) => {
                    Some(decode(&auth).ok_or_else(|| CredentialsError::Entry(registry.clone()))?)
                }
                (None, Some(user), Some(password)) => Some(Login { user, password }),
                _ => None,
            };
            if let Some(login) = login {
                logins.insert(host(&registry).to_owned(), login);
            }
        }
        Ok(Self { logins })
    }

    /// One login.
    #[must_use]
    pub fn single(registry: &str, login: Login) -> Self {
        Self { logins: BTreeMap::from([(host(registry).to_owned(), login)]) }
    }

    /// The login of a registry, by its name in a reference: `docker.io`, `localhost:5000`.
    #[must_use]
    pub fn login(&self, registry: &str) -> Option<&Login> {
        self.logins.get(host(registry))
    }
}

/// The host of a key: `https://index.docker.io/v1/` is the name of Docker's registry.
fn host(registry: &str) -> &str {
    let rest = registry.strip_prefix("https://").or(registry.strip_prefix("http://")).unwrap_or(registry);
    let host = rest.split('/').next().unwrap_or_default();
    if host == DOCKER_HUB || host == "registry-1.docker.io" { "docker.io" } else { host }
}

fn decode(auth: &str) -> Option<Login> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (user, password) = text.trim_end_matches('\0').split_once(':')?;
    Some(Login { user: user.to_owned(), password: password.to_owned() })
}

impl Login {
    /// The value of the header `Authorization`.
    #[must_use]
    pub fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_found_by_host() {
        let check = |file: &str, registry: &str, expected: Option<(&str, &str)>| {
            let credentials = Credentials::parse(file.as_bytes()).unwrap();
            let found =
                credentials.login(registry).map(|login| (login.user.as_str(), login.password.as_str()));
            assert_eq!(found, expected, "{file} {registry}");
        };
        // user:pa:ss
        let file = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dXNlcjpwYTpzcw=="},"localhost:5000":{"username":"u","password":"p"},"helper.example":{}},"credsStore":"x"}"#;
        check(file, "docker.io", Some(("user", "pa:ss")));
        check(file, "localhost:5000", Some(("u", "p")));
        check(file, "localhost", None);
        check(file, "helper.example", None);
        check(r#"{"quay.io":{"auth":"dTpw","email":"x"}}"#, "quay.io", Some(("u", "p")));
        check(r#"{"psFormat":"x"}"#, "quay.io", None);
    }

    #[test]
    fn errors_have_no_secrets() {
        let check = |file: &str, expected: &str| {
            let error = Credentials::parse(file.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("SECRET"), "{error}");
        };
        check(r#"{"auths":{"a":{"auth":"SECRET"}}}"#, "the entry of \"a\"");
        check(r#"{"auths":"SECRET"}"#, "line 1");
        check("SECRET", "line 1");
        let login = Login { user: "u".to_owned(), password: "SECRET".to_owned() };
        assert_eq!(format!("{login:?}"), "Login { user: \"u\", .. }");
    }
}
