//! Parses case files.

use super::step::{BodyRule, Case, Expected, IndexRule, Sent, Step};
use crate::backend::Kind;
use crate::failure::Failure;
use crate::http::FORM;

/// A parsed value, or an error message.
type Parsed<T> = Result<T, String>;

pub fn parse(file: &str, text: &str) -> Result<Vec<Case>, Failure> {
    let mut cases: Vec<Case> = Vec::new();
    let mut each: Vec<(String, Vec<String>)> = Vec::new();
    let mut block: Vec<(usize, &str)> = Vec::new();
    let fail =
        |number: usize, why: String| Failure::CaseText { location: format!("{file}.case:{number}"), why };
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim_start())) {
        if line.starts_with("case ") && !block.is_empty() {
            cases.extend(finish(file, &block, &each).map_err(|(number, why)| fail(number, why))?);
            (block, each) = (Vec::new(), Vec::new());
        }
        match line.strip_prefix("each ") {
            Some(rest) => each.push(values(rest).map_err(|why| fail(number, why))?),
            None if line.is_empty() || line.starts_with('#') => {}
            None => block.push((number, line)),
        }
    }
    if !block.is_empty() {
        cases.extend(finish(file, &block, &each).map_err(|(number, why)| fail(number, why))?);
    }
    Ok(cases)
}

/// `NAME: value value ...`; `_` is the empty value.
fn values(text: &str) -> Parsed<(String, Vec<String>)> {
    let (name, list) = text.split_once(':').ok_or("each needs `NAME: values`")?;
    let list = list.split_whitespace().map(|value| if value == "_" { "" } else { value }.to_owned());
    Ok((name.to_owned(), list.collect()))
}

/// Expands the `each` lines: one case per combination.
fn finish(
    file: &str,
    block: &[(usize, &str)],
    each: &[(String, Vec<String>)],
) -> Result<Vec<Case>, (usize, String)> {
    let mut rows: Vec<Vec<(&str, &str)>> = vec![Vec::new()];
    for (name, values) in each {
        let mut longer = Vec::new();
        for row in &rows {
            longer.extend(
                values.iter().map(|value| [row.as_slice(), &[(name.as_str(), value.as_str())]].concat()),
            );
        }
        rows = longer;
    }
    let mut cases = Vec::new();
    for row in rows {
        let filled: Vec<(usize, String)> = block
            .iter()
            .map(|(number, line)| {
                let fill =
                    |text: String, (name, value): &(&str, &str)| text.replace(&format!("<{name}>"), value);
                (*number, row.iter().fold((*line).to_owned(), fill))
            })
            .collect();
        let mut case = one(file, &filled)?;
        for (_, value) in &row {
            case.name += &format!("-{}", if value.is_empty() { "empty" } else { value });
        }
        case.name = format!("{file}/{}", case.name);
        cases.push(case);
    }
    Ok(cases)
}

fn one(file: &str, lines: &[(usize, String)]) -> Result<Case, (usize, String)> {
    let mut case = Case {
        name: String::new(),
        holds: Kind::ALL.to_vec(),
        differs: Vec::new(),
        bare: false,
        steps: Vec::new(),
    };
    for (number, line) in lines {
        let location = format!("{file}.case:{number}");
        apply(&mut case, location, line).map_err(|why| (*number, why))?;
    }
    let first = lines.first().map_or(0, |(number, _)| *number);
    match &case {
        Case { name, .. } if name.is_empty() => Err((first, "steps before the first `case`".into())),
        Case { steps, .. } if steps.iter().any(|step| step.expected.is_empty()) || steps.is_empty() => {
            Err((first, format!("case {} expects nothing, so it cannot fail", case.name)))
        }
        _ => Ok(case),
    }
}

fn apply(case: &mut Case, location: String, line: &str) -> Parsed<()> {
    let (keyword, rest) = line.split_once(' ').unwrap_or((line, ""));
    match keyword {
        "case" => case.name = rest.trim().to_owned(),
        "bare" => case.bare = true,
        "only" => case.holds = rest.split_whitespace().map(kind).collect::<Parsed<_>>()?,
        "differs" => {
            let (name, reason) = rest.split_once(':').ok_or("differs needs `KIND: reason`")?;
            let kind = kind(name)?;
            case.holds.retain(|held| *held != kind);
            case.differs.push((kind, reason.trim().to_owned()));
        }
        ">" => case.steps.push(request(location, rest)?),
        "raw" => {
            case.steps.push(Step {
                location,
                member: 1,
                sent: Sent::Raw(escapes(rest)?),
                expected: Vec::new(),
            });
        }
        "+" => add_header(last(case)?, rest)?,
        "<" => last(case)?.expected.push(expected(rest)?),
        "h" => {
            let expected = last(case)?.expected.last_mut().ok_or("`h` before `<`")?;
            expected.headers.push(match rest.strip_prefix('!') {
                Some(name) => (name.to_owned(), None),
                None => {
                    let (name, value) = rest.split_once(": ").ok_or("`h` needs `Name: value`")?;
                    (name.to_owned(), Some(value.to_owned()))
                }
            });
        }
        _ => return Err(format!("`{keyword}` begins no line of a case")),
    }
    Ok(())
}

