//! Byte paths without empty, `.` and `..` segments.

/// The remaining segments.
pub fn segments(path: &[u8]) -> Vec<&[u8]> {
    let mut left: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => drop(left.pop()),
            name => left.push(name),
        }
    }
    left
}

/// Joins the segments, each after a slash; empty for none. Has capacity for one more byte.
pub fn join(segments: &[&[u8]]) -> Vec<u8> {
    let bytes = segments.iter().map(|segment| 1 + segment.len()).sum::<usize>();
    let mut path = Vec::with_capacity(bytes + 1);
    for segment in segments {
        path.push(b'/');
        path.extend_from_slice(segment);
    }
    path
}
