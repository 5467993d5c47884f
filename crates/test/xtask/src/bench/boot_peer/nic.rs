//! Detects over QMP whether a machine has used its network yet.
//!
//! An earlier connection to a forwarded port does not fail: QEMU delivers it later, and a Keelson machine starts a
//! process for each.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

const ANSWER: Duration = Duration::from_secs(10);
/// The transmit queue of virtio-net's two.
const TRANSMIT: u32 = 1;

/// The first network interface of a machine.
pub struct Nic {
    monitor: BufReader<UnixStream>,
    path: String,
}

impl Nic {
    /// `socket` is QEMU's QMP socket, which accepts one client at a time.
    pub fn open(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).with_context(|| format!("no {}", socket.display()))?;
        stream.set_read_timeout(Some(ANSWER))?;
        let mut nic = Self { monitor: BufReader::new(stream), path: String::new() };
        nic.line()?;
        nic.run("qmp_capabilities", &json!({}))?;
        nic.path = first(&nic.run("x-query-virtio", &json!({}))?).context("the machine has no virtio-net")?;
        Ok(nic)
    }

    /// Whether the guest's driver has sent a packet.
    pub fn has_sent(&mut self) -> Result<bool> {
        let queue = json!({ "path": self.path, "queue": TRANSMIT });
        let status = self.run("x-query-virtio-queue-status", &queue)?;
        Ok(status["used-idx"].as_u64().context("a queue without used-idx")? > 0)
    }

    fn run(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let text = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        self.monitor.get_mut().write_all(text.as_bytes()).context("cannot write to QEMU")?;
        loop {
            // Events may precede the reply.
            let mut answer = self.line()?;
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = answer.get("error") {
                bail!("{command}: {}", error["desc"]);
            }
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.monitor.read_line(&mut line).context("no answer of QEMU")?;
        serde_json::from_str(&line).context("an answer of QEMU is not JSON")
    }
}

/// QEMU numbers devices in the order of its arguments, and lists them in another order.
fn first(devices: &Value) -> Option<String> {
    let devices = devices.as_array()?.iter().filter(|device| device["name"] == "virtio-net");
    let mut paths: Vec<&str> = devices.filter_map(|device| device["path"].as_str()).collect();
    paths.sort_by_key(|path| (path.len(), *path));
    paths.first().map(|path| (*path).to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_first_interface_is_queried_for_its_packets() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("qmp");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"{\"QMP\":{}}\n").unwrap();
            let mut request = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            for answer in [
                "{\"return\":{}}\n",
                "{\"return\":[{\"name\":\"virtio-net\",\"path\":\"d[12]\"},{\"name\":\"virtio-blk\",\"path\":\"d[0]\"},\
                 {\"name\":\"virtio-net\",\"path\":\"d[3]\"}]}\n",
                "{\"event\":\"X\"}\n{\"return\":{\"used-idx\":0}}\n",
                "{\"return\":{\"used-idx\":2}}\n",
                "{\"error\":{\"desc\":\"no\"}}\n",
            ] {
                reader.read_line(&mut request).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
            request
        });
        let mut nic = Nic::open(&socket).unwrap();
        assert_eq!(nic.path, "d[3]");
        assert!(!nic.has_sent().unwrap());
        assert!(nic.has_sent().unwrap());
        assert!(nic.has_sent().unwrap_err().to_string().contains("no"));
        assert!(server.join().unwrap().contains("\"queue\":1"));
    }

    #[test]
    fn a_machine_may_have_no_interface() {
        assert_eq!(first(&json!([{ "name": "virtio-blk", "path": "d[0]" }])), None);
    }
}
