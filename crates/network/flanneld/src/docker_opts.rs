//! `mk-docker-opts.sh`, a shell script in flannel: same flags, same files.

use std::{fs, io, path::Path, process::ExitCode};

use flannel_core::DockerOptions;

const USAGE: &str = "[-f FLANNEL-ENV-FILE] [-d DOCKER-ENV-FILE] [-i] [-c] [-m] [-k COMBINED-KEY]

Generate Docker daemon options based on flannel env file
OPTIONS:
\t-f\tPath to flannel env file. Defaults to /run/flannel/subnet.env
\t-d\tPath to Docker env file to write to. Defaults to /run/docker_opts.env
\t-i\tOutput each Docker option as individual var. e.g. DOCKER_OPT_MTU=1500
\t-c\tOutput combined Docker options into DOCKER_OPTS var
\t-k\tSet the combined options key to this value (default DOCKER_OPTS=)
\t-m\tDo not output --ip-masq (useful for older Docker version)

EXAMPLES:
\tmk-docker-opts.sh -i -d /run/flannel/flannel_docker_opts.env
\tmk-docker-opts.sh -c -k DOCKER_NETWORK_OPTIONS
";

/// Mode of the written file: Docker's unit reads it.
const MODE: u32 = 0o644;

#[derive(Debug, PartialEq, Eq)]
struct Arguments {
    flannel_file: String,
    docker_file: String,
    key: String,
    individual: bool,
    combined: bool,
    ip_masq: bool,
}

pub fn main(name: &str, arguments: &[String]) -> ExitCode {
    let Some(arguments) = parse(arguments) else {
        eprint!("{name} {USAGE}");
        return ExitCode::FAILURE;
    };
    match write(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The flags as `getopts` of a shell reads them; none for an unknown one.
fn parse(arguments: &[String]) -> Option<Arguments> {
    let mut parsed = Arguments {
        flannel_file: "/run/flannel/subnet.env".to_owned(),
        docker_file: "/run/docker_opts.env".to_owned(),
        key: "DOCKER_OPTS".to_owned(),
        individual: false,
        combined: false,
        ip_masq: true,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some(letters) = argument.strip_prefix('-').filter(|letters| !letters.is_empty()) else { break };
        for (at, letter) in letters.char_indices() {
            let value = match letter {
                'f' => &mut parsed.flannel_file,
                'd' => &mut parsed.docker_file,
                'k' => &mut parsed.key,
                'i' => {
                    parsed.individual = true;
                    continue;
                }
                'c' => {
                    parsed.combined = true;
                    continue;
                }
                'm' => {
                    parsed.ip_masq = false;
                    continue;
                }
                _ => return None,
            };
            *value = match &letters[at + 1..] {
                "" => rest.next()?.clone(),
                attached => attached.to_owned(),
            };
            break;
        }
    }
    if !parsed.individual && !parsed.combined {
        (parsed.individual, parsed.combined) = (true, true);
    }
    // The variable is one of a shell: the original evaluates its name.
    let is_name = |key: &str| {
        key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && key.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
    };
    is_name(&parsed.key).then_some(parsed)
}

fn write(arguments: &Arguments) -> Result<(), String> {
    let subnet_file = match fs::read_to_string(&arguments.flannel_file) {
        Ok(text) => text,
        // Docker starts with its own subnet then.
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("cannot read {}: {error}", arguments.flannel_file)),
    };
    let options = DockerOptions {
        individual: arguments.individual,
        combined: arguments.combined.then(|| arguments.key.clone()),
        ip_masq: arguments.ip_masq,
    };
    let before = std::env::var(&arguments.key).unwrap_or_default();
    let text = options.render(&subnet_file, &before).map_err(|error| error.to_string())?;
    service::file::replace(Path::new(&arguments.docker_file), text.as_bytes(), MODE)
        .map_err(|error| format!("cannot write {}: {error}", arguments.docker_file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str], expected: Option<(&str, &str, &str, bool, bool, bool)>) {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let expected =
            expected.map(|(flannel_file, docker_file, key, individual, combined, ip_masq)| Arguments {
                flannel_file: flannel_file.to_owned(),
                docker_file: docker_file.to_owned(),
                key: key.to_owned(),
                individual,
                combined,
                ip_masq,
            });
        assert_eq!(parse(&arguments), expected, "{arguments:?}");
    }

    #[test]
    fn flags() {
        let (from, to) = ("/run/flannel/subnet.env", "/run/docker_opts.env");
        check(&[], Some((from, to, "DOCKER_OPTS", true, true, true)));
        check(&["-i", "-d", "x"], Some((from, "x", "DOCKER_OPTS", true, false, true)));
        check(&["-cmkOPTS", "-f/a"], Some(("/a", to, "OPTS", false, true, false)));
        check(&["-im", "--", "-c"], None);
        check(&["-h"], None);
        check(&["-f"], None);
        check(&["-k", "A;reboot"], None);
    }

    #[test]
    fn files() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let run = |from: &str| {
            let arguments = ["-i", "-f", &path(from), "-d", &path("docker")].map(str::to_owned);
            write(&parse(&arguments).unwrap())
        };
        run("missing").unwrap();
        assert_eq!(fs::read_to_string(path("docker")).unwrap(), "");
        fs::write(path("subnet"), "FLANNEL_SUBNET=10.1.34.1/24\nFLANNEL_IPMASQ=true\nFLANNEL_MTU=1450\n")
            .unwrap();
        run("subnet").unwrap();
        assert_eq!(
            fs::read_to_string(path("docker")).unwrap(),
            "DOCKER_OPT_BIP=\"--bip=10.1.34.1/24\"\nDOCKER_OPT_IPMASQ=\"--ip-masq=false\"\nDOCKER_OPT_MTU=\"--mtu=1450\"\n"
        );
    }
}
