//! Columns of lists, and the flags that select them.

use command_line::{Flag, ParsedArgs, ValueKind};

use crate::failure::Failure;

pub const FULL: Flag = Flag::switch("full,l", "print full machine ids and hashes");
pub const NO_LEGEND: Flag = Flag::switch("no-legend", "omit the header");
pub const JSON: Flag = Flag::switch("json", "print a JSON document with all fields");
pub const WATCH: Flag = Flag::switch("watch,w", "print the list whenever it changes, until interrupted");

/// A column for rows of type `R`.
pub struct Column<R> {
    pub name: &'static str,
    pub cell: fn(&R, full: bool) -> String,
}

pub const fn fields(default: &'static str) -> Flag {
    Flag::new("fields", ValueKind::Text, "comma-separated list of columns to print").default(default)
}

/// The columns that `--fields` names, in its order. Fails before any request is made.
pub fn selected_columns<'a, R>(
    args: &ParsedArgs,
    available: &'a [Column<R>],
) -> Result<Vec<&'a Column<R>>, Failure> {
    let names = args.text_or_default("fields");
    if names.is_empty() {
        return Err(Failure::new("Must define output format"));
    }
    names
        .split(',')
        .map(|name| {
            if name == "tmachine" {
                eprintln!("WARNING: The \"tmachine\" field is deprecated. Use \"target\" instead");
            }
            available
                .iter()
                .find(|column| column.name == name)
                .ok_or_else(|| Failure::new(format!("Invalid key in output format: {name:?}")))
        })
        .collect()
}

/// The cells of a table, with a header unless `--no-legend` is set.
pub fn rows<R>(columns: &[&Column<R>], list: &[R], args: &ParsedArgs) -> Vec<Vec<String>> {
    let full = args.is_set(FULL.name());
    let header = columns.iter().map(|column| column.name.to_uppercase()).collect();
    let legend = (!args.is_set(NO_LEGEND.name())).then_some(header);
    let cells = |row: &R| columns.iter().map(|column| (column.cell)(row, full)).collect();
    legend.into_iter().chain(list.iter().map(cells)).collect()
}

/// `-` for an empty cell.
pub fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}
