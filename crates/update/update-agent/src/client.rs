//! `update_engine_client`, compatible with the original (contract 2.4).

use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Zoned;
use tokio::time::timeout;
use update_core::status::format_status;
use zbus::export::futures_core::Stream;

/// Client of the D-Bus interface.
#[zbus::proxy(
    interface = "com.coreos.update1.Manager",
    default_service = "com.coreos.update1",
    default_path = "/com/coreos/update1"
)]
pub trait Manager {
    fn attempt_update(&self) -> zbus::Result<()>;
    fn reset_status(&self) -> zbus::Result<()>;
    fn get_status(&self) -> zbus::Result<(i64, f64, String, String, i64)>;
    #[zbus(signal)]
    fn status_update(
        &self,
        last_checked_time: i64,
        progress: f64,
        current_operation: String,
        new_version: String,
        new_size: i64,
    ) -> zbus::Result<()>;
}

const HELP: &str = "\
Usage: update_engine_client [FLAG]

  -status             Print the current status to stdout.
  -check_for_update   Initiate check for updates.
  -update             Forces an update and waits for its completion. Exit status is 0 if the update succeeded or
                      there was none, and 1 otherwise.
  -reset_status       Sets the status in update_engine to idle.
  -watch_for_updates  Listen for status updates and print them to the screen (also -follow).
  -version            Print the version.
  -help               Print this.

Flags have one dash or two. For failures, slots and rollback, see: update-agent --help
";
/// Machines on which the daemon does not run, by a path of theirs: systemd's mark of a container, and the initrd's mount of
/// a live image.
const NOT_UPDATED: [(&str, &str); 2] = [
    (
        "/run/systemd/container",
        "This machine is a container and is not updated: its host provides the image.",
    ),
    (
        "/run/keelson/live",
        "This is a live system and is not updated: boot a newer image, or install it with coreos-install.",
    ),
];
/// Attempts to reach the daemon, and the delay between them.
const ATTEMPTS: u32 = 4;
const RETRY_DELAY: Duration = Duration::from_secs(10);
/// Polling interval of `-update`.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Timeout of a D-Bus call, libdbus' default.
const CALL_TIMEOUT: Duration = Duration::from_secs(25);
/// Delay until a message that the call is taking long.
const QUIET_PERIOD: Duration = Duration::from_secs(3);

#[derive(Debug, Default, PartialEq, Eq)]
struct Flags {
    status: bool,
    check_for_update: bool,
    update: bool,
    reset_status: bool,
    watch_for_updates: bool,
    help: bool,
    version: bool,
}

/// Parses flags as gflags: `-flag`, `--flag`, `--flag=true`, `--noflag`. Ignores glog's flags.
fn parse_flags(args: &[String]) -> Result<Flags, String> {
    let mut flags = Flags::default();
    for arg in args {
        let Some(flag_text) = arg.strip_prefix('-').map(|rest| rest.strip_prefix('-').unwrap_or(rest)) else {
            return Err(format!("unexpected argument '{arg}'"));
        };
        let (name, value) = match flag_text.split_once('=') {
            Some((name, value)) => (name, !["false", "0", "f", "n", "no"].contains(&value)),
            None => (flag_text, true),
        };
        let (name, value) = match name.strip_prefix("no") {
            Some(rest) if flag(&mut flags, rest).is_some() => (rest, !value),
            _ => (name, value),
        };
        match flag(&mut flags, name) {
            Some(field) => *field = value,
            None if ["logtostderr", "alsologtostderr", "v", "log_dir", "stderrthreshold"].contains(&name) => {
            }
            None => return Err(format!("unknown command line flag '{name}'")),
        }
    }
    Ok(flags)
}

fn flag<'a>(flags: &'a mut Flags, name: &str) -> Option<&'a mut bool> {
    Some(match name {
        "status" => &mut flags.status,
        "check_for_update" => &mut flags.check_for_update,
        "update" => &mut flags.update,
        "reset_status" => &mut flags.reset_status,
        "watch_for_updates" | "follow" => &mut flags.watch_for_updates,
        "help" | "h" => &mut flags.help,
        "version" => &mut flags.version,
        _ => return None,
    })
}

pub fn run(args: &[String]) -> ExitCode {
    let flags = match parse_flags(args.get(1..).unwrap_or_default()) {
        Ok(flags) => flags,
        Err(error) => {
            eprintln!("ERROR: {error}\nRun `update_engine_client -help` for the flags.");
            // gflags exits with 1.
            return ExitCode::FAILURE;
        }
    };
    if flags.help {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    if flags.version {
        println!("update_engine_client version {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start the async runtime: {error}")),
    };
    match runtime.block_on(execute(&flags)) {
        Ok(code) => code,
        Err(error) => fail(&error.to_string()),
    }
}

