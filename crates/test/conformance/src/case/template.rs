//! Placeholders: parts of requests and responses that are known only at run time.
//!
//! They are in `<>`, which JSON responses never contain. An unknown placeholder is an error of the case, not a
//! wildcard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds that a slow machine may need between a write and its check.
const SLACK: i64 = 5;
/// Maximal bytes of a number, an id or a time.
const LONGEST: usize = 40;

/// Values of the placeholders in one run of a case.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `~`: the folder of the case, or empty.
    pub prefix: String,
    /// `<B>`: the store index before the first step.
    pub base: u64,
    /// `<name>`: what `<kind=name>` captured.
    pub captured: BTreeMap<String, String>,
}

enum Piece {
    Text(String),
    Number,
    Float,
    Hex,
    /// A duration in Go's format.
    Duration,
    Any,
    /// RFC 3339; optionally at this offset from now, in seconds.
    Time(Option<i64>),
    /// A TTL, which may have decreased slightly.
    Ttl(i64),
}

/// Expands a request: every placeholder must have a single value.
pub fn expand(template: &str, environment: &Environment) -> Result<String, String> {
    let mut text = String::new();
    for (piece, name) in pieces(template, environment)? {
        match (piece, name) {
            (Piece::Text(part), None) => text += &part,
            _ => return Err(format!("`{template}`: a request cannot hold what matches many")),
        }
    }
    Ok(text)
}

/// Captures values of a response, or returns where it differs.
pub fn matches(template: &str, text: &str, environment: &mut Environment) -> Result<(), String> {
    let parts = pieces(template, environment)?;
    let mut captured = Vec::new();
    if !fits(&parts, text, &mut captured, &mut BTreeSet::new()) {
        return Err(format!("expected {template}\n      came     {text}"));
    }
    environment.captured.extend(captured);
    Ok(())
}

type Part = (Piece, Option<String>);

fn pieces(template: &str, environment: &Environment) -> Result<Vec<Part>, String> {
    let mut parts: Vec<Part> = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find('<') {
        push_text(&mut parts, &rest[..at], environment);
        let (inside, behind) =
            rest[at + 1..].split_once('>').ok_or_else(|| format!("`{template}`: `<` without `>`"))?;
        let (kind, name) = match inside.split_once('=') {
            Some((kind, name)) => (kind, Some(name.to_owned())),
            None => (inside, None),
        };
        let piece =
            placeholder(kind, environment).ok_or_else(|| format!("`{template}`: what is `{kind}`?"))?;
        parts.push((piece, name));
        rest = behind;
    }
    push_text(&mut parts, rest, environment);
    Ok(parts)
}

fn push_text(parts: &mut Vec<Part>, text: &str, environment: &Environment) {
    if !text.is_empty() {
        parts.push((Piece::Text(text.replace('~', &environment.prefix)), None));
    }
}

fn placeholder(kind: &str, environment: &Environment) -> Option<Piece> {
    let piece = match kind {
        "num" => Piece::Number,
        "float" => Piece::Float,
        "hex" => Piece::Hex,
        "dur" => Piece::Duration,
        "any" => Piece::Any,
        "E" => Piece::Time(None),
        "lt" => Piece::Text("<".into()),
        "del" => Piece::Text("\u{7f}".into()),
        "tilde" => Piece::Text("~".into()),
        _ if kind.starts_with("E+") => Piece::Time(Some(kind[2..].parse().ok()?)),
        _ if kind.starts_with("ttl ") => Piece::Ttl(kind[4..].parse().ok()?),
        _ if kind.starts_with("20:") => Piece::Text(format!("{:020}", index(&kind[3..], environment)?)),
        _ if kind.starts_with("repeat:") => {
            let (count, what) = kind[7..].split_once(':')?;
            Piece::Text(what.repeat(count.parse().ok()?))
        }
        _ => match environment.captured.get(kind) {
            Some(value) => Piece::Text(value.clone()),
            None => Piece::Text(index(kind, environment)?.to_string()),
        },
    };
    Some(piece)
}

/// `B`, `B+3`, `B-1`.
fn index(text: &str, environment: &Environment) -> Option<u64> {
    let rest = text.strip_prefix('B')?;
    if rest.is_empty() {
        return Some(environment.base);
    }
    environment.base.checked_add_signed(rest.strip_prefix('+').unwrap_or(rest).parse().ok()?)
}

