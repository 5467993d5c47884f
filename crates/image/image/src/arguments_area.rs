//! The end of a boot loader's configuration file, which is reserved for further kernel arguments: a line, and comments up to
//! a fixed number of bytes, so that a change moves nothing on the medium.

/// Bytes of the area, which ends with the file.
pub const BYTES: usize = 1024;
/// What surrounds the arguments in GRUB's line, the longer one.
const AROUND: usize = "set arguments=''\n".len();
/// Bytes of all arguments, with a space between two.
pub const MAX: usize = BYTES - AROUND;

/// How a boot loader reads the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loader {
    SystemdBoot,
    Grub,
}

impl Loader {
    /// What is before and after the arguments in their line.
    fn line(self) -> (&'static str, &'static str) {
        match self {
            Self::SystemdBoot => ("options ", ""),
            Self::Grub => ("set arguments='", "'"),
        }
    }
}

/// Whether both loaders pass the argument on as it is. GRUB would escape quotes and backslashes.
pub fn is_valid(argument: &str) -> bool {
    !argument.is_empty() && argument.bytes().all(|byte| byte.is_ascii_graphic() && !b"'\"\\`".contains(&byte))
}

/// The area without arguments.
pub fn blank() -> String {
    comment(BYTES)
}

/// A comment line of this length.
fn comment(bytes: usize) -> String {
    match bytes.checked_sub(1) {
        Some(signs) => format!("{}\n", "#".repeat(signs)),
        None => String::new(),
    }
}

/// The area with arguments; the number of their bytes if they do not fit.
pub fn format(loader: Loader, arguments: &[String]) -> Result<String, usize> {
    if arguments.is_empty() {
        return Ok(blank());
    }
    let text = arguments.join(" ");
    if text.len() > MAX {
        return Err(text.len());
    }
    let (before, after) = loader.line();
    let line = format!("{before}{text}{after}\n");
    let rest = BYTES - line.len();
    Ok(line + &comment(rest))
}

/// The arguments of an area.
pub fn parse(loader: Loader, area: &str) -> Vec<String> {
    let (before, after) = loader.line();
    let text = area.lines().find_map(|line| line.strip_prefix(before)?.strip_suffix(after));
    text.unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect()
}

/// Whether these bytes are an area, with or without arguments.
pub fn is_area(loader: Loader, area: &[u8]) -> bool {
    let arguments = std::str::from_utf8(area).map(|text| parse(loader, text));
    arguments.is_ok_and(|arguments| format(loader, &arguments).is_ok_and(|text| text.as_bytes() == area))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_round_trip_in_the_same_number_of_bytes() {
        for loader in [Loader::SystemdBoot, Loader::Grub] {
            let longest = "a".repeat(MAX);
            for texts in [&[][..], &["console=ttyS1"], &["a=b", "keelson.install.force"], &[&*longest]] {
                let arguments: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
                let area = format(loader, &arguments).unwrap();
                assert_eq!((area.len(), area.ends_with('\n')), (BYTES, true), "{arguments:?}");
                assert_eq!(parse(loader, &area), arguments);
                assert!(is_area(loader, area.as_bytes()));
                let comments = area.lines().filter(|line| line.starts_with('#')).count();
                assert_eq!(area.lines().count() - comments, usize::from(!arguments.is_empty()));
            }
            assert_eq!(format(loader, &[format!("{longest}a")]), Err(MAX + 1));
            assert!(!is_area(loader, &[b'x'; BYTES]));
        }
    }

    #[test]
    fn what_a_loader_would_change_is_invalid() {
        for bad in ["", "a b", "a\n", "sshkey=\"a\"", "a'", "a\\x", "ä", "a\t"] {
            assert!(!is_valid(bad), "{bad}");
        }
        assert!(is_valid("keelson.install.config=http://a/b?mac=1&x=$y#z"));
    }
}
