//! The commands of a page: its `console` blocks have prompts, commands, and the output of each.

const FENCE: &str = "```";
const CONSOLE: &str = "console";
/// After [`CONSOLE`]: each command of the block is repeated until its output is as written.
const REPEAT: &str = "repeat";
const HOST_PROMPT: &str = "host$ ";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Host,
    /// A machine, by name.
    Machine(String),
}

impl Place {
    pub fn prompt(&self) -> String {
        match self {
            Self::Host => HOST_PROMPT.to_owned(),
            Self::Machine(name) => format!("core@{name}:~$ "),
        }
    }

    /// The place and the command of a line that begins with a prompt.
    fn of(line: &str) -> Option<(Self, &str)> {
        if let Some(command) = line.strip_prefix(HOST_PROMPT) {
            return Some((Self::Host, command));
        }
        let (name, command) = line.strip_prefix("core@")?.split_once(":~$ ")?;
        Some((Self::Machine(name.to_owned()), command))
    }
}

/// A command with the output that the page shows.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// The command's first line, from 1.
    pub line: usize,
    pub place: Place,
    /// With the lines of its here-document.
    pub command: String,
    pub output: Vec<String>,
    pub repeat: bool,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseError {
    #[error("line {line}: unknown attribute {attribute:?} of a {CONSOLE} block")]
    Attribute { line: usize, attribute: String },
    #[error("line {line}: output without a command")]
    NoCommand { line: usize },
    #[error("line {line}: a command outside of a {CONSOLE} block")]
    Outside { line: usize },
    #[error("line {line}: the command does not end within its block")]
    OpenCommand { line: usize },
    #[error("line {line}: the block does not end")]
    OpenBlock { line: usize },
}

enum Block {
    Console { line: usize, repeat: bool },
    Other { line: usize },
}

type Lines<'a> = dyn Iterator<Item = (usize, &'a str)> + 'a;

/// All commands of the page, in order.
pub fn parse(page: &str) -> Result<Vec<Step>, ParseError> {
    let mut steps: Vec<Step> = Vec::new();
    let mut block = None;
    let lines: &mut Lines<'_> = &mut (1..).zip(page.lines());
    while let Some((line, text)) = lines.next() {
        if let Some(info) = text.strip_prefix(FENCE) {
            block = if block.is_none() { Some(open(line, info)?) } else { None };
            continue;
        }
        match (&block, Place::of(text)) {
            (Some(Block::Console { repeat, .. }), Some((place, first))) => {
                let command = whole(line, first, lines)?;
                steps.push(Step { line, place, command, output: Vec::new(), repeat: *repeat });
            }
            (Some(Block::Console { line: begin, .. }), None) => {
                let step = steps.last_mut().filter(|step| step.line > *begin);
                step.ok_or(ParseError::NoCommand { line })?.output.push(text.to_owned());
            }
            (_, Some(_)) => return Err(ParseError::Outside { line }),
            (_, None) => {}
        }
    }
    match block {
        Some(Block::Console { line, .. } | Block::Other { line }) => Err(ParseError::OpenBlock { line }),
        None => Ok(steps),
    }
}

fn open(line: usize, info: &str) -> Result<Block, ParseError> {
    let mut words = info.split_ascii_whitespace();
    if words.next() != Some(CONSOLE) {
        return Ok(Block::Other { line });
    }
    let attributes: Vec<_> = words.collect();
    match attributes.iter().find(|attribute| **attribute != REPEAT) {
        Some(attribute) => Err(ParseError::Attribute { line, attribute: (*attribute).to_owned() }),
        None => Ok(Block::Console { line, repeat: !attributes.is_empty() }),
    }
}

/// A command with the lines that continue it: those of its here-document, or after a backslash.
fn whole(line: usize, first: &str, lines: &mut Lines<'_>) -> Result<String, ParseError> {
    let mut command = first.to_owned();
    let delimiter = delimiter(first);
    let mut last = first;
    while delimiter.map_or(last.ends_with('\\'), |delimiter| last != delimiter) {
        let next = lines.next().filter(|(_, text)| !text.starts_with(FENCE));
        (_, last) = next.ok_or(ParseError::OpenCommand { line })?;
        command.push('\n');
        command.push_str(last);
    }
    Ok(command)
}

/// The delimiter of the here-document that a command begins.
fn delimiter(command: &str) -> Option<&str> {
    let (_, after) = command.split_once("<<")?;
    let word = after.trim_start_matches(['\'', '"']);
    let end = word.find(|char: char| !char.is_ascii_alphanumeric()).unwrap_or(word.len());
    Some(&word[..end]).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(line: usize, place: Place, command: &str, output: &[&str], repeat: bool) -> Step {
        let output = output.iter().map(|line| (*line).to_owned()).collect();
        Step { line, place, command: command.to_owned(), output, repeat }
    }

    fn machine(name: &str) -> Place {
        Place::Machine(name.to_owned())
    }

    #[test]
    fn commands_have_a_place_and_an_output() {
        let page = "# Page\n\n```console\nhost$ cargo keelson up\ncore@core-01:~$ etcdctl ls\n/a\n\n/b\n```\n\n\
                    Text.\n```console repeat\ncore@core-02:~$ true\n```\n```yaml\na: b\n```\n";
        let expected = [
            step(4, Place::Host, "cargo keelson up", &[], false),
            step(5, machine("core-01"), "etcdctl ls", &["/a", "", "/b"], false),
            step(13, machine("core-02"), "true", &[], true),
        ];
        assert_eq!(parse(page).unwrap(), expected);
        assert!(expected.iter().all(|step| page.contains(&format!(
            "{}{}",
            step.place.prompt(),
            step.command
        ))));
    }

    #[test]
    fn a_command_goes_on_in_a_here_document_or_after_a_backslash() {
        let check = |text: &str, command: &str, output: &[&str]| {
            let page = format!("```console\nhost$ {text}\n```\n");
            assert_eq!(parse(&page).unwrap(), [step(2, Place::Host, command, output, false)], "{text}");
        };
        check("cat >a <<'EOF'\n[Unit]\nEOF\ndone", "cat >a <<'EOF'\n[Unit]\nEOF", &["done"]);
        check("cat <<EOF >a\nhost$ b\nEOF", "cat <<EOF >a\nhost$ b\nEOF", &[]);
        check("echo a \\\n  b \\\n  c\na b c", "echo a \\\n  b \\\n  c", &["a b c"]);
        check("echo a\n\\", "echo a", &["\\"]);
    }

    #[test]
    fn what_would_be_skipped_is_an_error() {
        let check = |page: &str, expected: ParseError| assert_eq!(parse(page), Err(expected), "{page}");
        let attribute = "repaet".to_owned();
        check("```console repaet\n```", ParseError::Attribute { line: 1, attribute });
        check("```console\nhost$ a\n```\n```console\nb\n```", ParseError::NoCommand { line: 5 });
        check("Text\nhost$ a\n", ParseError::Outside { line: 2 });
        check("```sh\ncore@core-01:~$ a\n```", ParseError::Outside { line: 2 });
        check("```console\nhost$ cat <<EOF\na\n```\n", ParseError::OpenCommand { line: 2 });
        check("```console\nhost$ a\n", ParseError::OpenBlock { line: 1 });
    }
}
