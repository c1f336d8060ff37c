//! What a service can be called. The name is part of the service's key, so it is the same on every node.

/// Characters of a service's name.
pub const MAX_SERVICE_NAME: usize = 32;

/// Whether `name` can be a service's: 1 to 32 of `a-z 0-9 _ -`.
pub fn is_service_name(name: &str) -> bool {
    let known = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    (1..=MAX_SERVICE_NAME).contains(&name.len()) && name.bytes().all(known)
}
