//! XML of providers. Elements are matched by local name: namespace prefixes vary.

use roxmltree::{Document, Node, ParsingOptions};

use super::Malformed;
use crate::limits::MAX_XML_NODES;

/// Parses a document.
///
/// # Errors
/// The text is not well-formed, or exceeds the node limit.
pub(super) fn parse(text: &str) -> Result<Document<'_>, Malformed> {
    let options = ParsingOptions { nodes_limit: MAX_XML_NODES, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|error| {
        // Keeps only the position: the message may quote the text.
        let position = error.pos();
        Malformed::Xml { line: position.row, column: position.col }
    })
}

pub(super) fn children<'a, 'input>(
    parent: Node<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    parent.children().filter(move |node| node.is_element() && node.tag_name().name() == name)
}

pub(super) fn child<'a, 'input>(parent: Node<'a, 'input>, name: &'static str) -> Option<Node<'a, 'input>> {
    children(parent, name).next()
}

/// Returns the first element named `name`, in document order.
pub(super) fn first<'a, 'input>(document: &'a Document<'input>, name: &str) -> Option<Node<'a, 'input>> {
    document.descendants().find(|node| node.is_element() && node.tag_name().name() == name)
}

pub(super) fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.attributes().find(|attribute| attribute.name() == name).map(|attribute| attribute.value())
}

/// Returns an element's trimmed text; `None` if it is blank.
pub(super) fn content<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    node.text().map(str::trim).filter(|text| !text.is_empty())
}

/// Escapes text between tags.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_xml_is_refused() {
        for (text, expect) in [
            ("", "it is not well-formed XML (line 1, column 1)"),
            ("<a>\n<b>&secret;</b></a>", "it is not well-formed XML (line 2, column 4)"),
            ("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", "it is not well-formed XML (line 1, column 1)"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), expect, "{text}");
        }
        let many = format!("<a>{}</a>", "<b/>".repeat(MAX_XML_NODES as usize));
        assert!(parse(&many).is_err());
        let deep = format!("{}{}", "<a>".repeat(90_000), "</a>".repeat(90_000));
        assert!(parse(&deep).is_ok());
    }
}
