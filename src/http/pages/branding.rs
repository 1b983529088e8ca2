//! What an operator makes of the pages: name, picture, colour, links and templates.

use std::path::PathBuf;

use axum::body::Bytes;

use crate::domain::colour::Colour;

/// What links lie on that is hardest to read them on, in the light and in the dark, as the style sheet has it: its ground, and its card.
const LIGHT: Colour = Colour::new(0xf4, 0xf5, 0xf7);
const DARK: Colour = Colour::new(0x16, 0x1b, 0x22);

/// Everything of it that is not the default.
#[derive(Clone, Debug, Default)]
pub struct Branding {
    /// `None`: the host of the issuer.
    pub name: Option<String>,
    /// `None`: ours.
    pub logo: Option<Logo>,
    pub accent: Option<Colour>,
    pub support_url: Option<String>,
    pub privacy_url: Option<String>,
    /// They take the place of those of the same name.
    pub templates: Vec<Template>,
}

/// A picture.
#[derive(Clone, Debug)]
pub struct Logo {
    pub content: Bytes,
    pub media_type: &'static str,
}

/// A template of the operator.
#[derive(Clone, Debug)]
pub struct Template {
    /// The name of a file without its directory.
    pub name: String,
    /// Where it was read from.
    pub path: PathBuf,
    pub source: String,
}

impl Logo {
    /// Ours.
    pub(super) fn embedded() -> Self {
        Self { content: Bytes::from_static(include_bytes!("../assets/icon.svg")), media_type: "image/svg+xml" }
    }

    /// Of the two kinds that are served, by what it begins with. `None` for anything else.
    pub fn recognise(content: Vec<u8>) -> Option<Self> {
        let media_type = if content.starts_with(b"\x89PNG\r\n\x1a\n") {
            "image/png"
        } else if std::str::from_utf8(&content).is_ok_and(|text| text.contains("<svg")) {
            "image/svg+xml"
        } else {
            return None;
        };
        Some(Self { content: content.into(), media_type })
    }
}

/// Our style sheet, and after it the operator's colour: as it is where text stands on it, and in a shade that can be read where it
/// is the text.
pub(super) fn style_sheet(accent: Option<Colour>) -> String {
    let ours = include_str!("../assets/scopegate.css");
    let Some(accent) = accent else { return ours.to_owned() };
    let on_accent = accent.ink();
    let (light, dark) = (accent.readable_on(LIGHT), accent.readable_on(DARK));
    format!(
        "{ours}:root {{ --accent: {accent}; --on-accent: {on_accent}; --link: {light}; }}\n\
         @media (prefers-color-scheme: dark) {{ :root {{ --accent: {accent}; --on-accent: {on_accent}; --link: {dark}; }} }}\n"
    )
}
