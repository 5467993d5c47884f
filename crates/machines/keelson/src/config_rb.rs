//! Parses `config.rb`, the settings file of the Vagrant set-up, as a list of assignments.
//!
//! No Ruby is executed: `$name = value` with numbers, strings, booleans and flat hashes is supported; every other
//! line results in a warning.

use machines::cluster::Forward;

pub const SIZE_MAX: u64 = 1024 * 1024;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigRb {
    pub num_instances: Option<usize>,
    pub instance_name_prefix: Option<String>,
    pub update_channel: Option<String>,
    pub image_version: Option<String>,
    pub vm_memory: Option<u32>,
    pub vm_cpus: Option<u32>,
    pub forwarded_ports: Vec<Forward>,
    /// Port of this host that leads to Docker on the first machine.
    pub expose_docker_tcp: Option<u16>,
    /// Host folder and mount point in the machine.
    pub shared_folders: Vec<(String, String)>,
    /// The operator's home has the same path in the machines.
    pub share_home: bool,
}

/// Port of Docker's API without TLS, on a machine whose cloud-config opens it.
const DOCKER_PORT: u16 = 2375;
/// Settings of Vagrant's windows and processors. Consoles are always logged.
const WITHOUT_EFFECT: [&str; 4] = ["enable_serial_logging", "vm_gui", "vb_gui", "vb_cpuexecutioncap"];

impl ConfigRb {
    /// Forwarded ports of the first machine.
    pub fn forwards(&self) -> Vec<Forward> {
        let docker = self.expose_docker_tcp.map(|host| Forward { host, guest: DOCKER_PORT });
        self.forwarded_ports.iter().copied().chain(docker).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Number(u64),
    Text(String),
    Bool(bool),
    Nil,
    Hash(Vec<(Value, Value)>),
}

/// Returns the settings, and a warning (`line N: ...`) for each line without effect.
pub fn read(text: &str) -> (ConfigRb, Vec<String>) {
    let mut config = ConfigRb::default();
    let mut warnings = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut statement = strip_comment(line).trim().to_owned();
        // A hash may span several lines.
        while statement.contains('=') && open_braces(&statement) {
            let Some((_, next)) = lines.next() else { break };
            statement.push(' ');
            statement.push_str(strip_comment(next).trim());
        }
        if statement.is_empty() {
            continue;
        }
        if let Err(warning) = assign(&mut config, &statement) {
            warnings.push(format!("line {}: {warning}", index + 1));
        }
    }
    (config, warnings)
}

fn assign(config: &mut ConfigRb, statement: &str) -> Result<(), String> {
    let unknown = || format!("ignoring `{statement}`: not an assignment of a supported value");
    let (name, value) =
        statement.strip_prefix('$').and_then(|rest| rest.split_once('=')).ok_or_else(unknown)?;
    let name = name.trim();
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(unknown());
    }
    let value = parse(value.trim()).ok_or_else(unknown)?;
    let wrong = |what: &str| format!("ignoring ${name}: it must be {what}");
    match name {
        "num_instances" => config.num_instances = Some(number(&value).ok_or_else(|| wrong("a number"))?),
        "instance_name_prefix" => {
            config.instance_name_prefix = Some(text(value).ok_or_else(|| wrong("a string"))?)
        }
        "update_channel" => config.update_channel = Some(text(value).ok_or_else(|| wrong("a string"))?),
        "image_version" => config.image_version = version(value).ok_or_else(|| wrong("a version"))?,
        "vm_memory" | "vb_memory" => {
            config.vm_memory = Some(number(&value).ok_or_else(|| wrong("a number of MiB"))?);
        }
        "vm_cpus" | "vb_cpus" => config.vm_cpus = Some(number(&value).ok_or_else(|| wrong("a number"))?),
        "forwarded_ports" => {
            config.forwarded_ports = ports(value).ok_or_else(|| wrong("a hash such as { 80 => 8080 }"))?;
        }
        "expose_docker_tcp" => {
            config.expose_docker_tcp = match &value {
                Value::Nil | Value::Bool(false) => None,
                value => Some(port(value).ok_or_else(|| wrong("a port"))?),
            };
        }
        "share_home" => {
            let Value::Bool(share) = value else { return Err(wrong("true or false")) };
            config.share_home = share;
        }
        name if WITHOUT_EFFECT.contains(&name) => {}
        "shared_folders" => {
            config.shared_folders = folders(value).ok_or_else(|| wrong("a hash such as { '/a' => '/b' }"))?;
        }
        _ => return Err(format!("ignoring ${name}: unknown setting")),
    }
    Ok(())
}

/// Removes a comment, which starts with a `#` outside of quotes.
fn strip_comment(line: &str) -> &str {
    let mut quote = None;
    for (index, char) in line.char_indices() {
        match (quote, char) {
            (None, '#') => return &line[..index],
            (None, '\'' | '"') => quote = Some(char),
            (Some(open), _) if open == char => quote = None,
            _ => {}
        }
    }
    line
}

