//! The update engine: a version that cannot be updated is not good.

use super::check::{Check, State};

pub const UNIT: &str = "update-engine.service";
/// Bus name, object path and interface (the update contract's 3.1).
pub const OBJECT: (&str, &str, &str) =
    ("com.coreos.update1", "/com/coreos/update1", "com.coreos.update1.Manager");
const NAME: &str = "update";

/// The unit's states as reported by systemd.
#[derive(Debug)]
pub struct Unit {
    pub load: String,
    pub active: String,
    pub sub: String,
    /// The result of `GetStatus`; `None` if it was not called.
    pub response: Option<Result<(), String>>,
}

pub fn check(unit: Option<&Unit>) -> Check {
    let skipped = |reason: &str| Check::new(NAME, State::Skipped, reason);
    let Some(unit) = unit else { return skipped("no update agent on this machine") };
    match (unit.load.as_str(), unit.active.as_str(), &unit.response) {
        ("masked" | "not-found", ..) => skipped(&format!("{UNIT} is {}", unit.load)),
        // Stopped by an operator, or not meant for this machine.
        (_, "inactive", _) => skipped(&format!("{UNIT} is not running")),
        (_, "active", Some(Ok(()))) => Check::new(NAME, State::Passed, format!("{UNIT} responds")),
        (_, "active", Some(Err(reason))) => {
            Check::new(NAME, State::Failed, format!("{UNIT} does not report its status: {reason}"))
        }
        _ => Check::new(NAME, State::Failed, format!("{UNIT} is {} ({})", unit.active, unit.sub)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inactive_or_unresponsive_engine_fails() {
        let check = |load: &str, active: &str, sub: &str, response| {
            let unit = Unit { load: load.into(), active: active.into(), sub: sub.into(), response };
            let check = check(Some(&unit));
            (check.state, check.reason)
        };
        let (state, reason) = check("loaded", "activating", "auto-restart", None);
        assert_eq!(
            (state, reason.as_str()),
            (State::Failed, "update-engine.service is activating (auto-restart)")
        );
        let (state, reason) = check("loaded", "active", "running", Some(Err("no such name".into())));
        assert_eq!(
            (state, reason.as_str()),
            (State::Failed, "update-engine.service does not report its status: no such name")
        );
        assert_eq!(check("loaded", "failed", "failed", None).0, State::Failed);
        assert_eq!(check("loaded", "active", "running", Some(Ok(()))).0, State::Passed);
        for (load, active) in [("masked", "inactive"), ("loaded", "inactive"), ("not-found", "inactive")] {
            assert_eq!(check(load, active, "dead", None).0, State::Skipped);
        }
    }
}
