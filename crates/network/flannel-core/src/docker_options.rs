//! `mk-docker-opts.sh`: options of Docker's daemon from the subnet file.

use crate::subnet_file::variable_of;

/// What the command writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerOptions {
    /// A variable per option.
    pub individual: bool,
    /// The name of a variable with all options.
    pub combined: Option<String>,
    /// Whether `--ip-masq` is among the options.
    pub ip_masq: bool,
}

/// `FLANNEL_IPMASQ` is neither `true` nor `false`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("Invalid value of FLANNEL_IPMASQ: {0}")]
pub struct InvalidIpMasq(String);

impl DockerOptions {
    /// The file for Docker's unit. `subnet_file` is empty if there is none; `combined_before` is the value that the
    /// combined variable has in the environment.
    ///
    /// # Errors
    /// `FLANNEL_IPMASQ` is invalid.
    pub fn render(&self, subnet_file: &str, combined_before: &str) -> Result<String, InvalidIpMasq> {
        let variable = |name| variable_of(subnet_file, name).filter(|value| !value.is_empty());
        let mut options = Vec::new();
        if let Some(bridge) = variable("FLANNEL_SUBNET") {
            options.push(("DOCKER_OPT_BIP", format!("--bip={bridge}")));
        }
        match variable("FLANNEL_IPMASQ").filter(|_| self.ip_masq) {
            // What flanneld masquerades, Docker must not.
            Some("true") => options.push(("DOCKER_OPT_IPMASQ", "--ip-masq=false".to_owned())),
            Some("false") => options.push(("DOCKER_OPT_IPMASQ", "--ip-masq=true".to_owned())),
            Some(other) => return Err(InvalidIpMasq(other.to_owned())),
            None => {}
        }
        if let Some(mtu) = variable("FLANNEL_MTU") {
            options.push(("DOCKER_OPT_MTU", format!("--mtu={mtu}")));
        }
        let mut file = String::new();
        // The original separates with a space after what was there and one before each option.
        let mut combined = match combined_before {
            "" => String::new(),
            before => format!("{before} "),
        };
        for (name, option) in options {
            if self.individual {
                file.push_str(&format!("{name}=\"{option}\"\n"));
            }
            combined.push_str(&format!(" {option}"));
        }
        if let Some(name) = &self.combined {
            file.push_str(&format!("{name}=\"{combined}\"\n"));
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.34.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
    const INDIVIDUAL: &str = "DOCKER_OPT_BIP=\"--bip=10.1.34.1/24\"\nDOCKER_OPT_IPMASQ=\"--ip-masq=false\"\nDOCKER_OPT_MTU=\"--mtu=1450\"\n";

    fn check(
        individual: bool,
        combined: Option<&str>,
        ip_masq: bool,
        file: &str,
        before: &str,
        expected: &str,
    ) {
        let options = DockerOptions { individual, combined: combined.map(str::to_owned), ip_masq };
        let got = options.render(file, before).unwrap_or_else(|error| error.to_string());
        assert_eq!(got, expected, "{options:?} {file} {before}");
    }

    #[test]
    fn bytes() {
        check(true, None, true, FILE, "", INDIVIDUAL);
        let all = " --bip=10.1.34.1/24 --ip-masq=false --mtu=1450";
        check(false, Some("DOCKER_OPTS"), true, FILE, "", &format!("DOCKER_OPTS=\"{all}\"\n"));
        check(true, Some("X"), true, FILE, "--debug", &format!("{INDIVIDUAL}X=\"--debug {all}\"\n"));
        check(false, Some("D"), false, FILE, "", "D=\" --bip=10.1.34.1/24 --mtu=1450\"\n");
        check(true, None, true, "FLANNEL_IPMASQ=false\n", "", "DOCKER_OPT_IPMASQ=\"--ip-masq=true\"\n");
        check(true, None, true, "", "", "");
        check(true, None, true, "FLANNEL_IPMASQ=no\n", "", "Invalid value of FLANNEL_IPMASQ: no");
    }
}
