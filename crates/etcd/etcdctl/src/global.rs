//! Global flags and environment variables: defined, parsed and validated.

use std::path::PathBuf;
use std::time::Duration;

use command_line::{EmptyFlag, Environment, Flag, ParsedArgs, SettingSource, ValueKind};
use etcd_client::{Endpoint, TlsFiles};
use go_compat::parse_duration;

use crate::failure::Failure;
use crate::output::FORMATS;

pub const FLAGS: &[Flag] = &[
    Flag::switch("debug", "print the equivalent curl command of each request to stderr"),
    Flag::switch("no-sync", "use only the specified endpoints, without querying the member list"),
    Flag::new("output,o", ValueKind::OneOf(FORMATS), "output format: simple, extended or json")
        .default("simple"),
    Flag::new("discovery-srv,D", ValueKind::Text, "domain to query for SRV records of the endpoints"),
    Flag::switch(
        "insecure-discovery",
        "accepted for compatibility; SRV records of http endpoints are always used",
    ),
    Flag::new("peers,C", ValueKind::Text, "deprecated: use --endpoints"),
    Flag::new("endpoint", ValueKind::Text, "deprecated: use --endpoints"),
    Flag::new("endpoints", ValueKind::Text, "comma-separated client URLs of the cluster")
        .default("http://127.0.0.1:2379,http://127.0.0.1:4001"),
    Flag::new("cert-file", ValueKind::File, "client certificate for https (PEM)"),
    Flag::new("key-file", ValueKind::File, "private key of the client certificate (PEM)"),
    Flag::new("ca-file", ValueKind::File, "CA bundle to verify https servers with (PEM)"),
    Flag::new(
        "username,u",
        ValueKind::Text,
        "user[:password] to authenticate with; prompts for a missing password",
    ),
    Flag::new("password", ValueKind::Text, "password of --username"),
    Flag::new("timeout", ValueKind::Duration, "timeout per endpoint, until the response headers")
        .default("1s"),
    Flag::new("total-timeout", ValueKind::Duration, "timeout of the whole request, except for watches")
        .default("5s"),
    Flag::switch("version,v", "print the version"),
];

const INVALID_DURATION: &str = "not a duration, such as 1s or 500ms";

/// In order of precedence.
const ENDPOINT_FLAGS: [&str; 3] = ["endpoints", "endpoint", "peers"];

#[derive(Debug)]
pub struct Global {
    pub debug: bool,
    pub sync: bool,
    /// Validated only when something is printed, as in the original.
    pub format: String,
    /// Empty until `domain` is looked up, if that is set.
    pub endpoints: Vec<Endpoint>,
    /// The domain whose SRV records are the endpoints; overrides other sources of endpoints.
    pub domain: Option<String>,
    pub tls: TlsFiles,
    pub user: Option<User>,
    pub timeout: Duration,
    pub total_timeout: Duration,
}

