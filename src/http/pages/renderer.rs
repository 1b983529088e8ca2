//! From a page to HTML: templates, languages, branding.
//!
//! Handlers say which page it is and what is on it. Only when an answer leaves is the page put into words, because only then is it
//! known in one place what the browser and the client said about languages.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::extract::{Request, State as Shared};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY};
use http::{HeaderValue, StatusCode};
use minijinja::value::{Kwargs, Object};
use minijinja::{Environment, Error, ErrorKind, HtmlEscape, State, UndefinedBehavior, Value, context};
use sha2::{Digest as _, Sha256};

use super::branding::{Branding, Logo, style_sheet};
use super::texts::{Piece, Texts, pieces};
use super::{Page, UiLocales};
use crate::domain::language::{Language, Languages, ScopeMeaning};
use crate::domain::parameters::Parameters;

/// The templates, by name.
pub(super) const TEMPLATES: [(&str, &str); 29] = [
    ("layout.html", include_str!("../templates/layout.html")),
    ("about.html", include_str!("../templates/about.html")),
    ("account.html", include_str!("../templates/account.html")),
    ("account_end.html", include_str!("../templates/account_end.html")),
    ("account_nav.html", include_str!("../templates/account_nav.html")),
    ("apps.html", include_str!("../templates/apps.html")),
    ("client.html", include_str!("../templates/client.html")),
    ("client_delete.html", include_str!("../templates/client_delete.html")),
    ("client_made.html", include_str!("../templates/client_made.html")),
    ("client_secret.html", include_str!("../templates/client_secret.html")),
    ("clients.html", include_str!("../templates/clients.html")),
    ("code.html", include_str!("../templates/code.html")),
    ("consent.html", include_str!("../templates/consent.html")),
    ("copy.html", include_str!("../templates/copy.html")),
    ("device.html", include_str!("../templates/device.html")),
    ("device_consent.html", include_str!("../templates/device_consent.html")),
    ("error.html", include_str!("../templates/error.html")),
    ("form_post.html", include_str!("../templates/form_post.html")),
    ("go_on.html", include_str!("../templates/go_on.html")),
    ("lasts.html", include_str!("../templates/lasts.html")),
    ("login.html", include_str!("../templates/login.html")),
    ("logout.html", include_str!("../templates/logout.html")),
    ("notice.html", include_str!("../templates/notice.html")),
    ("resources.html", include_str!("../templates/resources.html")),
    ("return.html", include_str!("../templates/return.html")),
    ("scope.html", include_str!("../templates/scope.html")),
    ("scopes.html", include_str!("../templates/scopes.html")),
    ("start_again.html", include_str!("../templates/start_again.html")),
    ("switch.html", include_str!("../templates/switch.html")),
];

/// A template that does not work.
#[derive(Debug, thiserror::Error)]
pub struct MalformedTemplate {
    pub path: PathBuf,
    pub line: usize,
    pub why: String,
}

impl fmt::Display for MalformedTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.why)
    }
}

/// Puts pages into words.
pub struct Renderer {
    templates: Environment<'static>,
    languages: Languages,
    style: Bytes,
    logo: Logo,
}

impl Renderer {
    /// `host` is the name where the operator gave none.
    pub fn new(branding: Branding, languages: Languages, host: &str) -> Result<Self, MalformedTemplate> {
        let style = Bytes::from(style_sheet(branding.accent));
        let logo = branding.logo.unwrap_or_else(Logo::embedded);
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        for (name, source) in TEMPLATES {
            templates
                .add_template(name, source)
                .expect("the templates are part of the program, and the tests render each");
        }
        templates.add_global(
            "site",
            context! {
                name => branding.name.as_deref().unwrap_or(host),
                style => format!("/assets/scopegate.css?{}", version(&style)),
                icon => format!("/assets/logo?{}", version(&logo.content)),
                support_url => branding.support_url,
                privacy_url => branding.privacy_url,
            },
        );
        let texts = Arc::new(Texts::embedded());
        let (plain, rich, fallback) = (texts.clone(), texts.clone(), languages.fallback());
        templates.add_function("t", move |state: &State, key: &str, values: Kwargs| {
            say(&plain, state, key, &values, str::to_owned, ToString::to_string)
        });
        templates.add_function("rich", move |state: &State, key: &str, values: Kwargs| {
            let value = |value: &Value| format!("<strong><bdi>{}</bdi></strong>", HtmlEscape(&value.to_string()));
            say(&rich, state, key, &values, |text| HtmlEscape(text).to_string(), value).map(Value::from_safe_string)
        });
        templates.add_function("meaning", move |state: &State, scope: &Value| meaning(&texts, state, scope, fallback));
        let own = branding.templates;
        for template in &own {
            let added = templates.add_template_owned(template.name.clone(), template.source.clone());
            added.map_err(|error| MalformedTemplate {
                path: template.path.clone(),
                line: error.line().unwrap_or_default(),
                why: in_one_line(&error),
            })?;
        }
        let renderer = Self { templates, languages, style, logo };
        if !own.is_empty() {
            renderer.try_out(|name| own.iter().find(|template| template.name == name).map(|own| own.path.clone()))?;
        }
        Ok(renderer)
    }

    /// Whether there is one to replace.
    pub fn has_template(name: &str) -> bool {
        TEMPLATES.iter().any(|(known, _)| *known == name)
    }

