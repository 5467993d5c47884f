//! Member and cluster ids: 64 bits, in lower-case hex without padding.

/// The text of an id in headers, `/v2/members` and etcdctl.
pub fn format_id(id: u64) -> String {
    format!("{id:x}")
}

/// Parses an id; `None` if invalid.
pub fn parse_id(text: &str) -> Option<u64> {
    let hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex { u64::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hex_without_padding() {
        for (id, text) in
            [(0, "0"), (10, "a"), (0xbdae_9bbc_11dd_390d, "bdae9bbc11dd390d"), (u64::MAX, "ffffffffffffffff")]
        {
            assert_eq!((format_id(id).as_str(), parse_id(text)), (text, Some(id)));
        }
        for bad in ["", "+1", "-1", "zz", "0x1", "10000000000000000"] {
            assert_eq!(parse_id(bad), None, "{bad}");
        }
    }
}
