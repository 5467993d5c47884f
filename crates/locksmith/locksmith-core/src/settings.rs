//! Settings of both programs: the store and the lock group.

use command_line::{EmptyFlag, Environment, Flag, ParsedArgs, SettingError, SettingSource, ValueKind};

use crate::key::Keys;

/// The flags before the command.
pub const FLAGS: &[Flag] = &[
    Flag::switch("debug", "Print out debug information to stderr."),
    Flag::new(
        "endpoint",
        ValueKind::Text,
        "etcd endpoint for locksmith. Specify multiple times to use multiple endpoints.",
    )
    .default("http://127.0.0.1:2379,http://127.0.0.1:4001"),
    Flag::new("etcd-cafile", ValueKind::File, "etcd CA file authentication"),
    Flag::new("etcd-certfile", ValueKind::File, "etcd cert file authentication"),
    Flag::new("etcd-keyfile", ValueKind::File, "etcd key file authentication"),
    Flag::new("etcd-password", ValueKind::Text, "password for secure etcd communication"),
    Flag::new("etcd-username", ValueKind::Text, "username for secure etcd communication"),
    Flag::new("fleet-endpoint", ValueKind::Text, "where the cluster manager is asked")
        .default("unix:///var/run/fleet.sock"),
    Flag::new("group", ValueKind::Text, "locksmith group"),
    Flag::switch("version", "Print the version and exit."),
];

/// Flags of the daemon only; extensions of Keelson.
pub const DAEMON_FLAGS: &[Flag] = &[
    Flag::new("fleet-lock-url", ValueKind::Text, "a FleetLock server that holds the lock instead of etcd"),
    Flag::new("drain-timeout", ValueKind::Duration, "how long units may take to move away; 0 moves none")
        .default("5m"),
    Flag::new("login-delay", ValueKind::Duration, "how long logged-in users are warned before the reboot")
        .default("5m"),
    Flag::new("retry-interval", ValueKind::Duration, "how long what failed rests at first").default("5s"),
];

/// Where the lock is stored.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// At least one; not validated here.
    pub endpoints: Vec<String>,
    /// All three or none.
    pub tls: Option<Tls>,
    pub user: Option<User>,
    /// Empty for machines without a group.
    pub group: String,
    pub keys: Keys,
    /// The cluster manager's URL.
    pub fleet: String,
    pub debug: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    pub ca: String,
    pub certificate: String,
    pub key: String,
}

#[derive(Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub password: String,
}

impl std::fmt::Debug for User {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The settings of locksmithctl.
///
/// # Errors
/// A setting is invalid.
pub fn store_settings(
    args: &ParsedArgs,
    environment: Environment<'_>,
) -> Result<StoreSettings, SettingError> {
    read_store(&source("LOCKSMITHCTL", args, environment))
}

pub(crate) fn source<'a>(
    prefix: &'static str,
    args: &'a ParsedArgs,
    environment: Environment<'a>,
) -> SettingSource<'a> {
    SettingSource { args, environment, prefix, empty_flag: EmptyFlag::HidesVariable }
}

pub(crate) fn read_store(source: &SettingSource<'_>) -> Result<StoreSettings, SettingError> {
    let (origin, values) = source.texts_or_default("endpoint");
    let endpoints: Vec<String> =
        values.iter().flat_map(|text| text.split(',')).map(|one| one.trim().to_owned()).collect();
    if endpoints.iter().any(String::is_empty) {
        return Err(SettingError::new(
            origin,
            "an address is empty: use addresses like http://127.0.0.1:2379, with commas between",
        ));
    }
    let keys = source.read_or_default("group", Keys::for_group)?;
    let password = source.text_or_default("etcd-password");
    Ok(StoreSettings {
        endpoints,
        tls: tls(source)?,
        user: source.text("etcd-username").map(|name| User { name, password }),
        group: source.text_or_default("group"),
        keys,
        fleet: source.text_or_default("fleet-endpoint"),
        debug: source.read_or_default("debug", |text| {
            go_compat::parse_bool(text).ok_or_else(|| format!("{text:?} is neither `true` nor `false`"))
        })?,
    })
}

