//! A server of keelson for the machines: on the host, where they reach it at host.keelson, or on their LAN.

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use machines::cluster::LAN_PREFIX;
use machines::lan_host::LanHost;
use machines::site::SiteError;
use serde_json::Value;

use crate::failure::{Failure, expect};
use crate::scenario::Context;
use crate::slowdown::slowdown;

/// Name of the server's port on the LAN.
const PORT: &str = "server";
/// Interval between two looks at the events.
const POLL: Duration = Duration::from_millis(200);

pub struct Server {
    child: Child,
    pub program: PathBuf,
    /// URL without a slash at its end.
    pub url: String,
    events: Arc<Mutex<Vec<Value>>>,
    /// Whether the run is interrupted.
    cancel: Arc<AtomicBool>,
    /// Its host on the LAN, which exists as long as this.
    host: Option<LanHost>,
}

impl Server {
    /// Runs keelson with `arguments` on the host. It prints JSON with its URL when it serves.
    pub fn start(context: &Context<'_>, arguments: &[&str]) -> Result<Self, Failure> {
        let mut command = Command::new(&context.run.background.program);
        command.arg("--json").args(arguments);
        let server = Self::spawn(context, command)?;
        let port = server.port().parse();
        expect(port.is_ok(), "a server's URL", &server.url)?;
        context.site.expose_host_port(port.unwrap_or_default())?;
        Ok(server)
    }

    /// The same on the machines' LAN.
    pub fn start_on_lan(
        context: &Context<'_>,
        address: Ipv4Addr,
        arguments: &[&str],
    ) -> Result<Self, Failure> {
        let host = join_lan(context, PORT, &[(address, LAN_PREFIX)])?;
        let mut command = Command::new(&context.run.background.program);
        command.arg("--json").args(arguments);
        host.run_program(&mut command);
        let mut server = Self::spawn(context, command)?;
        server.host = Some(host);
        Ok(server)
    }

    fn spawn(context: &Context<'_>, mut command: Command) -> Result<Self, Failure> {
        let program = context.run.background.program.clone();
        let log = context.site.layout().root().join("server.log");
        let failed = |path: &PathBuf| {
            let path = path.clone();
            |source| Failure::Disk { path, source }
        };
        let errors = std::fs::File::create(&log).map_err(failed(&log))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(failed(&program))?;
        let mut output = String::new();
        let mut lines = child.stdout.take().map(BufReader::new);
        while let Some(lines) = lines.as_mut().filter(|_| !output.ends_with("}\n")) {
            if lines.read_line(&mut output).map_err(failed(&program))? == 0 {
                break;
            }
        }
        let value: Value = serde_json::from_str(&output).unwrap_or_default();
        let url = value.get("url").and_then(Value::as_str).unwrap_or_default();
        let events = Arc::default();
        let server = Self {
            child,
            program,
            url: url.trim_end_matches('/').to_owned(),
            events: Arc::clone(&events),
            cancel: Arc::clone(&context.run.cancel),
            host: None,
        };
        let written = output + &std::fs::read_to_string(&log).unwrap_or_default();
        expect(!server.url.is_empty(), "a server's URL", &written)?;
        if let Some(lines) = lines {
            std::thread::spawn(move || collect(lines, &events));
        }
        Ok(server)
    }

    /// URL as machines reach a server on the host.
    pub fn guest_url(&self) -> String {
        format!("http://host.keelson:{}", self.port())
    }

    fn port(&self) -> &str {
        self.url.rsplit(':').next().unwrap_or_default()
    }

    /// The values of `key` in the lines that it has printed since it serves.
    pub fn events(&self, key: &str) -> Vec<String> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().filter_map(|event| Some(event.get(key)?.as_str()?.to_owned())).collect()
    }

    /// Waits until `count` lines have this value of `key`; `limit` grows with the host's slowness.
    pub fn wait_for_events(
        &self,
        key: &str,
        value: &str,
        count: usize,
        limit: Duration,
    ) -> Result<(), Failure> {
        let (begun, limit) = (Instant::now(), limit.mul_f64(slowdown()));
        while self.events(key).iter().filter(|found| *found == value).count() < count {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(SiteError::Interrupted.into());
            }
            let seconds = limit.as_secs();
            expect(
                begun.elapsed() < limit,
                &format!("{count} times {key} {value} of the server within {seconds} s"),
                &self.events(key).join(" "),
            )?;
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

/// Adds a host with these addresses and prefix lengths to the machines' LAN, at the switch's port of that name.
pub fn join_lan(context: &Context<'_>, port: &str, addresses: &[(Ipv4Addr, u8)]) -> Result<LanHost, Failure> {
    match context.site.join_lan(port, addresses) {
        Err(SiteError::LanHost { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
            Err(Failure::Unavailable("a server on the machines' LAN needs root".to_owned()))
        }
        joined => Ok(joined?),
    }
}

/// Keeps the lines of JSON until the server exits.
fn collect(lines: BufReader<ChildStdout>, events: &Mutex<Vec<Value>>) {
    for line in lines.lines().map_while(Result::ok) {
        if let Ok(event) = serde_json::from_str(&line) {
            events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have exited already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
