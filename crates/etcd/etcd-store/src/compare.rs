//! `prevValue` and `prevIndex`: the condition of compare-and-swap and compare-and-delete.

use bytes::Bytes;

/// The condition; at least one part is set.
#[derive(Debug, Clone, Copy)]
pub struct Comparison<'a> {
    value: Option<&'a Bytes>,
    index: Option<u64>,
}

impl<'a> Comparison<'a> {
    /// `None` without a condition: an empty value and index 0 count as unset.
    pub fn new(value: Option<&'a Bytes>, index: Option<u64>) -> Option<Self> {
        let value = value.filter(|value| !value.is_empty());
        let index = index.filter(|index| *index != 0);
        (value.is_some() || index.is_some()).then_some(Self { value, index })
    }

    /// The cause of error 101, with the failed parts: `[want != have] [1 != 24]`.
    pub fn failure(&self, value: &[u8], index: u64) -> Option<Vec<u8>> {
        let mut parts = Vec::new();
        if let Some(want) = self.value.filter(|want| want.as_ref() != value) {
            parts.push([b"[", want.as_ref(), b" != ", value, b"]"].concat());
        }
        if let Some(want) = self.index.filter(|want| *want != index) {
            parts.push(format!("[{want} != {index}]").into_bytes());
        }
        (!parts.is_empty()).then(|| parts.join(&b' '))
    }
}
