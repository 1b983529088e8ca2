//! JSON from outside.

use serde::de::DeserializeOwned;

/// Reads a JSON object. Serde would take an array, too, for the members in the order in which a structure declares them. `None` for what
/// is no object, lacks a member, has one twice or of another type.
pub(super) fn object<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    // RFC 8259 §2: this is all the white space there is.
    let start = text.iter().find(|byte| !b" \t\r\n".contains(byte));
    if start == Some(&b'{') { serde_json::from_slice(text).ok() } else { None }
}
