//! The operations of a document as a table in Markdown.

use crate::document::{Document, Operation};

impl Document {
    /// Rows `| path | methods | summary |`, ordered by path. HEAD is in the row of GET.
    pub fn table(&self) -> String {
        let mut operations: Vec<Operation<'_>> = self.operations().collect();
        operations.sort_by_key(|operation| operation.path);
        let has_head =
            |path: &str| operations.iter().any(|other| other.path == path && other.method == "HEAD");
        let row = |operation: &Operation<'_>| {
            let methods = match operation.method.as_str() {
                "GET" if has_head(operation.path) => "GET, HEAD",
                method => method,
            };
            let summary = operation.value["summary"].as_str().unwrap_or_default();
            format!("| `{}` | {methods} | {} |\n", operation.path, summary.trim_end_matches('.'))
        };
        operations.iter().filter(|operation| operation.method != "HEAD").map(row).collect()
    }

    /// Panics if a page does not contain the table.
    pub fn check_page(&self, markdown: &str) {
        let table = self.table();
        assert!(markdown.contains(&table), "the page does not have this table:\n{table}");
    }
}
