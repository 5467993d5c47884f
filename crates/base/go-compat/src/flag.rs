//! Arguments as Go's `flag` package splits them: `-x`, `--x`, `-x=value`.

/// Splits a flag into its name and the value after `=`. `None` for a positional argument, `-` and `--` included.
///
/// # Errors
/// Go's message, for `---x` and `-=x`.
pub fn split_flag(argument: &str) -> Result<Option<(&str, Option<&str>)>, String> {
    let Some(body) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
        return Ok(None);
    };
    if body.starts_with(['-', '=']) {
        return Err(format!("bad flag syntax: {argument}"));
    }
    Ok(match body.split_once('=') {
        _ if body.is_empty() => None,
        Some((name, value)) => Some((name, Some(value))),
        None => Some((body, None)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_split_as_go_does() {
        for positional in ["", "x", "x=-y", "-", "--"] {
            assert_eq!(split_flag(positional), Ok(None), "{positional}");
        }
        for flag in ["-x", "--x"] {
            assert_eq!(split_flag(flag), Ok(Some(("x", None))), "{flag}");
        }
        assert_eq!(split_flag("-x="), Ok(Some(("x", Some("")))));
        assert_eq!(split_flag("--x=y=-z"), Ok(Some(("x", Some("y=-z")))));
        for bad in ["---x", "---", "-=x", "--=x"] {
            assert_eq!(split_flag(bad), Err(format!("bad flag syntax: {bad}")));
        }
    }
}
