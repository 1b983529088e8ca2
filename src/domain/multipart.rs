//! Forms as `multipart/form-data` (RFC 7578), of text alone.

use super::parameters::MAX_PARAMETERS;

/// The longest boundary (RFC 2046 §5.1.1).
const MAX_BOUNDARY: usize = 70;

/// The names and values of a form, in their order. `None` for what is no such form, for a file, and for more fields than any form has.
pub fn fields<'b>(content_type: &str, body: &'b [u8]) -> Option<Vec<(String, &'b str)>> {
    let delimiter = format!("--{}", boundary(content_type)?);
    let separator = format!("\r\n{delimiter}");
    let mut rest = body.strip_prefix(delimiter.as_bytes())?;
    let mut fields = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Some(fields);
        }
        let part = rest.strip_prefix(b"\r\n")?;
        let end = position(part, separator.as_bytes())?;
        if fields.len() == MAX_PARAMETERS {
            return None;
        }
        fields.push(field(&part[..end])?);
        rest = &part[end + separator.len()..];
    }
}

fn boundary(content_type: &str) -> Option<&str> {
    let value = parameter(content_type, "boundary")?;
    let is_good = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
    ((1..=MAX_BOUNDARY).contains(&value.len()) && value.bytes().all(is_good)).then_some(value)
}

fn field(part: &[u8]) -> Option<(String, &str)> {
    let end = position(part, b"\r\n\r\n")?;
    let (head, value) = (str::from_utf8(&part[..end]).ok()?, &part[end + 4..]);
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition").then_some(value.trim())
    })?;
    if !disposition.to_ascii_lowercase().starts_with("form-data;") || parameter(disposition, "filename").is_some() {
        return None;
    }
    Some((parameter(disposition, "name")?.to_owned(), str::from_utf8(value).ok()?))
}

/// A parameter of a header whose values have neither a semicolon nor an escaped character: those that mean something here have none.
fn parameter<'h>(header: &'h str, name: &str) -> Option<&'h str> {
    let (_, parameters) = header.split_once(';')?;
    parameters.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        let value = value.trim();
        key.trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
    })
}

fn position(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPE: &str = "multipart/form-data; boundary=\"x--y\"";

    #[test]
    fn a_form_is_read_as_it_was_filled_in() {
        let body = b"--x--y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n2\r\n--x--y\r\nContent-Type: text/plain\r\n\
            content-disposition: form-data; name=b\r\n\r\n\r\n--x--y--\r\n";
        assert_eq!(fields(TYPE, body), Some(vec![("a".to_owned(), "1\r\n2"), ("b".to_owned(), "")]));
        assert_eq!(fields("multipart/form-data; boundary=b", b"--b--"), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_form_of_text_is_refused() {
        let part = |head: &str| format!("--x--y\r\n{head}\r\n\r\n1\r\n--x--y--");
        for body in [
            "",
            "--x--y",
            "--x--y\r\n",
            "--other--",
            &part("Content-Disposition: form-data; name=\"a\"; filename=\"f\""),
            &part("Content-Disposition: attachment; name=\"a\""),
            &part("Content-Disposition: form-data"),
            &part("Content-Type: text/plain"),
            &part("Content-Disposition: form-data; name=\"a\"").replace("--x--y--", ""),
            &"--x--y\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n".repeat(MAX_PARAMETERS + 2),
        ] {
            assert_eq!(fields(TYPE, body.as_bytes()), None, "{body}");
        }
        for content_type in
            ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=a b"]
        {
            assert_eq!(fields(content_type, b"----"), None, "{content_type}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = fields(TYPE, &[b"--x--y\r\n", &bytes[..], b"\r\n\r\n\r\n--x--y--"].concat());
        }
    }
}
