//! Comments of rules, by which a program finds its own in the chains of others.

use netlink_packet_core::Nla;
use netlink_packet_netfilter::nftables::Expressions;

/// nft's records of a rule's user data: type, length and value. Type 0 is a comment, with a zero byte at its end.
const COMMENT_TYPE: u8 = 0;
/// Attributes of a match of iptables.
const MATCH_NAME: u16 = 1;
const MATCH_INFO: u16 = 3;

/// The user data of a rule with this comment, as nft and iptables-nft show it.
pub fn user_data(comment: &str) -> Vec<u8> {
    // The length is one byte: a longer comment is cut. Comments are constants here.
    let text = &comment.as_bytes()[..comment.len().min(200)];
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    [&[COMMENT_TYPE, length], text, &[0]].concat()
}

/// The comment in a rule's user data.
pub fn read_user_data(mut data: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = data {
        let (value, next) = rest.split_at_checked(usize::from(*length))?;
        if *kind == COMMENT_TYPE {
            return Some(String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned());
        }
        data = next;
    }
    None
}

/// The text of iptables' match `comment`, which iptables-nft-restore makes of a rule's comment.
pub fn comment_match(expression: &Expressions) -> Option<String> {
    let Expressions::Other { expression_type, attributes } = expression else { return None };
    let text = |kind| {
        let attribute = attributes.iter().find(|attribute| attribute.kind() == kind)?;
        let mut value = vec![0; attribute.value_len()];
        attribute.emit_value(&mut value);
        let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
        Some(String::from_utf8_lossy(&value[..end]).into_owned())
    };
    (expression_type == "match" && text(MATCH_NAME)? == "comment").then(|| text(MATCH_INFO))?
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::DefaultNla;

    use super::*;

    /// A match of iptables with the name and the information `text`.
    fn xt_match(name: &str) -> Expressions {
        let mut info = [0; 256];
        info[..4].copy_from_slice(b"text");
        let attribute = |kind, value: &[u8]| DefaultNla::new(kind, value.to_vec());
        let attributes = vec![attribute(MATCH_NAME, name.as_bytes()), attribute(MATCH_INFO, &info)];
        Expressions::Other { expression_type: "match".into(), attributes }
    }

    #[test]
    fn comments_of_nft() {
        assert_eq!(read_user_data(&user_data("one")).as_deref(), Some("one"));
        let after_another = [&[1, 2, 9, 9][..], &user_data("two")].concat();
        assert_eq!(read_user_data(&after_another).as_deref(), Some("two"));
        for data in [&[][..], &[0], &[0, 5, b'a'], &[7, 1, 0]] {
            assert_eq!(read_user_data(data), None, "{data:?}");
        }
    }

    #[test]
    fn comments_of_iptables() {
        assert_eq!(comment_match(&xt_match("comment")).as_deref(), Some("text"));
        assert_eq!(comment_match(&xt_match("limit")), None);
    }
}
