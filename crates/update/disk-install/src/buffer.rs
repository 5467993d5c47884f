//! Buffers that devices read and write without a copy in the kernel.

/// Direct transfers need memory at a multiple of the device's logical sector, at most a page.
const ALIGNMENT: usize = 4096;

/// Bytes at a multiple of a page.
pub struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// Zeros.
    pub fn new(length: usize) -> Self {
        let memory = vec![0; length + ALIGNMENT];
        // Without an answer it is slower, not wrong.
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { memory, start, length }
    }

    pub fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.start + self.length).unwrap_or_default()
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.start + self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_begins_at_a_page() {
        let mut buffer = AlignedBuffer::new(5000);
        assert_eq!((buffer.bytes().len(), buffer.bytes().as_ptr().align_offset(ALIGNMENT)), (5000, 0));
        buffer.bytes_mut().fill(7);
        assert!(buffer.bytes() == [7; 5000]);
    }
}
