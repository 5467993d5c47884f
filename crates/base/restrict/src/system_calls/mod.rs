//! seccomp: filters of system calls.

mod allow;
mod deny;

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch, apply_filter};

pub use allow::{Calls, allow_only};
pub use deny::deny;

/// Calls by number: with any arguments if there are no rules, otherwise those that match one.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn apply(rules: Rules, others: SeccompAction, these: SeccompAction) -> Result<(), seccompiler::Error> {
    let filter = SeccompFilter::new(rules, others, these, TargetArch::try_from(ARCH)?)?;
    apply_filter(&BpfProgram::try_from(filter)?)
}
