//! Validates the keys adopted from cloud-init: `runcmd`, `timezone`, `locale`, `ntp` and `ca_certs`.

use super::refusal::Refusal;
use crate::config::{CloudConfig, Command, Text};
use crate::limits::MAX_COMMANDS;

const CERTIFICATE_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const CERTIFICATE_END: &str = "-----END CERTIFICATE-----";

#[derive(Clone, Default, PartialEq, Eq)]
pub struct System {
    /// Shell scripts, one for each command. May contain secrets.
    pub commands: Vec<Vec<u8>>,
    pub timezone: Option<String>,
    pub locale: Option<String>,
    pub time_servers: Vec<String>,
    /// PEM blocks, each terminated by a line break.
    pub certificates: Vec<String>,
}

/// Prints only the number of commands: they may contain secrets.
impl std::fmt::Debug for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { commands, timezone, locale, time_servers, certificates } = self;
        let (commands, certificates) = (commands.len(), certificates.len());
        write!(
            f,
            "{commands} commands, {timezone:?}, {locale:?}, {time_servers:?}, {certificates} certificates"
        )
    }
}

impl System {
    /// Appends lists; later settings replace earlier ones.
    pub(super) fn join(&mut self, later: Self) {
        self.commands.extend(later.commands);
        self.timezone = later.timezone.or(self.timezone.take());
        self.locale = later.locale.or(self.locale.take());
        self.time_servers.extend(later.time_servers);
        self.certificates.extend(later.certificates);
    }
}

pub(super) fn check(config: &CloudConfig, refusals: &mut Vec<Refusal>) -> System {
    let mut system = System { commands: commands(&config.commands, refusals), ..System::default() };
    let is_zone = |name: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/');
        name.chars().all(allowed) && name.split('/').all(|part| !part.is_empty())
    };
    system.timezone = value(config.timezone.as_ref(), is_zone, refusals);
    let is_locale =
        |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@'));
    system.locale = value(config.locale.as_ref(), is_locale, refusals);
    let is_host = |name: &str| {
        name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':'))
            && !name.starts_with('-')
    };
    let servers = config.ntp.servers.iter().filter(|_| !config.ntp.disabled);
    system.time_servers = servers.filter_map(|server| value(Some(server), is_host, refusals)).collect();
    for certificate in &config.certificates {
        let text = certificate.text.trim();
        if text.starts_with(CERTIFICATE_BEGIN) && text.ends_with(CERTIFICATE_END) && !text.contains('\0') {
            system.certificates.push(format!("{text}\n"));
        } else {
            let problem =
                format!("a certificate must stand between {CERTIFICATE_BEGIN} and {CERTIFICATE_END}");
            refusals.push(Refusal::new(certificate.location, problem));
        }
    }
    system
}

fn value(text: Option<&Text>, fits: impl Fn(&str) -> bool, refusals: &mut Vec<Refusal>) -> Option<String> {
    let text = text?;
    if fits(&text.text) {
        return Some(text.text.to_string());
    }
    refusals.push(Refusal::new(text.location, format!("invalid value {}", text.text.escape_debug())));
    None
}

fn commands(commands: &[Command], refusals: &mut Vec<Refusal>) -> Vec<Vec<u8>> {
    let mut scripts = Vec::new();
    for command in commands {
        let (location, line) = match command {
            Command::Shell(line) => (line.location, line.text.to_string()),
            Command::Exec(arguments) => {
                let Some(first) = arguments.first() else { continue };
                let quoted: Vec<_> = arguments
                    .iter()
                    .map(|argument| format!("'{}'", argument.text.replace('\'', "'\\''")))
                    .collect();
                (first.location, quoted.join(" "))
            }
        };
        if line.contains('\0') {
            refusals.push(Refusal::new(location, "a command must not hold NUL"));
        } else if scripts.len() == MAX_COMMANDS {
            refusals.push(Refusal::new(location, format!("more than {MAX_COMMANDS} commands")));
            break;
        }
        scripts.push(format!("#!/bin/sh\n{line}\n").into_bytes());
    }
    scripts
}

#[cfg(test)]
mod tests {
    use crate::check::{System, check};
    use crate::{config, validate, yaml};

    fn checked(text: &str) -> System {
        let document = yaml::read(text.as_bytes()).unwrap();
        check(&config::read(document.root.as_deref())).unwrap().system
    }

    #[test]
    fn values() {
        let text = "runcmd:\n- echo a && b\n- [echo, \"it's\", 5, '']\n- null\n- []\n- |\n  one\n  two\n\
                    timezone: America/Argentina/Buenos_Aires\nlocale: de_DE.UTF-8\n\
                    ntp: {pools: [pool.ntp.org], servers: [10.0.0.1, '2001:db8::1']}\n\
                    ca-certs: {trusted: [\"-----BEGIN CERTIFICATE-----\\nx\\n-----END CERTIFICATE-----\"]}\n";
        let system = checked(text);
        let commands: Vec<_> = system.commands.iter().map(|text| str::from_utf8(text).unwrap()).collect();
        assert_eq!(
            commands,
            ["#!/bin/sh\necho a && b\n", "#!/bin/sh\n'echo' 'it'\\''s' '5' ''\n", "#!/bin/sh\none\ntwo\n\n",]
        );
        assert_eq!(system.timezone.as_deref(), Some("America/Argentina/Buenos_Aires"));
        assert_eq!(system.locale.as_deref(), Some("de_DE.UTF-8"));
        assert_eq!(system.time_servers, ["pool.ntp.org", "10.0.0.1", "2001:db8::1"]);
        assert_eq!(system.certificates, ["-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"]);
        assert_eq!(checked("ntp: {enabled: false, servers: [a]}").time_servers, [""; 0]);
        assert_eq!(checked("hostname: a"), System::default());
        assert!(!format!("{system:?}").contains("echo"));
    }

    #[test]
    fn findings() {
        let found = |text: &str| -> Vec<String> {
            validate(format!("#cloud-config\n{text}").as_bytes()).iter().map(ToString::to_string).collect()
        };
        for (text, expect) in [
            ("timezone: ../../etc/shadow", "line 2: error: invalid value ../../etc/shadow"),
            ("timezone: /etc/shadow", "line 2: error: invalid value /etc/shadow"),
            ("locale: \"C\\nX=y\"", "line 2: error: invalid value C\\nX=y"),
            ("ntp: {servers: ['a b']}", "line 2: error: invalid value a b"),
            ("runcmd: [\"a\\0b\"]", "line 2: error: a command must not hold NUL"),
            ("runcmd: [{a: b}]", "line 2: warning: incorrect type for \"runcmd[0]\" (want string)"),
            ("runcmd: [[a, [b]]]", "line 2: warning: incorrect type for \"runcmd[0][1]\" (want string)"),
            (
                "runcmd: reboot",
                "line 2: warning: incorrect type for \"runcmd\" (want []string or [][]string)",
            ),
            (
                "ca_certs: {trusted: [x]}",
                "line 2: error: a certificate must stand between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----",
            ),
        ] {
            assert_eq!(found(text), [expect], "{text}");
        }
        let many = format!("runcmd: [{}]", "a,".repeat(super::MAX_COMMANDS + 5));
        assert_eq!(found(&many), ["line 2: error: more than 200 commands"]);
        for key in ["packages", "package_update", "package-upgrade"] {
            let message = "line 2: info: packages are not installed: the system is an image (use a system extension or a container)";
            let found = found(&format!("{key}: true"));
            assert_eq!((found.len(), &*found[1]), (2, message), "{found:?}");
        }
    }
}
