//! `--fields`: which columns a list shows, checked before anything is asked.

use command_line::{Flag, ParsedArgs, ValueKind};

use crate::failure::Failure;

pub const FULL: Flag = Flag::switch("full,l", "show whole ids and hashes");
pub const NO_LEGEND: Flag = Flag::switch("no-legend", "leave the header out");
pub const JSON: Flag = Flag::switch("json", "print one JSON document, with every field");
pub const WATCH: Flag = Flag::switch("watch,w", "print the list again whenever it changes, until ctrl-C");

/// One column: its name, and its cell for a row.
pub struct Column<R> {
    pub name: &'static str,
    pub cell: fn(&R, full: bool) -> String,
}

pub const fn fields(default: &'static str) -> Flag {
    Flag::new("fields", ValueKind::Text, "columns, separated by commas").default(default)
}

/// Those that `--fields` names, in its order.
pub fn chosen<'a, R>(
    given: &ParsedArgs,
    default: &str,
    known: &'a [Column<R>],
) -> Result<Vec<&'a Column<R>>, Failure> {
    let names = given.text("fields").unwrap_or(default);
    if names.is_empty() {
        return Err(Failure::new("Must define output format"));
    }
    names
        .split(',')
        .map(|name| {
            if name == "tmachine" {
                eprintln!("WARNING: The \"tmachine\" field is deprecated. Use \"target\" instead");
            }
            known
                .iter()
                .find(|column| column.name == name)
                .ok_or_else(|| Failure::new(format!("Invalid key in output format: {name:?}")))
        })
        .collect()
}

/// The cells of a table, with its header unless `--no-legend` was given.
pub fn rows<R>(columns: &[&Column<R>], list: &[R], given: &ParsedArgs) -> Vec<Vec<String>> {
    let full = given.is_set(FULL.name());
    let header = columns.iter().map(|column| column.name.to_uppercase()).collect();
    let legend = (!given.is_set(NO_LEGEND.name())).then_some(header);
    let cells = |row: &R| columns.iter().map(|column| (column.cell)(row, full)).collect();
    legend.into_iter().chain(list.iter().map(cells)).collect()
}

/// `-` where there is nothing to show.
pub fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}
