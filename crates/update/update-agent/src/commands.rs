//! `update-agent`: the command line interface.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use update_core::roots::{self, Role};
use update_core::slots::BootState;
use update_core::status::Operation;
use update_core::trust::{Anchor, Ban, UpdateOptions};
use update_engine::{Hold, Isolation, Observer, Outcome, Paths, Settings, TrustStore, Updater, now};

use crate::timing::retry_policy;

/// Updates this machine. A new version is written to the inactive slot; the running slot is never modified.
#[derive(Parser)]
#[command(
    name = "update-agent",
    version,
    after_help = "Examples:\n  update-agent status\n  update-agent keys\n  update-agent apply /media/usb/keelson-2.kup\n  \
                  update-agent rollback && systemctl reboot\n  update-agent hold \"until the audit is over\"\n\n\
                  update-engine.service checks for and downloads updates; `update_engine_client -update` starts a check now."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the version, the server, the last check, a pending reboot, a hold and banned versions; exits with 3 if the
    /// channel had no new timestamp for a week
    Status {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Show the slots and the boot images in boot order
    Slots {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Show the trusted keys: the root in force, and its expiry
    Keys {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Install a release from a folder or a .kup file, without a network
    Apply {
        path: PathBuf,
        /// Accept a version that is older than the running version or a version that ran successfully
        #[arg(long)]
        allow_downgrade: bool,
        /// Accept a version that is banned because it failed on this machine
        #[arg(long)]
        retry: bool,
    },
    /// Boot the other version next, and ban the running version on this machine
    Rollback,
    /// Suspend automatic updates until `unhold`
    Hold {
        /// Reason that `status` shows
        #[arg(default_value = "held by an operator")]
        reason: String,
    },
    /// Resume automatic updates
    Unhold,
    /// Remove the ban of a version that failed or was rolled back, and check for updates
    Retry { version: String },
    /// Run the daemon (used by update-engine.service)
    Daemon,
    /// Print the completions for a shell
    Completions { shell: clap_complete::Shell },
}

pub fn run(paths: &Paths, args: &[String]) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout and is not an error.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let outcome = match cli.command {
        Command::Daemon => return crate::daemon::run(paths, &[]),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "update-agent", &mut std::io::stdout());
            return ExitCode::SUCCESS;
        }
        command => execute(paths, command),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(paths: &Paths, command: Command) -> anyhow::Result<ExitCode> {
    let updater = Updater::new(paths, retry_policy(), Isolation::own_program())?;
    match command {
        Command::Status { json } => return status(paths, &updater, json),
        Command::Slots { json } => {
            slots(&updater.inspect()?, json)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Keys { json } => {
            keys(paths, &Settings::read(paths), json)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Apply { path, allow_downgrade, retry } => {
            let options = UpdateOptions { downgrade: allow_downgrade, retry };
            let printer = ProgressPrinter { last: Mutex::default(), replaces: updater.pending().is_some() };
            match updater.apply(&Settings::read(paths), &path, options, &printer)? {
                Outcome::Installed { version } => {
                    println!("Version {version} is installed and boots next. To reboot: systemctl reboot");
                }
                other => anyhow::bail!("nothing was installed: {other:?}"),
            }
        }
        Command::Rollback => {
            let version = updater.roll_back()?;
            println!("Version {version} boots next. To reboot: systemctl reboot");
        }
        Command::Hold { reason } => {
            updater.state.set_hold(Some(&Hold { reason, since: now() }))?;
            println!("Automatic updates are suspended. To resume: update-agent unhold");
        }
        Command::Unhold => updater.state.set_hold(None)?,
        Command::Retry { version } => {
            let allow = |bans: &mut Vec<Ban>| {
                let before = bans.len();
                bans.retain(|ban| ban.version.to_string() != version);
                bans.len() < before
            };
            let is_allowed = updater.state.update_bans(allow)?;
            anyhow::ensure!(is_allowed, "version {version} is not banned; see `update-agent status`");
            println!("Version {version} is not banned any more.");
            // The server offers the version again only after an on-demand check.
            match updater.state.hold()? {
                Some(_) => println!(
                    "Automatic updates are suspended. To check for updates: update_engine_client -update"
                ),
                None => {
                    println!("Checking for updates. To show the progress: update_engine_client -status");
                    call_daemon("com.coreos.update1.Manager", "AttemptUpdate");
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
        Command::Daemon | Command::Completions { .. } => {}
    }
    refresh();
    Ok(ExitCode::SUCCESS)
}

/// Makes the daemon, if it runs, read the state again and notify locksmithd.
fn refresh() {
    call_daemon("io.keelson.Update1", "Refresh");
}

/// Calls a D-Bus method without arguments.
fn call_daemon(interface: &str, method: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    let result = runtime.block_on(async {
        let bus = zbus::Connection::system().await?;
        let call = bus.call_method(Some(crate::bus::NAME), crate::bus::PATH, Some(interface), method, &());
        call.await
    });
    if result.is_err() {
        eprintln!(
            "note: update-engine.service is not running: this machine does not check for updates or reboot for them"
        );
    }
}

/// Exit code of `status` if the channel is outdated.
const EXIT_OUTDATED: u8 = 3;

fn status(paths: &Paths, updater: &Updater, json: bool) -> anyhow::Result<ExitCode> {
    let path = paths.status();
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {} (is update-engine.service running?)", path.display()))?;
    let value: serde_json::Value = serde_json::from_str(&text).context("the status file is invalid")?;
    let outdated = value.get("outdated").is_some_and(serde_json::Value::is_string);
    let code = if outdated { ExitCode::from(EXIT_OUTDATED) } else { ExitCode::SUCCESS };
    if json {
        print!("{text}");
        return Ok(code);
    }
    let field = |key: &str| match value.get(key) {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::String(text)) => Some(text.clone()).filter(|text| !text.is_empty()),
        Some(other) => Some(other.to_string()),
    };
    let expires = value.get("channel_expires").and_then(serde_json::Value::as_u64);
    let channel_version = field("channel_version")
        .zip(expires)
        .map(|(version, expires)| format!("{version}, confirmed until {}", date(expires)));
    let bans: Vec<String> =
        updater.state.bans()?.iter().map(|ban| format!("{}: {}", ban.version, ban.reason)).collect();
    let root = field("root_version");
    let rows = [
        ("Version", field("version")),
        ("Channel", field("group")),
        ("Server", field("server")),
        ("Root", root.map(|version| format!("version {version}"))),
        ("Operation", field("operation")),
        ("Channel version", channel_version),
        ("Outdated", field("outdated")),
        ("Last result", field("last_result")),
        ("Last failure", field("last_error")),
        ("Pending reboot", field("pending")),
        ("Hold", updater.state.hold()?.map(|hold| hold.reason)),
        ("Banned", Some(bans.join("; ")).filter(|text| !text.is_empty())),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            println!("{name:<19} {value}");
        }
    }
    Ok(code)
}

fn keys(paths: &Paths, settings: &Settings, json: bool) -> anyhow::Result<()> {
    let store = TrustStore::open(paths, settings)?;
    let (root, anchor) = (store.root(), store.in_force().anchor);
    if json {
        println!("{:#}", serde_json::json!({ "root": root, "anchor": anchor }));
        return Ok(());
    }
    let expires = roots::expires(root);
    let until = if expires <= now() { "expired" } else { "expires" };
    println!("Root version {}, {until} {}", roots::version(root), date(expires));
    println!("The next version needs signatures by {} of its root keys.", root.roles.root.threshold);
    for role in Role::ALL {
        for named in roots::named_keys(root, role) {
            println!("{:<8} {:<16} {}", role.name(), named.name, named.key.id());
        }
    }
    if anchor == Anchor::Local {
        println!("This is the root in /etc/keelson/keys.d, or one that it leads to, instead of the image's.");
    }
    Ok(())
}

/// `2027-01-31`.
fn date(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "never".to_owned(), |time| time.to_zoned(TimeZone::UTC).date().to_string())
}

fn slots(boot_state: &BootState, json: bool) -> anyhow::Result<()> {
    let order = boot_state.boot_order();
    if json {
        let entries: Vec<_> = order
            .iter()
            .map(|entry| {
                serde_json::json!({
                    "file": entry.name.to_string(),
                    "version": entry.name.version.to_string(),
                    "root_hash": entry.root_hash.map(|hash| hash.to_string()),
                    "tries_left": entry.name.tries.map(|tries| tries.left),
                    "tries_done": entry.name.tries.map(|tries| tries.done),
                    "good": entry.name.is_good(),
                })
            })
            .collect();
        let slots: Vec<_> = boot_state
            .slots
            .iter()
            .map(|slot| {
                serde_json::json!({
                    "slot": slot.name.to_string(),
                    "root_hash": slot.root_hash.to_string(),
                    "running": slot.root_hash == boot_state.running,
                    "bytes": slot.capacity,
                })
            })
            .collect();
        println!("{:#}", serde_json::json!({ "slots": slots, "entries": entries }));
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["SLOT", "VERSION", "PRIORITY", "TRIES", "SUCCESSFUL", "RUNNING"]);
    for slot in &boot_state.slots {
        let found = order.iter().position(|entry| entry.root_hash == Some(slot.root_hash));
        let entry = found.and_then(|at| order.get(at));
        // As in `cgpt show`: the highest priority boots first, 0 is not bootable.
        let priority = found.map_or(0, |at| order.len() - at);
        table.add_row([
            slot.name.to_string(),
            entry.map_or("-".to_owned(), |entry| entry.name.version.to_string()),
            priority.to_string(),
            entry.and_then(|entry| entry.name.tries).map_or(0, |tries| tries.left).to_string(),
            u8::from(entry.is_some_and(|entry| entry.name.is_good())).to_string(),
            if slot.root_hash == boot_state.running { "yes" } else { "" }.to_owned(),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().for_each(|line| println!("{}", line.trim_end()));
    Ok(())
}

/// Prints progress to stderr: a changing line on a terminal, otherwise a line every ten seconds.
struct ProgressPrinter {
    last: Mutex<Option<Instant>>,
    /// A pending version is replaced.
    replaces: bool,
}

impl Observer for ProgressPrinter {
    fn operation(&self, operation: Operation) {
        let what = match operation {
            Operation::Downloading => "writing",
            Operation::Verifying => "verifying",
            Operation::Finalizing => "finishing",
            _ => return,
        };
        eprintln!(" {what}");
    }

    fn found(&self, version: &str, bytes: u64) {
        eprintln!(" version {version}, {} MiB", bytes >> 20);
        // The pending version is discarded: locksmithd must not reboot for it.
        if self.replaces {
            refresh();
        }
    }

    fn progress(&self, done: u64, total: u64) {
        let mut reported = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let interval = Duration::from_millis(if std::io::stderr().is_terminal() { 200 } else { 10_000 });
        if reported.is_some_and(|reported| reported.elapsed() < interval) && done < total {
            return;
        }
        *reported = Some(Instant::now());
        let end = if std::io::stderr().is_terminal() && done < total { "\r" } else { "\n" };
        eprint!("  {:>3} %{end}", done * 100 / total.max(1));
        // Best effort.
        drop(std::io::stderr().flush());
    }

    fn cancelled(&self) -> bool {
        false
    }
}
