//! Results as a table without lines.

/// Between columns.
const GAP: usize = 2;

/// Lines of columns, each as wide as its longest cell; a row may have fewer cells than the head. No line ends with
/// spaces, nor the text with a line's end.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let all = || std::iter::once(&head).chain(rows);
    let columns = all().map(Vec::len).max().unwrap_or(0);
    let widest = |at: usize| all().filter_map(|row| row.get(at)).map(|cell| width(cell)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (cell, column) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', column + GAP - width(cell)));
        }
        line.truncate(line.trim_end().len());
        line
    };
    all().map(line).collect::<Vec<_>>().join("\n")
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cells() {
        let rows = [vec!["a".to_owned(), "b".to_owned()], vec!["größer".to_owned(), String::new()]];
        assert_eq!(table(&["NAME", "X", ""], &rows), "NAME    X\na       b\ngrößer");
        assert_eq!(table(&["NAME"], &[]), "NAME");
    }
}