fn kind(name: &str) -> Parsed<Kind> {
    Kind::named(name).ok_or_else(|| format!("`{name}` is no back end"))
}

fn last(case: &mut Case) -> Parsed<&mut Step> {
    case.steps.last_mut().ok_or_else(|| "no request before it".to_owned())
}

/// `[@MEMBER] METHOD TARGET [FORM]`; a target is a key, or a whole path after `!`.
fn request(location: String, text: &str) -> Parsed<Step> {
    let (member, text) = match text.strip_prefix('@') {
        Some(rest) => {
            let (number, rest) = rest.split_once(' ').ok_or("no method after the member")?;
            (number.parse().map_err(|_| format!("`{number}` is no member"))?, rest)
        }
        None => (1, text),
    };
    let mut fields = text.splitn(3, ' ');
    let method = fields.next().unwrap_or_default().to_owned();
    let target = fields.next().ok_or("no target")?;
    let target = match target.strip_prefix('!') {
        Some(path) => path.to_owned(),
        None => format!("/v2/keys{target}"),
    };
    let body = fields.next().map(escapes).transpose()?;
    let headers = match &body {
        Some(text) if text.starts_with(['{', '[']) => {
            vec![("Content-Type".into(), "application/json".into())]
        }
        Some(_) => vec![("Content-Type".into(), FORM.into())],
        None => Vec::new(),
    };
    Ok(Step { location, member, sent: Sent::Request { method, target, headers, body }, expected: Vec::new() })
}

/// `Name: value` replaces a header; `!Name` removes it.
fn add_header(step: &mut Step, text: &str) -> Parsed<()> {
    let Sent::Request { headers, .. } = &mut step.sent else {
        return Err("raw bytes have no headers".into());
    };
    let (name, value) = match text.strip_prefix('!') {
        Some(name) => (name, None),
        None => {
            text.split_once(": ").map(|(name, value)| (name, Some(value))).ok_or("`+` needs `Name: value`")?
        }
    };
    headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    Ok(())
}

/// `STATUS INDEX [BODY]`: see `cases/README.md`.
fn expected(text: &str) -> Parsed<Expected> {
    let mut fields = text.splitn(3, ' ');
    let status = fields.next().unwrap_or_default();
    let status = status.parse().map_err(|_| format!("`{status}` is no status"))?;
    let index = match fields.next().unwrap_or("*") {
        "*" => IndexRule::Any,
        "-" => IndexRule::Absent,
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => IndexRule::Is(number.into()),
        other => IndexRule::Is(format!("<{other}>")),
    };
    let body = match fields.next() {
        None => BodyRule::Any,
        Some(text) => match text.strip_prefix('|') {
            Some(exact) => BodyRule::Is(escapes(exact)?),
            None => BodyRule::Is(format!("{text}\n")),
        },
    };
    Ok(Expected { status, index, body, headers: Vec::new() })
}

/// Decodes `\n`, `\r` and `\\`; a backslash before another character is kept, as JSON has many.
fn escapes(text: &str) -> Parsed<String> {
    let mut out = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let escape = (letter == '\\').then(|| letters.peek().copied()).flatten();
        match escape {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('\\') => out.push('\\'),
            _ => {
                out.push(letter);
                continue;
            }
        }
        letters.next();
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_has_requests_and_what_they_expect() {
        let text = "case a\n differs reference: why\n > PUT ~/x?a=<V> value=1\n + !Content-Type\n < 201 B+1 {}\n h A: b\n each V: 1 _\n";
        let cases = parse("f", text).unwrap();
        let names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["f/a-1", "f/a-empty"]);
        assert_eq!(cases[0].holds, [Kind::Model, Kind::One, Kind::Three]);
        let Sent::Request { target, headers, .. } = &cases[0].steps[0].sent else { panic!() };
        assert_eq!((target.as_str(), headers.len()), ("/v2/keys~/x?a=1", 0));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        for (text, location) in [
            ("case a\n> GET /\n", "f.case:1"),
            ("case a\n> GET /\n< x\n", "f.case:3"),
            ("case a\nonly nobody\n", "f.case:2"),
            ("> GET /\n< 200\n", "f.case:1"),
            ("case a\n? GET /\n", "f.case:2"),
        ] {
            let error = parse("f", text).unwrap_err().to_string();
            assert!(error.starts_with(location), "{text}: {error}");
        }
    }
}
