//! The default filter of system calls: those that are listed are permitted. Capabilities that an app has permit the calls
//! that they are for.
//!
//! A call that is refused fails with EPERM. One that no list has, such as that of a newer kernel, fails with ENOSYS: C
//! libraries then use an older one, as on a kernel that lacks it.

mod calls;

use serde_json::{Value, json};

use self::calls::{
    ALLOWED, BY_ARCHITECTURE, BY_CAPABILITY, LAST_FAMILY, NAMESPACE_FLAGS, PERSONALITIES, REFUSED,
    REFUSED_FAMILIES,
};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const EAFNOSUPPORT: u32 = 97;
const ADMINISTRATOR: &str = "CAP_SYS_ADMIN";
/// Includes those whose programs the kernel runs too: a call of another architecture must not pass by the filter.
const ARCHITECTURES: [(&str, &[&str]); 2] = [
    ("x86_64", &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
    ("aarch64", &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]),
];

/// What happens to a call.
#[derive(Clone, Copy)]
enum Action {
    Allow,
    Fail(u32),
}

/// The filter for an app with `capabilities`, as the runtime specification has it.
pub fn filter(architecture: &str, capabilities: &[&str]) -> Value {
    let (allowed, refused) = by_name(architecture, capabilities);
    let mut rules = vec![rule(&allowed, Action::Allow, None), rule(&refused, Action::Fail(EPERM), None)];
    rules.extend(sockets());
    rules.extend(PERSONALITIES.map(|value| on_argument("personality", Action::Allow, "EQ", value, 0)));
    if !capabilities.contains(&ADMINISTRATOR) {
        let all = NAMESPACE_FLAGS.iter().sum();
        rules.push(on_argument("clone", Action::Allow, "MASKED_EQ", all, 0));
        let refused = |flag| on_argument("clone", Action::Fail(EPERM), "MASKED_EQ", flag, flag);
        rules.extend(NAMESPACE_FLAGS.map(refused));
        // The flags of `clone3` are in memory, which a filter cannot read: it is in no list, so that `clone` is used.
    }
    let mut filter = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": ENOSYS,
        "syscalls": rules,
    });
    let known = ARCHITECTURES.iter().find(|(name, _)| *name == architecture);
    if let (Some((_, names)), Some(filter)) = (known, filter.as_object_mut()) {
        filter.insert("architectures".to_owned(), json!(names));
    }
    filter
}

/// Calls whose arguments do not matter: permitted and refused ones.
fn by_name(architecture: &str, capabilities: &[&str]) -> (Vec<&'static str>, Vec<&'static str>) {
    let mut allowed: Vec<&'static str> = names(ALLOWED.iter().copied()).collect();
    let of_architecture = BY_ARCHITECTURE.iter().filter(|(name, _)| *name == architecture);
    allowed.extend(names(of_architecture.map(|(_, calls)| *calls)));
    let is_held = |name: &str| capabilities.contains(&name);
    allowed.extend(names(BY_CAPABILITY.iter().filter(|(name, _)| is_held(name)).map(|(_, calls)| *calls)));
    allowed.sort_unstable();
    allowed.dedup();
    let lacking = BY_CAPABILITY.iter().filter(|(name, _)| !is_held(name)).map(|(_, calls)| *calls);
    let mut refused: Vec<&'static str> = names(REFUSED.iter().copied().chain(lacking)).collect();
    refused.sort_unstable();
    refused.dedup();
    // Another capability may permit it. `clone` depends on its flags.
    refused.retain(|name| !allowed.contains(name) && !name.starts_with("clone"));
    (allowed, refused)
}

/// The kernel reads 32 bits of the 64 that a filter compares: a range without an end would have all families twice. Few
/// rules, since the runtime compiles each for a third of a millisecond.
fn sockets() -> Vec<Value> {
    let [first, .., last] = REFUSED_FAMILIES;
    let mut rules = vec![
        on_argument("socket", Action::Allow, "LT", first, 0),
        on_argument("socket", Action::Fail(EAFNOSUPPORT), "GT", LAST_FAMILY, 0),
    ];
    rules.extend(REFUSED_FAMILIES.map(|family| on_argument("socket", Action::Fail(EPERM), "EQ", family, 0)));
    let between = (first + 1..last).chain(last + 1..=LAST_FAMILY);
    let allowed = between.filter(|family| !REFUSED_FAMILIES.contains(family));
    rules.extend(allowed.map(|family| on_argument("socket", Action::Allow, "EQ", family, 0)));
    rules
}

fn names(lists: impl Iterator<Item = &'static str>) -> impl Iterator<Item = &'static str> {
    lists.flat_map(str::split_ascii_whitespace)
}

/// A rule for values of the call's first argument. `mask`: of `MASKED_EQ`, with the value that the masked bits have.
fn on_argument(call: &'static str, action: Action, operator: &str, value: u64, masked: u64) -> Value {
    let operator = format!("SCMP_CMP_{operator}");
    rule(&[call], action, Some(json!([{ "index": 0, "value": value, "valueTwo": masked, "op": operator }])))
}

fn rule(names: &[&str], action: Action, arguments: Option<Value>) -> Value {
    let mut rule = match action {
        Action::Allow => json!({ "names": names, "action": "SCMP_ACT_ALLOW" }),
        Action::Fail(errno) => json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno }),
    };
    if let (Some(arguments), Some(rule)) = (arguments, rule.as_object_mut()) {
        rule.insert("args".to_owned(), arguments);
    }
    rule
}

#[cfg(test)]
#[path = "seccomp_tests.rs"]
mod tests;
