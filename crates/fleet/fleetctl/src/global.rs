//! Global flags and their environment variables, parsed into [`Global`].

use std::path::PathBuf;
use std::time::Duration;

use command_line::{EmptyFlag, Environment, Flag, ParsedArgs, SettingSource, ValueKind, parse_seconds};
use etcd_client::TlsFiles;
use go_compat::parse_bool;

use crate::failure::Failure;

/// The registered client port of etcd, and its former one.
pub const ETCD_PORTS: [u16; 2] = [2379, 4001];
const ETCD_ENDPOINTS: &str = "http://127.0.0.1:2379,http://127.0.0.1:4001";

pub const FLAGS: &[Flag] = &[
    Flag::new(
        "endpoint",
        ValueKind::Text,
        "URL of the API (unix://, http:// or https://), or URLs of etcd with --driver=etcd",
    )
    .default("unix:///var/run/fleet.sock"),
    Flag::new(
        "driver",
        ValueKind::OneOf(&["API", "etcd"]),
        "access the cluster through the fleet API or etcd",
    )
    .default("API"),
    Flag::switch("experimental-api", "ignored").default("true").hidden(),
    Flag::new("etcd-key-prefix", ValueKind::Text, "prefix of the keys in etcd, with --driver=etcd")
        .default("/_coreos.com/fleet/"),
    Flag::new("request-timeout", ValueKind::Seconds, "timeout of a request, in seconds").default("3"),
    Flag::new("tunnel", ValueKind::Text, "connect through this machine over SSH: host[:port]"),
    Flag::new("ssh-username", ValueKind::Text, "user name for SSH connections").default("core"),
    Flag::new("ssh-timeout", ValueKind::Seconds, "timeout for opening an SSH connection, in seconds")
        .default("10"),
    Flag::new(
        "ssh-identity-file",
        ValueKind::File,
        "private key for SSH, in addition to the keys of the agent",
    ),
    Flag::switch("strict-host-key-checking", "verify host keys against --known-hosts-file").default("true"),
    Flag::new("known-hosts-file", ValueKind::File, "file of trusted host keys")
        .default("~/.fleetctl/known_hosts"),
    Flag::new("ca-file", ValueKind::File, "CA bundle to verify https servers with (PEM)"),
    Flag::new("cert-file", ValueKind::File, "client certificate for https (PEM)"),
    Flag::new("key-file", ValueKind::File, "private key of the client certificate (PEM)"),
    Flag::new("etcd-cafile", ValueKind::File, "alias of --ca-file").hidden(),
    Flag::new("etcd-certfile", ValueKind::File, "alias of --cert-file").hidden(),
    Flag::new("etcd-keyfile", ValueKind::File, "alias of --key-file").hidden(),
    Flag::switch("debug", "log requests on standard error"),
    Flag::switch("version", "print the version"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    Api,
    Etcd,
    /// Not configured: detected from the endpoint.
    Auto,
}

#[derive(Debug)]
pub struct Global {
    pub endpoint: String,
    pub driver: Driver,
    /// Prefix of all keys, for [`Driver::Etcd`].
    pub key_prefix: String,
    pub request_timeout: Duration,
    pub tls: TlsFiles,
    pub debug: bool,
    pub ssh: Ssh,
}

/// Settings of SSH connections.
#[derive(Debug, Clone)]
pub struct Ssh {
    pub tunnel: Option<String>,
    pub user: String,
    pub timeout: Duration,
    pub identity: Option<PathBuf>,
    /// `None` accepts any host key.
    pub known_hosts: Option<PathBuf>,
}

fn file(source: &SettingSource<'_>, flag: &'static str, alias: &'static str) -> Option<PathBuf> {
    source.text(flag).or_else(|| source.text(alias)).map(PathBuf::from)
}

fn read<T>(
    source: &SettingSource<'_>,
    flag: &'static str,
    parse: fn(&str) -> Option<T>,
) -> Result<T, Failure> {
    let invalid = |text: &str| format!("invalid value {text:?} for flag -{flag}: parse error");
    let value = source.read_or_default(flag, |text| parse(text).ok_or_else(|| invalid(text)));
    value.map_err(|error| Failure::usage(error.cause))
}

impl Global {
    pub fn from(args: &ParsedArgs, environment: Environment<'_>) -> Result<Global, Failure> {
        let empty_flag = EmptyFlag::HidesVariable;
        let source = SettingSource { args, environment, prefix: "FLEETCTL", empty_flag };
        let driver = match source.text("driver").as_deref() {
            None => Driver::Auto,
            Some("API") => Driver::Api,
            Some("etcd") => Driver::Etcd,
            Some(other) => {
                return Err(Failure::new(format!(
                    "Unable to initialize client: unrecognized driver {other:?}"
                )));
            }
        };
        let plain_etcd = driver == Driver::Etcd || !read(&source, "experimental-api", parse_bool)?;
        let home = environment("HOME");
        let strict = read(&source, "strict-host-key-checking", parse_bool)?;
        let known_hosts = source.text_or_default("known-hosts-file");
        Ok(Global {
            endpoint: match source.text("endpoint") {
                None if plain_etcd => ETCD_ENDPOINTS.to_owned(),
                _ => source.text_or_default("endpoint"),
            },
            driver,
            key_prefix: source.text_or_default("etcd-key-prefix"),
            request_timeout: read(&source, "request-timeout", parse_seconds)?,
            tls: TlsFiles {
                ca: file(&source, "ca-file", "etcd-cafile"),
                certificate: file(&source, "cert-file", "etcd-certfile"),
                key: file(&source, "key-file", "etcd-keyfile"),
            },
            debug: read(&source, "debug", parse_bool)?,
            ssh: Ssh {
                tunnel: source.text("tunnel"),
                user: source.text_or_default("ssh-username"),
                timeout: read(&source, "ssh-timeout", parse_seconds)?,
                identity: source
                    .text("ssh-identity-file")
                    .map(|text| expand_home(&text, home.as_deref()))
                    .transpose()?,
                known_hosts: match strict {
                    true => Some(expand_home(&known_hosts, home.as_deref())?),
                    false => None,
                },
            },
        })
    }
}

/// Expands `~` and `~user` at the start of a path.
fn expand_home(path: &str, home: Option<&str>) -> Result<PathBuf, Failure> {
    let Some(rest) = path.strip_prefix('~') else { return Ok(PathBuf::from(path)) };
    let (user, below) = rest.split_once('/').unwrap_or((rest, ""));
    let directory = if user.is_empty() {
        home.filter(|home| !home.is_empty()).map(PathBuf::from)
    } else {
        nix::unistd::User::from_name(user).ok().flatten().map(|user| user.dir)
    };
    directory
        .map(|directory| directory.join(below))
        .ok_or_else(|| Failure::new(format!("Unable to initialize client: no home directory for {path:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use command_line::anywhere;

    fn global(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Global, Failure> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let args = anywhere(FLAGS, &arguments).unwrap();
        Global::from(&args, &|name| {
            environment.iter().find(|(one, _)| *one == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn flags_take_precedence_and_empty_variables_are_unset() {
        let check = |arguments: &[&str], environment: &[(&str, &str)], expect: &str| {
            let global = global(arguments, environment).unwrap();
            let summary = format!("{} {} {:?}", global.endpoint, global.ssh.user, global.request_timeout);
            assert_eq!(summary, expect, "{arguments:?} {environment:?}");
        };
        check(&[], &[("HOME", "/h")], "unix:///var/run/fleet.sock core 3s");
        let all = [
            ("HOME", "/h"),
            ("FLEETCTL_ENDPOINT", "http://a"),
            ("FLEETCTL_SSH_USERNAME", ""),
            ("FLEETCTL_REQUEST_TIMEOUT", "0.5"),
        ];
        check(&[], &all, "http://a core 500ms");
        check(&["-endpoint", "http://b", "--ssh-username=me"], &all, "http://b me 500ms");
        check(&["--driver=etcd"], &[("HOME", "/h")], "http://127.0.0.1:2379,http://127.0.0.1:4001 core 3s");
    }

    #[test]
    fn known_hosts() {
        let check = |arguments: &[&str], expect: Option<&str>| {
            let global = global(arguments, &[("HOME", "/h")]).unwrap();
            assert_eq!(global.ssh.known_hosts, expect.map(PathBuf::from), "{arguments:?}");
        };
        check(&[], Some("/h/.fleetctl/known_hosts"));
        check(&["--known-hosts-file=~root/x"], Some("/root/x"));
        check(&["--known-hosts-file=/x"], Some("/x"));
        check(&["--strict-host-key-checking=false"], None);
        assert!(global(&["--known-hosts-file=~nobody-of-this-name/x"], &[]).is_err());
    }

    #[test]
    fn invalid_values_are_rejected() {
        let text = |arguments: &[&str], environment: &[(&str, &str)]| {
            global(arguments, environment).unwrap_err().text.unwrap()
        };
        assert_eq!(text(&["--driver=foo"], &[]), "Unable to initialize client: unrecognized driver \"foo\"");
        assert!(text(&[], &[("FLEETCTL_SSH_TIMEOUT", "soon")]).contains("ssh-timeout"));
        assert!(text(&[], &[("FLEETCTL_REQUEST_TIMEOUT", "1e9")]).contains("request-timeout"));
        assert!(text(&[], &[("FLEETCTL_DEBUG", "maybe")]).contains("debug"));
    }
}
