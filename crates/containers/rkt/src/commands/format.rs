//! Output as JSON.

use command_line::{Flag, ParsedArgs, ValueKind};

const FORMATS: &[&str] = &["json", "json-pretty", ""];
/// rkt's flag; `--json` is shorter.
pub const FORMAT: Flag = Flag::new("format", ValueKind::OneOf(FORMATS), "json or json-pretty").hidden();

pub fn wants_json(args: &ParsedArgs) -> bool {
    args.is_set("json") || args.text("format").is_some_and(|format| format.starts_with("json"))
}
