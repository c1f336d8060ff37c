//! The request of a connection: valid HTTP of any length, so that a stock web server answers it.

/// Bytes of the shortest request.
pub(super) const SHORTEST: i64 = (START.len() + END.len()) as i64;
/// Bytes of the longest: web servers accept no longer line.
pub(super) const LONGEST: i64 = 4096;

const START: &[u8] = b"GET /";
const END: &[u8] = b" HTTP/1.0\r\n\r\n";

/// A request of `length` bytes, padded by a query string.
pub(super) fn http_request(length: u32) -> Vec<u8> {
    let query = (length as usize).saturating_sub(START.len() + END.len());
    let filling = std::iter::once(b'?').chain(std::iter::repeat(b'x'));
    let mut request = START.to_vec();
    request.extend(filling.take(query));
    request.extend_from_slice(END);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_length_asked_for() {
        for length in SHORTEST..=LONGEST {
            assert_eq!(http_request(length as u32).len() as i64, length);
        }
        assert_eq!(http_request(18), b"GET / HTTP/1.0\r\n\r\n");
        assert_eq!(http_request(20), b"GET /?x HTTP/1.0\r\n\r\n");
    }
}