fn open_braces(text: &str) -> bool {
    text.matches('{').count() > text.matches('}').count()
}

fn parse(text: &str) -> Option<Value> {
    let text = text.trim();
    match text {
        "true" => return Some(Value::Bool(true)),
        "false" => return Some(Value::Bool(false)),
        "nil" => return Some(Value::Nil),
        _ => {}
    }
    if let Some(inner) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let pairs = inner.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (key, value) = pair.split_once("=>")?;
            Some((parse(key)?, parse(value)?))
        };
        return pairs.map(pair).collect::<Option<_>>().map(Value::Hash);
    }
    for quote in ['\'', '"'] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            // Interpolation `#{...}` and escapes are not supported.
            let is_literal = !inner.contains([quote, '\\']) && !inner.contains("#{");
            return is_literal.then(|| Value::Text(inner.to_owned()));
        }
    }
    text.replace('_', "")
        .parse()
        .ok()
        .filter(|_| text.starts_with(|c: char| c.is_ascii_digit()))
        .map(Value::Number)
}

fn number<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    match value {
        Value::Number(number) => T::try_from(*number).ok(),
        _ => None,
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// `current` and nil select the built version.
fn version(value: Value) -> Option<Option<String>> {
    match value {
        Value::Nil => Some(None),
        Value::Text(text) if text == "current" => Some(None),
        Value::Text(text) if !text.is_empty() => Some(Some(text)),
        _ => None,
    }
}

fn port(value: &Value) -> Option<u16> {
    number::<u16>(value).filter(|port| *port != 0)
}

/// Vagrant's order is guest => host.
fn ports(value: Value) -> Option<Vec<Forward>> {
    let Value::Hash(pairs) = value else { return None };
    pairs.iter().map(|(guest, host)| Some(Forward { host: port(host)?, guest: port(guest)? })).collect()
}

fn folders(value: Value) -> Option<Vec<(String, String)>> {
    let Value::Hash(pairs) = value else { return None };
    pairs.into_iter().map(|(host, guest)| Some((text(host)?, text(guest)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vagrant_settings_are_parsed() {
        let text = "# Size of the cluster\n$num_instances=3\n$instance_name_prefix = \"core\" # names\n\
            $update_channel='beta'\n$image_version = \"current\"\n$vm_memory = 2_048\n$vm_cpus = 2\n\
            $forwarded_ports = { 80 => 8080,\n  443 => 8443 }\n$shared_folders = {'/a b' => '/home/core/x'}\n\
            $share_home=true\n$expose_docker_tcp=2375\n$enable_serial_logging=false\n$vm_gui = false\n\
            $vb_cpuexecutioncap = 100\n\n";
        let (config, warnings) = read(text);
        assert!(warnings.is_empty(), "{warnings:?}");
        let expect = ConfigRb {
            num_instances: Some(3),
            instance_name_prefix: Some("core".into()),
            update_channel: Some("beta".into()),
            image_version: None,
            vm_memory: Some(2048),
            vm_cpus: Some(2),
            forwarded_ports: vec![Forward { host: 8080, guest: 80 }, Forward { host: 8443, guest: 443 }],
            expose_docker_tcp: Some(2375),
            shared_folders: vec![("/a b".into(), "/home/core/x".into())],
            share_home: true,
        };
        assert_eq!(config, expect);
        assert_eq!(config.forwards()[2..], [Forward { host: 2375, guest: 2375 }]);
        assert_eq!(read("$expose_docker_tcp = nil").1, [""; 0]);
    }

    #[test]
    fn unknown_lines_are_warned_about_and_ignored() {
        let check = |text: &str, expect: &str| {
            let (config, warnings) = read(text);
            assert_eq!(config, ConfigRb::default(), "{text}");
            assert_eq!(warnings.len(), 1, "{text}: {warnings:?}");
            assert!(warnings[0].starts_with(expect), "{text}: {}", warnings[0]);
        };
        check("\n\nrequire 'open-uri'", "line 3: ignoring `require 'open-uri'`");
        check("$num_instances = many", "line 1: ignoring `$num_instances = many`");
        check("$num_instances = 'many'", "line 1: ignoring $num_instances: it must be a number");
        check("$vm_memory = 99999999999", "line 1: ignoring $vm_memory: it must be a number of MiB");
        check("$new_discovery_url = 'x'", "line 1: ignoring $new_discovery_url: unknown setting");
        check("$share_home = '/home'", "line 1: ignoring $share_home: it must be true or false");
        check("$expose_docker_tcp = 0", "line 1: ignoring $expose_docker_tcp: it must be a port");
        check("$forwarded_ports = { 80 => 99999 }", "line 1: ignoring $forwarded_ports: it must be a hash");
        check("$forwarded_ports = { 80 => 8080", "line 1: ignoring `$forwarded_ports = { 80 => 8080`");
        check("$update_channel = \"#{ENV['C']}\"", "line 1: ignoring `$update_channel");
        check("num_instances = 3", "line 1: ignoring `num_instances = 3`");
    }
}
