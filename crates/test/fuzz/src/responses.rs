//! Checks that a server's output on a connection is a sequence of complete HTTP responses.

const HEADERS: usize = 64;

/// Properties of the requests that affect the responses.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestTraits {
    /// A HEAD request: its response has no body.
    pub head_only: bool,
    /// A stream until the client disconnects: its last response ends between two chunks.
    pub streamed: bool,
    /// A slow reader: the last response may be cut. If the bytes after a request are truncated, hyper closes the
    /// connection with the unwritten part of the response.
    pub slow_reader: bool,
}

enum ResponseError {
    /// Truncated: no response follows it.
    Truncated(String),
    Malformed(String),
}

impl From<String> for ResponseError {
    fn from(why: String) -> Self {
        Self::Malformed(why)
    }
}

fn truncated(why: impl Into<String>) -> ResponseError {
    ResponseError::Truncated(why.into())
}

/// Returns the number of responses, or what is wrong with them.
pub fn check(mut bytes: &[u8], requests: RequestTraits) -> Result<usize, String> {
    let mut count = 0;
    while !bytes.is_empty() {
        bytes = match next_response(bytes, requests) {
            Ok(rest) => rest,
            Err(ResponseError::Truncated(_)) if requests.slow_reader => return Ok(count),
            Err(ResponseError::Truncated(why) | ResponseError::Malformed(why)) => {
                return Err(format!("answer {count}: {why}"));
            }
        };
        count += 1;
    }
    Ok(count)
}

/// Returns the bytes after the first response.
fn next_response(bytes: &[u8], requests: RequestTraits) -> Result<&[u8], ResponseError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Err(truncated("its head has no end")),
        Err(error) => return Err(format!("its head is none: {error}; {:?}", excerpt(bytes)).into()),
    };
    let status = head.code.unwrap_or(0);
    let header = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).to_ascii_lowercase())
    };
    let rest = &bytes[length..];
    if !(100..600).contains(&status) {
        return Err(format!("status {status}").into());
    }
    let is_json = header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    let has_head_only = requests.head_only && (rest.is_empty() || rest.starts_with(b"HTTP/1."));
    if has_head_only || status < 200 || matches!(status, 204 | 304) {
        return Ok(rest);
    }
    let (body, rest) = if header("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        chunked(rest, requests.streamed)?
    } else if let Some(length) = header("content-length") {
        let length: usize = length.parse().map_err(|_| format!("its length is {length:?}"))?;
        let (body, rest) = rest
            .split_at_checked(length)
            .ok_or_else(|| truncated(format!("{} bytes of {length}", rest.len())))?;
        (body.to_vec(), rest)
    } else {
        (rest.to_vec(), &rest[rest.len()..])
    };
    if is_json {
        json(&body)?;
    }
    Ok(rest)
}

/// A body of several chunks is a watch's: one document per line.
fn json(body: &[u8]) -> Result<(), String> {
    for document in serde_json::Deserializer::from_slice(body).into_iter::<serde_json::Value>() {
        document.map_err(|error| format!("no JSON: {error}; {:?}", excerpt(body)))?;
    }
    Ok(())
}

fn chunked(mut bytes: &[u8], may_be_left: bool) -> Result<(Vec<u8>, &[u8]), ResponseError> {
    let mut body = Vec::new();
    loop {
        if may_be_left && bytes.is_empty() {
            return Ok((body, bytes));
        }
        let (line, rest) = line(bytes).ok_or_else(|| truncated("its chunks have no end"))?;
        let length = std::str::from_utf8(line).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let length = length.ok_or_else(|| format!("a chunk of {:?}", excerpt(line)))?;
        let (data, rest) = rest.split_at_checked(length).ok_or_else(|| truncated("a chunk is cut short"))?;
        body.extend_from_slice(data);
        let unterminated = || ResponseError::from("a chunk does not end where it should".to_owned());
        bytes = match rest {
            [] | [b'\r'] => return Err(truncated("a chunk has no end")),
            _ => rest.strip_prefix(b"\r\n").ok_or_else(unterminated)?,
        };
        if length == 0 {
            return Ok((body, bytes));
        }
    }
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_answers_count() {
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
        let json = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n";
        let cases = [
            (String::new(), Some(0)),
            (whole.to_owned(), Some(1)),
            ([whole, chunked, whole].concat(), Some(3)),
            ([whole, "x"].concat(), None),
            (whole[..whole.len() - 1].to_owned(), None),
            (chunked[..chunked.len() - 2].to_owned(), None),
            ([json, "{}\n"].concat(), Some(1)),
            ([json, "{}}"].concat(), None),
            ("HTTP/1.1 700 OK\r\n\r\n".to_owned(), None),
        ];
        for (text, expected) in cases {
            assert_eq!(check(text.as_bytes(), RequestTraits::default()).ok(), expected, "{text:?}");
        }
        let requests = RequestTraits { head_only: true, streamed: true, slow_reader: false };
        assert_eq!(check([json, whole].concat().as_bytes(), requests), Ok(2));
        let slow_reader = RequestTraits { slow_reader: true, ..RequestTraits::default() };
        assert_eq!(check(&whole.as_bytes()[..whole.len() - 1], slow_reader), Ok(0));
        assert!(check([whole, "x x"].concat().as_bytes(), slow_reader).is_err());
        assert_eq!(check(&chunked.as_bytes()[..chunked.len() - 5], requests), Ok(1));
        assert!(check(&chunked.as_bytes()[..chunked.len() - 6], requests).is_err());
    }
}