async fn execute(flags: &Flags) -> zbus::Result<ExitCode> {
    let has_action = flags.status
        || flags.check_for_update
        || flags.update
        || flags.reset_status
        || flags.watch_for_updates;
    if !has_action {
        log('I', "Done.");
        return Ok(ExitCode::SUCCESS);
    }
    let Some(manager) = connect().await else {
        return Ok(fail("Giving up -- unable to get dbus proxy for com.coreos.update1"));
    };
    if flags.status {
        log('I', "Querying Update Engine status...");
        print_status(&manager).await?;
        return Ok(ExitCode::SUCCESS);
    }
    if flags.reset_status {
        log('I', "Setting Update Engine status to idle ...");
        return Ok(match call_with_timeout(manager.reset_status()).await {
            Ok(()) => {
                log('I', "ResetStatus succeeded; the pending update is discarded.");
                ExitCode::SUCCESS
            }
            Err(error) => fail(&format!("ResetStatus failed: {error}")),
        });
    }
    if flags.check_for_update || flags.update {
        log('I', "Initiating update check and install.");
        call_with_timeout(manager.attempt_update()).await?;
    }
    if flags.update {
        log('I', "Waiting for update to complete.");
        return wait_for_completion(&manager).await;
    }
    if flags.watch_for_updates {
        follow(&manager).await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn connect() -> Option<ManagerProxy<'static>> {
    for attempt in 1..=ATTEMPTS {
        let manager = async {
            let bus = zbus::Connection::system().await?;
            let manager = ManagerProxy::new(&bus).await?;
            call_with_timeout(manager.get_status()).await?;
            Ok::<_, zbus::Error>(manager)
        };
        match manager.await {
            Ok(manager) => return Some(manager),
            Err(error) => log('E', &format!("Error getting dbus proxy for com.coreos.update1: {error}")),
        }
        if let Some((_, reason)) = NOT_UPDATED.iter().find(|(path, _)| Path::new(path).exists()) {
            log('E', reason);
            return None;
        }
        if attempt < ATTEMPTS {
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }
    None
}

/// Waits for a D-Bus call, for at most [`CALL_TIMEOUT`].
async fn call_with_timeout<T>(call: impl Future<Output = zbus::Result<T>>) -> zbus::Result<T> {
    let mut call = pin!(call);
    if let Ok(reply) = timeout(QUIET_PERIOD, call.as_mut()).await {
        return reply;
    }
    let limit = CALL_TIMEOUT.as_secs();
    log('I', &format!("Waiting for update_engine to respond (at most {limit} s)."));
    let timeout_message =
        format!("update_engine did not respond within {limit} s; see systemctl status update-engine");
    timeout(CALL_TIMEOUT - QUIET_PERIOD, call).await.unwrap_or(Err(zbus::Error::Failure(timeout_message)))
}

async fn print_status(manager: &ManagerProxy<'_>) -> zbus::Result<(String, String)> {
    let (checked, progress, operation, version, size) = call_with_timeout(manager.get_status()).await?;
    print!("{}", format_status(checked, progress, &operation, &version, size));
    Ok((operation, version))
}

async fn wait_for_completion(manager: &ManagerProxy<'_>) -> zbus::Result<ExitCode> {
    // IDLE means success or failure, depending on the earlier states.
    let mut found = false;
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        let (operation, version) = print_status(manager).await?;
        found |= version != update_core::status::NO_VERSION;
        match operation.as_str() {
            "UPDATE_STATUS_UPDATED_NEED_REBOOT" => {
                log('I', "Update succeeded -- reboot needed.");
                return Ok(ExitCode::SUCCESS);
            }
            "UPDATE_STATUS_IDLE" if found => return Ok(fail("Update failed.")),
            "UPDATE_STATUS_IDLE" => {
                return Ok(match last_error() {
                    Some(why) => fail(&format!("Update failed: {why}")),
                    None => {
                        log('I', "No update available");
                        ExitCode::SUCCESS
                    }
                });
            }
            _ => {}
        }
    }
}

/// The error of the last check, from the daemon's status file.
fn last_error() -> Option<String> {
    let text = std::fs::read("/run/update-engine/status.json").ok()?;
    let status: serde_json::Value = serde_json::from_slice(&text).ok()?;
    status.get("last_error")?.as_str().map(str::to_owned)
}

async fn follow(manager: &ManagerProxy<'_>) -> zbus::Result<()> {
    let mut updates = manager.receive_status_update().await?;
    loop {
        let next = std::future::poll_fn(|context| std::pin::Pin::new(&mut updates).poll_next(context)).await;
        let Some(update) = next else { return Ok(()) };
        let update = update.args()?;
        log('I', "Got status update:");
        log('I', &format!("  last_checked_time: {}", update.last_checked_time));
        log('I', &format!("  progress: {}", update.progress));
        log('I', &format!("  current_operation: {}", update.current_operation));
        log('I', &format!("  new_version: {}", update.new_version));
        log('I', &format!("  new_size: {}", update.new_size));
    }
}

fn fail(text: &str) -> ExitCode {
    log('E', text);
    ExitCode::FAILURE
}

/// Writes a line to stderr in glog's format.
fn log(severity: char, text: &str) {
    let stamp = Zoned::now().strftime("%m%d %H:%M:%S.%6f").to_string();
    eprintln!("{severity}{stamp} {:>5} update_engine_client] {text}", std::process::id());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_without_reply_times_out() {
        assert_eq!(call_with_timeout(async { Ok(7) }).await, Ok(7));
        let slow_call = async {
            tokio::time::sleep(CALL_TIMEOUT / 2).await;
            Ok(7)
        };
        assert_eq!(call_with_timeout(slow_call).await, Ok(7));
        let error = call_with_timeout(std::future::pending::<zbus::Result<()>>()).await.unwrap_err();
        assert!(error.to_string().contains("did not respond within 25 s"), "{error}");
    }

    #[test]
    fn flags_are_parsed_as_by_gflags() {
        let parse = |text: &str| parse_flags(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let status = || Ok(Flags { status: true, ..Flags::default() });
        for text in ["-status", "--status", "--status=true", "-status=1 -logtostderr", "--nostatus --status"]
        {
            assert_eq!(parse(text), status(), "{text}");
        }
        for text in ["", "--nostatus", "--status=false", "--status --nostatus", "--status=no"] {
            assert_eq!(parse(text), Ok(Flags::default()), "{text}");
        }
        assert_eq!(parse("-follow").unwrap(), parse("-watch_for_updates").unwrap());
        assert!(parse("-omaha_url=x").unwrap_err().contains("unknown command line flag 'omaha_url'"));
        assert!(parse("status").unwrap_err().contains("unexpected argument"));
    }
}
