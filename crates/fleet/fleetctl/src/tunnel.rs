//! `--tunnel`: the API, and other machines, by way of one machine.

use fleet_client::{Connection, Dial, Dialing, Transport};
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
    fn dial<'a>(&'a self, to: &'a Transport) -> Dialing<'a> {
        Box::pin(async move {
            let opened = match to {
                // Old SSH servers forward no sockets: a program over there does it.
                Transport::Unix(path) => {
                    let command = format!("fleetctl fd-forward {}", quoted(&path.to_string_lossy()));
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

/// For a shell: plain words as they are, others in quotes.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell() {
        for (word, expect) in [
            ("/var/run/fleet.sock", "/var/run/fleet.sock"),
            ("a b", "'a b'"),
            ("a'b;c", "'a'\\''b;c'"),
            ("", "''"),
            ("web@4.service", "web@4.service"),
        ] {
            assert_eq!(quoted(word), expect);
        }
    }
}
