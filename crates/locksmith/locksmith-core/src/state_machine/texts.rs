//! Texts of the log and the warning.

use std::time::Duration;

use super::events::{Action, Clocks, Config, Level};

pub fn log(level: Level, text: impl Into<String>) -> Action {
    Action::Log(level, text.into())
}

/// The configured window and when it is open next.
pub fn describe_window(config: &Config, now: &Clocks) -> Vec<Action> {
    let Some(window) = &config.window else { return vec![log(Level::Info, "No configured reboot window")] };
    let next = window.next(&now.wall).map(|next| {
        log(Level::Info, format!("Next window begins at {} and ends at {}", next.start, next.end))
    });
    [log(Level::Info, format!("Reboot window {window}"))].into_iter().chain(next).collect()
}

/// Truncated to whole seconds if at least one.
pub fn format_duration(time: Duration) -> String {
    let whole = if time >= Duration::from_secs(1) { Duration::from_secs(time.as_secs()) } else { time };
    go_compat::format_duration(whole)
}

/// `5 minutes`, `90 seconds`.
pub fn spell_duration(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds % 60 == 0 && seconds > 0 => format!("{} minutes", seconds / 60),
        seconds => format!("{seconds} seconds"),
    }
}
