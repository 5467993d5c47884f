//! `--tunnel`: reaches the API and other machines through one machine.

use fleet_client::{Connection, Dial, DialFuture, Transport};
use ssh_client::{Address, Error, Settings};

pub struct Tunnel {
    connection: ssh_client::Connection,
}

impl Tunnel {
    pub async fn open(host: &str, settings: &Settings) -> Result<Tunnel, Error> {
        let refused =
            || Error::Dial { address: host.to_owned(), cause: "not an address: use host[:port]".to_owned() };
        let address = Address::parse(host).ok_or_else(refused)?;
        Ok(Tunnel { connection: ssh_client::Connection::open(settings, &address).await? })
    }

    pub fn connection(&self) -> &ssh_client::Connection {
        &self.connection
    }
}

impl Dial for Tunnel {
    fn dial<'a>(&'a self, to: &'a Transport) -> DialFuture<'a> {
        Box::pin(async move {
            let opened = match to {
                // Old SSH servers cannot forward Unix sockets.
                Transport::Unix(path) => {
                    let command = format!("fleetctl fd-forward {}", shell_quote(&path.to_string_lossy()));
                    self.connection.command(&command).await
                }
                Transport::Tcp { host, port } | Transport::Tls { host, port } => {
                    self.connection.tcp(host, *port).await
                }
            };
            match opened {
                Ok(stream) => Ok(Box::new(stream) as Box<dyn Connection>),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}

/// Quotes an argument for a shell if needed.
pub fn shell_quote(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@%+=,".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted() {
        for (argument, expect) in [
            ("/var/run/fleet.sock", "/var/run/fleet.sock"),
            ("a b", "'a b'"),
            ("a'b;c", "'a'\\''b;c'"),
            ("", "''"),
            ("web@4.service", "web@4.service"),
        ] {
            assert_eq!(shell_quote(argument), expect);
        }
    }
}
