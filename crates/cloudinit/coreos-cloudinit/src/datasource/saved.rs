//! User-data that a platform provides at the first boot only.

/// What is stored for the next boots: the instance, a line end, and the user-data.
#[derive(Debug, PartialEq, Eq)]
pub struct Saved {
    pub instance: String,
    pub user_data: Vec<u8>,
}

impl Saved {
    pub fn content(&self) -> Vec<u8> {
        [self.instance.as_bytes(), b"\n", &self.user_data].concat()
    }

    /// `None` if it is none.
    pub fn parse(content: &[u8]) -> Option<Self> {
        let end = content.iter().position(|byte| *byte == b'\n')?;
        let instance = str::from_utf8(&content[..end]).ok().filter(|instance| !instance.is_empty())?;
        Some(Self { instance: instance.to_owned(), user_data: content[end + 1..].to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_read_as_it_was_stored() {
        let saved = Saved { instance: "i".to_owned(), user_data: b"a\nb".to_vec() };
        assert_eq!(Saved::parse(&saved.content()), Some(saved));
        for content in ["", "\n", "i", "\nx"] {
            assert_eq!(Saved::parse(content.as_bytes()), None, "{content:?}");
        }
    }
}
