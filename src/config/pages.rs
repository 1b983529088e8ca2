//! The section `[pages]`.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use url::Url;

use super::ConfigError;
use crate::domain::colour::Colour;
use crate::domain::language::{Language, Languages};
use crate::http::{Branding, Logo, Renderer, Template};

/// The longest name of a service, in characters.
const MAX_NAME_LENGTH: usize = 60;
/// The largest picture and the largest template, in bytes.
const MAX_LOGO_BYTES: u64 = 256 << 10;
const MAX_TEMPLATE_BYTES: u64 = 64 << 10;

/// The pages that people see.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pages {
    /// What the service is called, 60 characters at most. Empty: the host of the issuer.
    pub name: String,
    /// A file with its picture, SVG or PNG, 256 KiB at most. Empty: a picture of ours.
    pub logo: String,
    /// The colour of buttons and links, `#` and six hexadecimal digits. What is written on it is black or white, and links get a shade
    /// that can be read. Empty: a blue.
    pub accent_color: String,
    /// Which languages are spoken, of `en`, `de`, `fr`, `it` and `es`. The first is for those who read none of them.
    pub languages: Vec<Language>,
    /// An https URL where users find help. Empty: there is no such link.
    pub support_url: String,
    /// An https URL that says what becomes of their data. Empty: there is no such link.
    pub privacy_url: String,
    /// A directory of templates (`*.html`) that take the place of those of the same name in `src/http/templates`. They are read and tried
    /// out at start. Empty: there are none.
    pub template_dir: String,
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            name: String::new(),
            logo: String::new(),
            accent_color: String::new(),
            languages: Language::ALL.to_vec(),
            support_url: String::new(),
            privacy_url: String::new(),
            template_dir: String::new(),
        }
    }
}

impl Pages {
    /// The embedded templates need no trying out, so they are not built for it.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.languages()?;
        if self.template_dir.is_empty() { self.branding().map(drop) } else { self.renderer("").map(drop) }
    }

    pub(super) fn languages(&self) -> Result<Languages, ConfigError> {
        Languages::new(&self.languages).ok_or_else(|| wrong("languages", "these are some languages, each once"))
    }

    pub(super) fn renderer(&self, issuer: &str) -> Result<Renderer, ConfigError> {
        let host = issuer.split_once("://").map_or(issuer, |(_, host)| host);
        Renderer::new(self.branding()?, self.languages()?, host)
            .map_err(|error| wrong("template_dir", &error.to_string()))
    }

    fn branding(&self) -> Result<Branding, ConfigError> {
        if self.name.chars().count() > MAX_NAME_LENGTH || self.name.chars().any(char::is_control) {
            return Err(wrong("name", &format!("this is a text of {MAX_NAME_LENGTH} characters at most")));
        }
        let accent = self.accent_color.parse::<Colour>();
        Ok(Branding {
            name: given(&self.name).map(str::to_owned),
            logo: given(&self.logo).map(logo).transpose()?,
            accent: match given(&self.accent_color) {
                Some(_) => Some(accent.map_err(|error| wrong("accent_color", &error.to_string()))?),
                None => None,
            },
            support_url: link("support_url", &self.support_url)?,
            privacy_url: link("privacy_url", &self.privacy_url)?,
            templates: given(&self.template_dir).map(templates).transpose()?.unwrap_or_default(),
        })
    }
}

fn wrong(key: &str, why: &str) -> ConfigError {
    ConfigError::new(&format!("pages.{key}"), why)
}

fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// A link leads to a page, never into a script.
fn link(key: &str, text: &str) -> Result<Option<String>, ConfigError> {
    let Some(text) = given(text) else { return Ok(None) };
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "https" | "http") => Ok(Some(url.into())),
        _ => Err(wrong(key, "this is an https URL")),
    }
}

fn logo(path: &str) -> Result<Logo, ConfigError> {
    let content = read(Path::new(path), MAX_LOGO_BYTES).map_err(|why| wrong("logo", &why))?;
    Logo::recognise(content).ok_or_else(|| wrong("logo", &format!("{path}: this is neither SVG nor PNG")))
}

