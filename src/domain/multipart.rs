//! Parameters as `multipart/form-data` has them (RFC 7578): what browsers make of `FormData`. Text fields alone: a file is no parameter.
//!
//! The body is in memory and short before it comes here, and every step goes forward in it.

use zeroize::Zeroizing;

use super::error::InvalidRequest;
use super::parameters::{MAX_PARAMETERS, Parameters};

/// The longest boundary (RFC 2046 §5.1.1), in bytes.
const MAX_BOUNDARY: usize = 70;

/// The parameters of a body with this content type.
pub fn parse(content_type: &str, body: &[u8]) -> Result<Parameters, InvalidRequest> {
    Parameters::from_pairs(fields(content_type, body)?.into_iter())
}

/// Its names and values, in their order, up to one more than may be.
pub fn fields(content_type: &str, body: &[u8]) -> Result<Vec<(String, Zeroizing<String>)>, InvalidRequest> {
    let boundary = parameter(content_type, "boundary").ok_or(InvalidRequest::ContentType)?;
    if boundary.is_empty() || boundary.len() > MAX_BOUNDARY {
        return Err(InvalidRequest::ContentType);
    }
    parts(body, &boundary).ok_or(InvalidRequest::Unreadable)
}

fn parts(body: &[u8], boundary: &str) -> Option<Vec<(String, Zeroizing<String>)>> {
    let delimiter = format!("\r\n--{boundary}");
    // The first one need not have a line before it.
    let mut rest = match body.strip_prefix(&delimiter.as_bytes()[2..]) {
        Some(rest) => rest,
        None => split(body, delimiter.as_bytes())?.1,
    };
    let mut fields = Vec::new();
    // One more than may be, so that it is seen. What follows the last delimiter is nobody's.
    while !rest.starts_with(b"--") && fields.len() <= MAX_PARAMETERS {
        let (part, after) = split(rest.strip_prefix(b"\r\n")?, delimiter.as_bytes())?;
        fields.push(field(part)?);
        rest = after;
    }
    Some(fields)
}

/// A part: its header lines, an empty line, its value.
fn field(part: &[u8]) -> Option<(String, Zeroizing<String>)> {
    let (head, value) = split(part, b"\r\n\r\n")?;
    let disposition = str::from_utf8(head).ok()?.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition").then_some(value.trim())
    })?;
    let (kind, _) = disposition.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("form-data") || parameter(disposition, "filename").is_some() {
        return None;
    }
    let value = Zeroizing::new(str::from_utf8(value).ok()?.to_owned());
    Some((parameter(disposition, "name")?, value))
}

/// A parameter of a header: a token or a quoted string (RFC 9110 §5.6.6).
fn parameter(header: &str, name: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, next) = value(after)?;
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = next.trim_start().strip_prefix(';')?;
    }
}

/// The value that a text begins with, and what comes after it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return Some((text[..end].trim().to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// What is before the first `separator`, and after it.
fn split<'b>(bytes: &'b [u8], separator: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let at = bytes.windows(separator.len()).position(|window| window == separator)?;
    Some((&bytes[..at], &bytes[at + separator.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPE: &str = "multipart/form-data; boundary=x-y";

    fn part(name: &str, value: &str) -> String {
        format!("--x-y\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    #[test]
    fn fields_are_parameters() {
        let typed =
            "--x-y\r\ncontent-type: text/plain; charset=utf-8\r\nCONTENT-DISPOSITION: Form-Data; name=c\r\n\r\n3\r\n";
        let body = format!("{}{}{typed}{}--x-y--\r\n", part("a", "1"), part("b\\\"", "ä\r\n--x"), part("d", ""));
        for content_type in [TYPE, "multipart/form-data; charset=utf-8; Boundary=\"x-y\""] {
            let parameters = parse(content_type, body.as_bytes()).expect("a body");
            assert_eq!((parameters.get("a"), parameters.get("b\"")), (Some("1"), Some("ä\r\n--x")));
            assert_eq!((parameters.get("c"), parameters.get("d")), (Some("3"), None));
        }
        let preamble = format!("ignored\r\n{}--x-y--", part("a", "1"));
        assert_eq!(parse(TYPE, preamble.as_bytes()).expect("a body").get("a"), Some("1"));
        let twice = format!("{}{}--x-y--", part("a", "1"), part("a", "2"));
        assert!(parse(TYPE, twice.as_bytes()).expect("a body").is_repeated("a"));
    }

    #[test]
    fn what_is_no_form_of_texts_is_refused() {
        let file = "--x-y\r\nContent-Disposition: form-data; name=\"a\"; filename=\"b\"\r\n\r\n1\r\n--x-y--";
        let unnamed = "--x-y\r\nContent-Disposition: form-data; nickname=name\r\n\r\n1\r\n--x-y--";
        let attached = "--x-y\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--x-y--";
        for bad in ["", "--x-y", "--x-y\r\n", "--x-yz--", "a=1", &part("a", "1"), file, unnamed, attached] {
            assert_eq!(parse(TYPE, bad.as_bytes()).err(), Some(InvalidRequest::Unreadable), "{bad:?}");
        }
        let long = format!("multipart/form-data; boundary={}", "x".repeat(MAX_BOUNDARY + 1));
        for bad in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"x", &long]
        {
            assert_eq!(parse(bad, b"--x--").err(), Some(InvalidRequest::ContentType), "{bad}");
        }
        let many = format!("{}--x-y--", part("a", "1").repeat(10_000));
        assert_eq!(parse(TYPE, many.as_bytes()).err(), Some(InvalidRequest::TooManyParameters));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(content_type in ".{0,64}", body in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&content_type, &body);
            let _ = parse(TYPE, &[b"--x-y\r\n", &body[..]].concat());
        }

        #[test]
        fn no_text_of_the_right_shape_makes_it_panic(
            body in "(--x-y|\r\n|Content-Disposition: form-data|; name=|\"|a|--|\\\\){0,24}"
        ) {
            let _ = parse(TYPE, body.as_bytes());
        }
    }
}
