//! Member and cluster ids: 64 bits, in lower-case hex without padding.

/// As headers, `/v2/members` and etcdctl show an id.
pub fn format_id(id: u64) -> String {
    format!("{id:x}")
}

/// The id that a path or a command line names; `None` where it is none.
pub fn parse_id(text: &str) -> Option<u64> {
    let hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex { u64::from_str_radix(text, 16).ok() } else { None }
}