/// `failed` memoizes (remaining pieces, remaining bytes), so that several `<any>` cost at most their product.
fn fits(
    parts: &[Part],
    text: &str,
    captured: &mut Vec<(String, String)>,
    failed: &mut BTreeSet<(usize, usize)>,
) -> bool {
    let Some(((piece, name), rest)) = parts.split_first() else { return text.is_empty() };
    if let Piece::Text(part) = piece {
        return text.strip_prefix(&**part).is_some_and(|behind| fits(rest, behind, captured, failed));
    }
    if failed.contains(&(parts.len(), text.len())) {
        return false;
    }
    let longest = if matches!(piece, Piece::Any) { text.len() } else { text.len().min(LONGEST) };
    // Greedy.
    for end in (0..=longest).rev().filter(|end| text.is_char_boundary(*end)) {
        if covers(piece, &text[..end]) && fits(rest, &text[end..], captured, failed) {
            captured.extend(name.iter().map(|name| (name.clone(), text[..end].to_owned())));
            return true;
        }
    }
    failed.insert((parts.len(), text.len()));
    false
}

fn covers(piece: &Piece, text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match piece {
        Piece::Text(part) => part == text,
        Piece::Any => true,
        Piece::Number => digits(text),
        Piece::Float => text.parse::<f64>().is_ok(),
        Piece::Hex => !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        Piece::Duration => text.ends_with('s') && text.starts_with(|first: char| first.is_ascii_digit()),
        Piece::Ttl(seconds) => {
            text.parse::<i64>().is_ok_and(|found| (seconds - SLACK..=*seconds).contains(&found))
        }
        Piece::Time(None) => time(text).is_some(),
        Piece::Time(Some(ahead)) => time(text).is_some_and(|time| {
            let now =
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs().cast_signed());
            let left = time.as_secs().cast_signed() - now;
            (ahead - SLACK..=ahead + 1).contains(&left)
        }),
    }
}

/// Parses `2026-11-20T06:46:49.487435821Z`: UTC, without trailing zeros of the fraction.
pub fn time(text: &str) -> Option<Duration> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    if fraction.ends_with('0') || fraction.len() > 9 || (text.contains('.') && fraction.is_empty()) {
        return None;
    }
    let numbers = |text: &str, mark, lengths: [usize; 3]| -> Option<[u64; 3]> {
        let parts: Vec<&str> = text.split(mark).collect();
        let right = parts.len() == 3 && parts.iter().zip(lengths).all(|(part, length)| part.len() == length);
        right.then_some(())?;
        Some([parts[0].parse().ok()?, parts[1].parse().ok()?, parts[2].parse().ok()?])
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let nanoseconds: u32 = if fraction.is_empty() { 0 } else { format!("{fraction:0<9}").parse().ok()? };
    // Days since 1970 in the proleptic Gregorian calendar, with years that start in March.
    let (shifted_year, shifted_month) =
        if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = 365 * shifted_year + shifted_year / 4 - shifted_year / 100
        + shifted_year / 400
        + (153 * shifted_month + 2) / 5
        + day
        - 1;
    let seconds = days.checked_sub(719_468)? * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Duration::new(seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment { prefix: "/case".into(), base: 7, captured: BTreeMap::new() }
    }

    fn check(template: &str, text: &str, expected: bool) {
        let outcome = matches(template, text, &mut environment());
        assert_eq!(outcome.is_ok(), expected, "{template} on {text}: {outcome:?}");
    }

    #[test]
    fn placeholders_match_what_they_name_only() {
        check("{\"key\":\"~/a\",\"modifiedIndex\":<B+2>}", "{\"key\":\"/case/a\",\"modifiedIndex\":9}", true);
        check(
            "{\"key\":\"~/a\",\"modifiedIndex\":<B+2>}",
            "{\"key\":\"/case/a\",\"modifiedIndex\":10}",
            false,
        );
        check("<20:B+3>", "00000000000000000010", true);
        check("<20:B+3>", "10", false);
        check("id <hex>.", "id 8e9e05c52164694d.", true);
        check("id <hex>.", "id 8E9E05C5.", false);
        check("<ttl 100>", "98", true);
        check("<ttl 100>", "101", false);
        check("<E>", "2026-11-20T06:46:49.4874Z", true);
        check("<E>", "2026-11-20T06:46:49.48740Z", false);
        check("<E>", "2026-11-20 06:46:49Z", false);
        check("<E+100>", "2026-11-20T06:46:49.4874Z", false);
        check("a<any>b", "aXXbXb", true);
    }

    #[test]
    fn what_was_caught_stands_for_itself() {
        let mut environment = environment();
        matches("{\"id\":\"<hex=id>\"}", "{\"id\":\"ab12\"}", &mut environment).unwrap();
        assert_eq!(expand("/v2/members/<id>?x=<B-1>", &environment).unwrap(), "/v2/members/ab12?x=6");
        assert!(expand("<unknown>", &environment).is_err());
        assert!(expand("<any>", &environment).is_err());
    }

    #[test]
    fn times_count_from_1970() {
        assert_eq!(time("1970-01-02T00:00:01Z"), Some(Duration::from_secs(86_401)));
        assert_eq!(time("2026-11-20T00:00:00.5Z"), Some(Duration::from_millis(1_795_132_800_500)));
        assert_eq!(time("2026-11-20T00:00:00.Z"), None);
    }
}