fn templates(directory: &str) -> Result<Vec<Template>, ConfigError> {
    let wrong = |why: String| wrong("template_dir", &why);
    let entries = fs::read_dir(directory).map_err(|error| wrong(format!("{directory}: {error}")))?;
    let mut templates = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| wrong(format!("{directory}: {error}")))?.path();
        if path.extension().is_none_or(|extension| extension != "html") {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !Renderer::has_template(&name) {
            return Err(wrong(format!("{}: there is no template of this name to replace", path.display())));
        }
        let source = String::from_utf8(read(&path, MAX_TEMPLATE_BYTES).map_err(wrong)?)
            .map_err(|_| wrong(format!("{}: this is not UTF-8", path.display())))?;
        templates.push(Template { name, path, source });
    }
    templates.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(templates)
}

/// A file that is not longer than that.
fn read(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    file.take(most + 1).read_to_end(&mut content).map_err(|error| format!("{}: {error}", path.display()))?;
    if content.len() as u64 > most {
        return Err(format!("{}: this is larger than {} KiB", path.display(), most >> 10));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Layers};

    const REQUIRED: &str = "issuer = 'https://i'\n[keys]\nsecret = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n";

    fn config(text: &str) -> Result<Config, ConfigError> {
        Layers::new().text(REQUIRED)?.text(text)?.build()
    }

    #[test]
    fn what_would_not_look_right_is_no_configuration() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let write = |name: &str, content: &[u8]| {
            let path = directory.path().join(name);
            fs::write(&path, content).expect("it can be written");
            path.to_str().expect("a path in UTF-8").to_owned()
        };
        let (gif, png) = (write("a.gif", b"GIF89a"), write("a.png", b"\x89PNG\r\n\x1a\n..."));
        let large = write("a.svg", &b"<svg>".repeat(60_000));
        let good = format!(
            "[pages]\nname = 'Konten bei Ö'\nlogo = '{png}'\naccent_color = '#7A1FA2'\nlanguages = ['de']\nprivacy_url = 'https://i/p'\n\
             [scopes.catalogue]\na = {{ de = 'A' }}\nb = 'B'"
        );
        let shown = toml::to_string(&config(&good).expect("this is good")).expect("it can be written");
        assert!(shown.contains("[scopes.catalogue.a]\nde = \"A\""), "{shown}");
        let unknown = write("unknown.html", b"");
        for (text, key) in [
            (format!("name = '{}'", "x".repeat(61)), "pages.name"),
            ("name = \"a\\nb\"".into(), "pages.name"),
            ("accent_color = 'red; } body { display: none'".into(), "pages.accent_color"),
            ("languages = []".into(), "pages.languages"),
            ("languages = ['de', 'de']".into(), "pages.languages"),
            ("languages = ['xx']".into(), "pages.languages"),
            ("support_url = 'javascript:alert(1)'".into(), "pages.support_url"),
            ("privacy_url = '/privacy'".into(), "pages.privacy_url"),
            ("logo = '/nowhere'".into(), "pages.logo"),
            (format!("logo = '{gif}'"), "pages.logo"),
            (format!("logo = '{large}'"), "pages.logo"),
            ("template_dir = '/nowhere'".into(), "pages.template_dir"),
            (format!("template_dir = '{}'", directory.path().display()), "pages.template_dir"),
            ("[scopes.catalogue]\na = { de = 'A' }".into(), "scopes.catalogue.\"a\""),
            ("[scopes.catalogue]\na = { en = 'A', xx = 'A' }".into(), "scopes.catalogue.a"),
            ("[scopes.catalogue]\na = 1".into(), "scopes.catalogue.a"),
        ] {
            let error = config(&format!("[pages]\n{text}")).expect_err(&text).to_string();
            assert!(error.starts_with(&format!("configuration: {key}")), "{text}: {error}");
        }
        assert!(unknown.ends_with("unknown.html"));
    }
}