/// A user name, and a password unless it is prompted for.
pub struct User {
    pub name: String,
    pub password: Option<String>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Global {
    pub fn from(args: &ParsedArgs, environment: Environment<'_>) -> Result<Global, Failure> {
        let source = SettingSource { args, environment, prefix: "ETCDCTL", empty_flag: EmptyFlag::IsUnset };
        let domain = source.text("discovery-srv");
        let file = |flag| source.text(flag).map(PathBuf::from);
        let addresses = ENDPOINT_FLAGS.into_iter().find_map(|flag| source.text(flag));
        let addresses = addresses.unwrap_or_else(|| source.text_or_default("endpoints"));
        let duration = |flag| {
            let read = source.read_or_default(flag, |text| parse_duration(text).ok_or(INVALID_DURATION));
            read.map_err(|error| Failure::usage(error.to_string()))
        };
        Ok(Global {
            debug: args.is_set("debug"),
            sync: !args.is_set("no-sync"),
            format: args.text_or_default("output").to_owned(),
            endpoints: if domain.is_some() { Vec::new() } else { endpoints(&addresses)? },
            domain,
            tls: TlsFiles { ca: file("ca-file"), certificate: file("cert-file"), key: file("key-file") },
            user: user(args.text("username"), args.text("password")),
            timeout: duration("timeout")?,
            total_timeout: duration("total-timeout")?,
        })
    }
}

fn endpoints(addresses: &str) -> Result<Vec<Endpoint>, Failure> {
    let parsed = addresses.split(',').map(|text| text.trim().parse::<Endpoint>());
    parsed.collect::<Result<_, _>>().map_err(|error| Failure::usage(error.to_string()))
}

fn user(name: Option<&str>, password: Option<&str>) -> Option<User> {
    let name = name.filter(|name| !name.is_empty())?;
    let own = |text: &str| text.to_owned();
    Some(match (name.split_once(':'), password) {
        (None, password) => User { name: own(name), password: password.map(own) },
        (Some((name, inline)), _) => User { name: own(name), password: Some(own(inline)) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use command_line::before_arguments;

    const DEFAULT_ENDPOINTS: &str = "http://127.0.0.1:2379,http://127.0.0.1:4001";

    type Arguments<'a> = &'a [&'a str];
    type Variables<'a> = &'a [(&'a str, &'a str)];
    type ExpectedUser<'a> = Option<(&'a str, Option<&'a str>)>;

    fn global(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Global, Failure> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let args = before_arguments(FLAGS, &arguments).unwrap();
        Global::from(&args, &|name| {
            environment.iter().find(|(one, _)| *one == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn precedence_of_endpoints() {
        let all = [("ETCDCTL_ENDPOINTS", "b:1"), ("ETCDCTL_ENDPOINT", "d:1"), ("ETCDCTL_PEERS", "f:1")];
        let cases: [(Arguments, Variables, &str); 8] = [
            (&[], &[], DEFAULT_ENDPOINTS),
            (&["--endpoints", "a:1,https://x:2", "--endpoint", "c:1"], &all, "http://a:1,https://x:2"),
            (&["--endpoint", "c:1", "--peers", "e:1"], &all, "http://b:1"),
            (&["--endpoint", "c:1", "--peers", "e:1"], &all[1..], "http://c:1"),
            (&["-C", "e:1"], &all[1..], "http://d:1"),
            (&["-C", "e:1"], &all[2..], "http://e:1"),
            (&["--endpoints", ""], &all[2..], "http://f:1"),
            (&[], &[("ETCDCTL_PEERS", "")], DEFAULT_ENDPOINTS),
        ];
        for (arguments, environment, expect) in cases {
            let global = global(arguments, environment).unwrap();
            let got: Vec<_> = global.endpoints.iter().map(ToString::to_string).collect();
            assert_eq!(got.join(","), expect, "{arguments:?} {environment:?}");
        }
    }

    #[test]
    fn timeouts() {
        let slow = [("ETCDCTL_TIMEOUT", "4s"), ("ETCDCTL_TOTAL_TIMEOUT", "1m")];
        let of = |arguments: &[&str], environment: &[(&str, &str)]| {
            global(arguments, environment)
                .map(|global| (global.timeout.as_secs(), global.total_timeout.as_secs()))
        };
        assert_eq!(of(&[], &[]).unwrap(), (1, 5));
        assert_eq!(of(&[], &slow).unwrap(), (4, 60));
        assert_eq!(of(&["--timeout", "2s"], &slow).unwrap(), (2, 60));
        let error = of(&[], &[("ETCDCTL_TIMEOUT", "4")]).unwrap_err();
        assert_eq!(error, Failure::usage("$ETCDCTL_TIMEOUT: not a duration, such as 1s or 500ms"));
    }

    #[test]
    fn users() {
        let cases: [(Arguments, ExpectedUser); 5] = [
            (&[], None),
            (&["-u", "root"], Some(("root", None))),
            (&["-u", "root:p:w"], Some(("root", Some("p:w")))),
            (&["-u", "root:"], Some(("root", Some("")))),
            (&["--username", "root", "--password", "pw"], Some(("root", Some("pw")))),
        ];
        for (arguments, expect) in cases {
            let user = global(arguments, &[]).unwrap().user;
            let got = user.as_ref().map(|user| (user.name.as_str(), user.password.as_deref()));
            assert_eq!(got, expect, "{arguments:?}");
        }
    }

    #[test]
    fn invalid_endpoints_are_rejected() {
        for arguments in [["--endpoints", ":::"], ["--endpoints", "a:1,,b:1"]] {
            assert!(global(&arguments, &[]).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn a_domain_overrides_all_endpoints() {
        let variable = ("ETCDCTL_DISCOVERY_SRV", "b.example");
        let cases: [(Arguments, Variables, Option<&str>); 5] = [
            (&["-D", "a.example"], &[variable], Some("a.example")),
            (&["--discovery-srv", "a.example", "--endpoints", ":::"], &[], Some("a.example")),
            (&["--endpoints", "a:1"], &[variable], Some("b.example")),
            (&["-D", ""], &[("ETCDCTL_DISCOVERY_SRV", "")], None),
            (&[], &[], None),
        ];
        for (arguments, environment, expect) in cases {
            let global = global(arguments, environment).unwrap();
            assert_eq!(global.domain.as_deref(), expect, "{arguments:?}");
            assert_eq!(global.endpoints.is_empty(), expect.is_some(), "{arguments:?}");
        }
    }
}
