//! Tables with tab-separated columns, in the format of Go's tabwriter.

/// Width of a tab.
const TAB: usize = 8;

/// Each cell except the last of a row is padded with tabs to the column's width, which is the longest cell plus one,
/// rounded up to a multiple of [`TAB`]. All rows must have the same number of cells.
pub fn render(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|at| {
            let longest = rows.iter().filter_map(|row| row.get(at)).map(|cell| width(cell)).max();
            (longest.unwrap_or(0) + 1).next_multiple_of(TAB)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            text.extend(cell.chars().map(printable));
            if at + 1 < row.len() {
                let tabs = (widths[at] - width(cell)).div_ceil(TAB);
                text.extend(std::iter::repeat_n('\t', tabs));
            }
        }
        text.push('\n');
    }
    text
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

/// Control characters in a description must not break the table or move the cursor.
fn printable(character: char) -> char {
    if character.is_control() { ' ' } else { character }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(rows: &[&[&str]], expect: &str) {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect();
        assert_eq!(render(&rows), expect);
    }

    #[test]
    fn as_recorded() {
        check(
            &[
                &["UNIT", "HASH", "DSTATE", "STATE", "TARGET"],
                &["hello.service", "332168a", "inactive", "inactive", "-"],
            ],
            "UNIT\t\tHASH\tDSTATE\t\tSTATE\t\tTARGET\nhello.service\t332168a\tinactive\tinactive\t-\n",
        );
        check(&[&["MACHINE", "IP", "METADATA"]], "MACHINE\tIP\tMETADATA\n");
        check(&[&["12345678", "x"], &["", "y"]], "12345678\tx\n\t\ty\n");
        check(&[&["a\tb\u{1b}[2J", "x"]], "a b [2J\tx\n");
        check(&[], "");
    }

    proptest! {
        /// With tab stops every eight characters, all cells of a column start at the same position, after the
        /// previous cell.
        #[test]
        fn columns_are_aligned(
            rows in prop::collection::vec(prop::collection::vec("[a-zä-ö ]{1,40}", 4..=4), 1..20)
        ) {
            let text = render(&rows);
            let mut places: Option<Vec<usize>> = None;
            for (line, row) in text.lines().zip(&rows) {
                let mut at = 0;
                let mut rest = line;
                let mut of_row = Vec::new();
                for cell in row {
                    of_row.push(at);
                    rest = rest.strip_prefix(cell.as_str()).expect("the cell itself");
                    at += cell.chars().count();
                    let tabs = rest.chars().take_while(|c| *c == '\t').count();
                    prop_assert!(rest.is_empty() || tabs > 0);
                    for _ in 0..tabs {
                        at = (at / TAB + 1) * TAB;
                    }
                    rest = &rest[tabs..];
                }
                prop_assert!(rest.is_empty());
                prop_assert_eq!(places.get_or_insert_with(|| of_row.clone()), &of_row);
            }
        }
    }
}
