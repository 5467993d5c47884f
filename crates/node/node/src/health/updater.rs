//! The update agent of this version: a version that cannot be updated is not good.

use super::check::{Check, State};

pub const UNIT: &str = "update-engine.service";
/// Its name on the bus, its object and the interface (the update contract's 3.1).
pub const OBJECT: (&str, &str, &str) =
    ("com.coreos.update1", "/com/coreos/update1", "com.coreos.update1.Manager");
const NAME: &str = "update";

/// As systemd has it, in its words.
#[derive(Debug)]
pub struct Unit {
    pub load: String,
    pub active: String,
    pub sub: String,
    /// What the agent itself said when its status was asked for; `None` where it was not asked.
    pub answer: Option<Result<(), String>>,
}

pub fn check(unit: Option<&Unit>) -> Check {
    let skipped = |why: &str| Check::new(NAME, State::Skipped, why);
    let Some(unit) = unit else { return skipped("no update agent on this machine") };
    match (unit.load.as_str(), unit.active.as_str(), &unit.answer) {
        ("masked" | "not-found", ..) => skipped(&format!("{UNIT} is {}", unit.load)),
        // An operator's stop, or a machine that it is not for.
        (_, "inactive", _) => skipped(&format!("{UNIT} does not run")),
        (_, "active", Some(Ok(()))) => Check::new(NAME, State::Passed, format!("{UNIT} answers")),
        (_, "active", Some(Err(why))) => {
            Check::new(NAME, State::Failed, format!("{UNIT} does not report its status: {why}"))
        }
        _ => Check::new(NAME, State::Failed, format!("{UNIT} is {} ({})", unit.active, unit.sub)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_does_not_run_or_answer_fails() {
        let check = |load: &str, active: &str, sub: &str, answer| {
            let unit = Unit { load: load.into(), active: active.into(), sub: sub.into(), answer };
            let check = check(Some(&unit));
            (check.state, check.why)
        };
        let (state, why) = check("loaded", "activating", "auto-restart", None);
        assert_eq!(
            (state, why.as_str()),
            (State::Failed, "update-engine.service is activating (auto-restart)")
        );
        let (state, why) = check("loaded", "active", "running", Some(Err("no such name".into())));
        assert_eq!(
            (state, why.as_str()),
            (State::Failed, "update-engine.service does not report its status: no such name")
        );
        assert_eq!(check("loaded", "failed", "failed", None).0, State::Failed);
        assert_eq!(check("loaded", "active", "running", Some(Ok(()))).0, State::Passed);
        for (load, active) in [("masked", "inactive"), ("loaded", "inactive"), ("not-found", "inactive")] {
            assert_eq!(check(load, active, "dead", None).0, State::Skipped);
        }
    }
}
