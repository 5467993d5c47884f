//! Lists of values and specifiers in `[X-Fleet]`.

use crate::name::UnitName;

/// Splits a value that starts and ends with a quote into its quoted words at single spaces outside of quotes. Two
/// spaces yield an empty value, as in the original. Other values are not split.
pub(crate) fn split(value: &str) -> Vec<String> {
    if !value.starts_with('"') || !value.ends_with('"') {
        return vec![value.to_owned()];
    }
    let (mut values_of, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for letter in value.chars() {
        match letter {
            '"' => quoted = !quoted,
            ' ' if !quoted => values_of.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    values_of.push(word);
    values_of
}

/// Expands `%n` (full name), `%N` (without suffix), `%p` (prefix), `%i` (instance), in this order. There is no `%%`;
/// unknown specifiers are kept.
pub(crate) fn expand(value: &str, name: &UnitName) -> String {
    if !value.contains('%') {
        return value.to_owned();
    }
    value
        .replace("%n", name.as_str())
        .replace("%N", name.stem())
        .replace("%p", name.prefix())
        .replace("%i", name.instance().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_split(value: &str, expected: &[&str]) {
        assert_eq!(split(value), expected, "{value}");
    }

    #[test]
    fn values() {
        check_split("a b", &["a b"]);
        check_split("", &[""]);
        check_split("\"region=us\" \"disk=ssd\"", &["region=us", "disk=ssd"]);
        check_split("\"a\"  \"b\"", &["a", "", "b"]);
        check_split("\"a b\" \"c\"", &["a b", "c"]);
        check_split("\"a\" b", &["\"a\" b"]);
        check_split("\"", &[""]);
    }

    fn check_expand(name: &str, value: &str, expected: &str) {
        assert_eq!(expand(value, &UnitName::parse(name).unwrap()), expected, "{name}: {value}");
    }

    #[test]
    fn specifiers() {
        check_expand("ssh@2.service", "%n %N %p %i", "ssh@2.service ssh@2 ssh 2");
        check_expand("ssh.service", "[%i]%%p%x", "[]%ssh%x");
        check_expand("a@b@c.service", "%p-%i", "a-b@c");
    }
}