/// The three files are valid only together.
fn tls(source: &SettingSource<'_>) -> Result<Option<Tls>, SettingError> {
    let files = ["etcd-cafile", "etcd-certfile", "etcd-keyfile"].map(|flag| (flag, source.find(flag)));
    let Some(origin) = files.iter().find_map(|(_, values)| values.as_ref().map(|(origin, _)| origin.clone()))
    else {
        return Ok(None);
    };
    let [ca, certificate, key] = files.map(|(flag, values)| {
        values
            .map(|(_, path)| path)
            .ok_or_else(|| SettingError::new(origin.clone(), format!("it needs -{flag} too")))
    });
    Ok(Some(Tls { ca: ca?, certificate: certificate?, key: key? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use command_line::before_arguments;

    fn check(arguments: &[&str], variables: &[(&str, &str)], expect: &str) {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let flags = before_arguments(FLAGS, &arguments).unwrap();
        let environment =
            |name: &str| variables.iter().find(|(one, _)| *one == name).map(|(_, value)| (*value).to_owned());
        let got = match store_settings(&flags, &environment) {
            Ok(store) => {
                let tls = store.tls.map(|tls| format!(" {} {} {}", tls.ca, tls.certificate, tls.key));
                let user = store.user.map(|user| format!(" {}:{}", user.name, user.password));
                format!(
                    "{}{}{} [{}]{}",
                    store.endpoints.join(" "),
                    tls.unwrap_or_default(),
                    user.unwrap_or_default(),
                    store.group,
                    if store.debug { " debug" } else { "" },
                )
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect, "{arguments:?} {variables:?}");
    }

    #[test]
    fn flags_override_the_environment() {
        let both = "http://127.0.0.1:2379 http://127.0.0.1:4001 []";
        check(&[], &[], both);
        check(&[], &[("LOCKSMITHCTL_ENDPOINT", "")], both);
        check(&[], &[("LOCKSMITHD_ENDPOINT", "http://a:1")], both);
        let variable = ("LOCKSMITHCTL_ENDPOINT", "http://a:1, http://b:2");
        check(&[], &[variable], "http://a:1 http://b:2 []");
        check(
            &["-endpoint", "http://c:3", "--endpoint=http://d:4,http://e:5"],
            &[variable],
            "http://c:3 http://d:4 http://e:5 []",
        );
        check(
            &["-endpoint=x", "-group", "web servers", "-debug"],
            &[("LOCKSMITHCTL_ETCD_USERNAME", "u"), ("LOCKSMITHCTL_ETCD_PASSWORD", "p")],
            "x u:p [web servers] debug",
        );
        check(
            &["-endpoint=x", "-etcd-cafile=a", "-etcd-certfile=b"],
            &[("LOCKSMITHCTL_ETCD_KEYFILE", "c")],
            "x a b c []",
        );
    }

    #[test]
    fn errors_name_their_origin() {
        check(&["-etcd-cafile", "a"], &[], "-etcd-cafile: it needs -etcd-certfile too");
        check(
            &[],
            &[("LOCKSMITHCTL_ETCD_KEYFILE", "k")],
            "$LOCKSMITHCTL_ETCD_KEYFILE: it needs -etcd-cafile too",
        );
        check(&[], &[("LOCKSMITHCTL_GROUP", "..")], "$LOCKSMITHCTL_GROUP: \"..\" cannot be a part of a key");
        check(
            &["-endpoint", "a,,b"],
            &[],
            "-endpoint: an address is empty: use addresses like http://127.0.0.1:2379, with commas between",
        );
        check(
            &[],
            &[("LOCKSMITHCTL_DEBUG", "2")],
            "$LOCKSMITHCTL_DEBUG: \"2\" is neither `true` nor `false`",
        );
    }

    #[test]
    fn password_is_redacted() {
        let user = User { name: "u".into(), password: "secret".into() };
        assert!(!format!("{user:?}").contains("secret"));
    }
}