    /// Renders a sample of every page in every language. `path` tells the file of an operator's template.
    pub(super) fn try_out(&self, path: impl Fn(&str) -> Option<PathBuf>) -> Result<(), MalformedTemplate> {
        for page in super::samples::pages() {
            for language in self.languages.iter() {
                self.html(&page, language).map_err(|error| {
                    let name = error.name().unwrap_or(page.template);
                    MalformedTemplate {
                        path: path(name).unwrap_or_else(|| name.into()),
                        line: error.line().unwrap_or_default(),
                        why: in_one_line(&error),
                    }
                })?;
            }
        }
        Ok(())
    }

    fn html(&self, page: &Page, language: Language) -> Result<String, Error> {
        let values = context! { lang => language.tag(), ..page.values.clone() };
        self.templates.get_template(page.template)?.render(values)
    }

    /// The one script that is a file.
    pub(in crate::http) fn copy_script() -> Response {
        ([(CONTENT_TYPE, "text/javascript; charset=utf-8"), (CACHE_CONTROL, FOR_AN_HOUR)], COPY).into_response()
    }

    pub(in crate::http) fn style_sheet(&self) -> Response {
        ([(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, FOR_AN_HOUR)], self.style.clone()).into_response()
    }

    /// The picture. Whoever opens one by itself sees a document of our origin: its scripts do not run.
    pub(in crate::http) fn logo(&self) -> Response {
        const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox";
        let headers =
            [(CONTENT_TYPE, self.logo.media_type), (CACHE_CONTROL, FOR_AN_HOUR), (CONTENT_SECURITY_POLICY, POLICY)];
        (headers, self.logo.content.clone()).into_response()
    }
}

/// Copies a field by a button, where scripts run.
const COPY: &str = include_str!("../assets/copy.js");
pub(super) static COPY_ADDRESS: LazyLock<String> =
    LazyLock::new(|| format!("/assets/copy.js?{}", version(COPY.as_bytes())));

/// Whoever changes something changes its address, too.
const FOR_AN_HOUR: &str = "public, max-age=3600";

/// Puts the page of an answer into words, if it has one.
pub(in crate::http) async fn render(Shared(renderer): Shared<Arc<Renderer>>, request: Request, next: Next) -> Response {
    let accepted = request.headers().get(ACCEPT_LANGUAGE).cloned();
    let uri = request.uri().clone();
    let mut response = next.run(request).await;
    let Some(page) = response.extensions_mut().remove::<Page>() else { return response };
    let ui_locales = match response.extensions_mut().remove::<UiLocales>() {
        Some(UiLocales(locales)) => Some(locales),
        None => UiLocales::of(uri.query().unwrap_or_default()).map(|UiLocales(locales)| locales),
    };
    let accepted = accepted.as_ref().and_then(|value| value.to_str().ok());
    let language = renderer.languages.choose(ui_locales.as_deref(), accepted);
    match renderer.html(&page, language) {
        Ok(html) => {
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
            headers.append(VARY, HeaderValue::from_static("accept-language"));
            *response.body_mut() = html.into();
            response
        }
        Err(error) => {
            tracing::error!(template = page.template, error = %error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

impl UiLocales {
    /// Those of an authorization request, or of the one that a page of ours carries along.
    pub(super) fn of(query: &str) -> Option<Self> {
        let parameters = Parameters::parse(query.as_bytes()).ok()?;
        let carried =
            || Parameters::parse(parameters.get("request")?.as_bytes()).ok()?.get("ui_locales").map(str::to_owned);
        parameters.get("ui_locales").map(str::to_owned).or_else(carried).map(Self)
    }
}

/// A scope's meaning on its way through a template.
#[derive(Debug)]
pub(super) struct Meaning(pub(super) ScopeMeaning);

impl Object for Meaning {}

/// In the language of the page; the name of the scope where nobody said what it means.
fn meaning(texts: &Texts, state: &State, scope: &Value, fallback: Language) -> Result<String, Error> {
    let name = scope.get_attr("name")?.to_string();
    let object = scope.get_attr("meaning")?;
    let language = language_of(state);
    let text = match object.downcast_object_ref::<Meaning>().map(|Meaning(meaning)| meaning) {
        Some(ScopeMeaning::Standard) => texts.get(language, &format!("scope_{name}")),
        Some(ScopeMeaning::Said(wording)) => wording.text(language, fallback),
        Some(ScopeMeaning::Unknown) | None => None,
    };
    Ok(text.filter(|text| !text.is_empty()).map_or(name.clone(), str::to_owned))
}

/// The text of a key, with its values in place.
fn say(
    texts: &Texts,
    state: &State,
    key: &str,
    values: &Kwargs,
    text: impl Fn(&str) -> String,
    value: impl Fn(&Value) -> String,
) -> Result<String, Error> {
    let said = texts.get(language_of(state), key);
    let said = said.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("there is no text {key}")))?;
    let mut written = String::with_capacity(said.len() + 64);
    for piece in pieces(said) {
        match piece {
            Piece::Text(piece) => written.push_str(&text(piece)),
            Piece::Value(name) => written.push_str(&value(&values.get::<Value>(name)?)),
        }
    }
    Ok(written)
}

fn language_of(state: &State) -> Language {
    let tag = state.lookup("lang").map(|value| value.to_string()).unwrap_or_default();
    Language::ALL.into_iter().find(|language| language.tag() == tag).unwrap_or(Language::En)
}

/// What tells one content from another in an address.
fn version(content: &[u8]) -> String {
    Sha256::digest(content).iter().take(6).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn in_one_line(error: &Error) -> String {
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{}{detail}", error.kind())
}
