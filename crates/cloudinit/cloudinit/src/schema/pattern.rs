//! Constraints on texts, as predicates and as regular expressions.

/// A constraint on non-empty texts.
#[derive(Debug, Clone, Copy)]
pub struct Allowed {
    pub test: fn(&str) -> bool,
    /// All allowed values, if they are enumerable.
    pub choices: &'static [&'static str],
    /// Equivalent regular expression, for the JSON schema.
    pub pattern: &'static str,
}

const ENCODINGS: &[&str] = &["base64", "b64", "gzip", "gz", "gzip+base64", "gzip+b64", "gz+base64", "gz+b64"];
const COMMANDS: &[&str] =
    &["start", "stop", "restart", "reload", "try-restart", "reload-or-restart", "reload-or-try-restart"];
const REBOOT_STRATEGIES: &[&str] = &["etcd-lock", "reboot", "off"];
const PROXIES: &[&str] = &["on", "off", "readonly"];

pub const PERMISSIONS: Allowed =
    Allowed { test: permissions, choices: &[], pattern: "^(0o)?([0-7]{3,4}|0[0-7]{4})$" };
pub const ENCODING: Allowed =
    Allowed { test: encoding, choices: ENCODINGS, pattern: "^(b64|base64|(gz|gzip)([+](b64|base64))?)?$" };
pub const COMMAND: Allowed = Allowed {
    test: command,
    choices: COMMANDS,
    pattern: "^(start|stop|(try-)?restart|reload(-or(-try)?-restart)?)$",
};
pub const REBOOT_STRATEGY: Allowed =
    Allowed { test: reboot_strategy, choices: REBOOT_STRATEGIES, pattern: "^(etcd-lock|reboot|off)$" };
pub const PROXY: Allowed = Allowed { test: proxy, choices: PROXIES, pattern: "^(on|off|readonly)$" };
pub const WINDOW_START: Allowed = Allowed {
    test: window_start,
    choices: &[],
    pattern: "^(([Ss][Uu][Nn]|[Mm][Oo][Nn]|[Tt][Uu][Ee]|[Ww][Ee][Dd]|[Tt][Hh][Uu]|[Ff][Rr][Ii]|[Ss][Aa][Tt]) )?0*(1?[0-9]|2[0-3]):0*[1-5]?[0-9]$",
};
pub const WINDOW_LENGTH: Allowed =
    Allowed { test: window_length, choices: &[], pattern: "^[-+]?([0-9]*([.][0-9]*)?[a-z]+)+$" };

/// `^0?[0-7]{3,4}$`, or the same with the prefix `0o`.
pub fn permissions(text: &str) -> bool {
    mode(text).is_some()
}

/// Parses a mode that `permissions` allows.
pub fn mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let octal = digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let length = digits.len();
    let fits = matches!(length, 3 | 4) || (length == 5 && digits.starts_with('0'));
    if !octal || !fits {
        return None;
    }
    u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777)
}

pub fn encoding(text: &str) -> bool {
    crate::encoding::ContentEncoding::parse(text).is_some()
}

pub fn command(text: &str) -> bool {
    COMMANDS.contains(&text)
}

pub fn reboot_strategy(text: &str) -> bool {
    REBOOT_STRATEGIES.contains(&text)
}

pub fn proxy(text: &str) -> bool {
    PROXIES.contains(&text)
}

/// An optional day and a blank, followed by `H:M`.
pub fn window_start(text: &str) -> bool {
    const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    let time = match text.split_once(' ') {
        Some((day, time)) if DAYS.contains(&day.to_ascii_lowercase().as_str()) => time,
        Some(_) => return false,
        None => text,
    };
    let number = |text: &str, limit: u32| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse::<u32>().is_ok_and(|number| number < limit)
    };
    time.split_once(':').is_some_and(|(hour, minute)| number(hour, 24) && number(minute, 60))
}

/// `^[-+]?([0-9]*(\.[0-9]*)?[a-z]+)+$`: Go durations, parsed as leniently as in CoreOS.
pub fn window_length(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let after = after
            .strip_prefix('.')
            .map_or(after, |fraction| fraction.trim_start_matches(|c: char| c.is_ascii_digit()));
        let unit = after.trim_start_matches(|c: char| c.is_ascii_lowercase());
        if unit.len() == after.len() {
            return false;
        }
        rest = unit;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        for (text, expect) in [
            ("0644", Some(0o644)),
            ("644", Some(0o644)),
            ("0o644", Some(0o644)),
            ("420", Some(0o420)),
            ("04755", Some(0o4755)),
            ("4755", Some(0o4755)),
            ("9999", None),
            ("rw", None),
            ("44", None),
            ("14755", None),
            ("", None),
        ] {
            assert_eq!(mode(text), expect, "{text}");
        }
    }

    #[test]
    fn windows() {
        for good in ["12:00", "Sun 03:5", "thu 23:59", "0000:00"] {
            assert!(window_start(good), "{good}");
        }
        for bad in ["24:00", "12:60", "day 1:00", "sun  1:00", "12", ":", "12:", "+1:00"] {
            assert!(!window_start(bad), "{bad}");
        }
        for good in ["1h30m", "1.5h", "-2m", "h", ".5s"] {
            assert!(window_length(good), "{good}");
        }
        for bad in ["", "1", "+", "1h30", "1 h", "1H"] {
            assert!(!window_length(bad), "{bad}");
        }
    }
}
