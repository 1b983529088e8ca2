//! A sample of every page, to try out templates with before anybody sees them.

use std::collections::BTreeMap;

use axum::response::Response;
use http::StatusCode;

use super::{About, Asked, DeviceAlert, LastSignIn, Link, Notice, Page, Problem, Trust};
use crate::domain::language::{Language, ScopeMeaning, Wording};
use crate::service::app_sign_in::Switching;
use crate::service::authorization::DescribedScope;

pub(super) fn pages() -> Vec<Page> {
    let scopes = [
        ("openid", ScopeMeaning::Standard),
        ("a", ScopeMeaning::Said(Wording::Each(BTreeMap::from([(Language::En, "See A".to_owned())])))),
        ("b", ScopeMeaning::Unknown),
    ];
    let scopes: Vec<DescribedScope> = scopes
        .map(|(name, meaning)| DescribedScope {
            name: name.into(),
            meaning,
            is_required: name == "a",
            was_allowed: false,
        })
        .into_iter()
        .collect();
    let more = [("a", true), ("b", false)].map(|(name, was_allowed)| DescribedScope {
        name: name.into(),
        meaning: ScopeMeaning::Unknown,
        is_required: false,
        was_allowed,
    });
    let resources = ["https://api.example/orders".into()];
    let asked = |scopes| Asked {
        client_name: "Shop",
        about: About::default(),
        username: "ann",
        switching: &Switching::Here,
        ticket: "ticket",
        scopes,
        resources: &resources,
        lasts: 90 * 86_400,
    };
    let link = || Link::to(Some("https://shop.example/about"));
    let about = || About { site: link(), policy: link(), terms: link() };
    let (here, fields) = ("https://shop.example/callback", [("code", "code".to_owned())]);
    let form = super::ConsentForm::ours("ticket", "request");
    let responses: Vec<Response> = vec![
        super::login(Some("Shop"), Some(here), None, "request", LastSignIn::None),
        super::login(None, None, None, "/account/apps", LastSignIn::None),
        super::login(None, None, Some("ann"), "request", LastSignIn::Refused { username: "bob" }),
        super::login(None, None, None, "request", LastSignIn::TooMany { username: "bob", seconds: 60 }),
        super::login(None, None, None, "request", LastSignIn::TooMany { username: "bob", seconds: 61 }),
        super::consent_page(&asked(&scopes), here, &Trust::Itself, "request", &form),
        super::consent_page(&asked(&scopes), here, &Trust::User, "request", &form),
        super::consent_page(
            &Asked { switching: &Switching::At("https://app.example/".into()), ..asked(&scopes) },
            "urn:ietf:wg:oauth:2.0:oob",
            &Trust::Own,
            "request",
            &form,
        ),
        super::consent_page(&asked(&scopes[..1]), "com.example.shop:/callback", &Trust::Verified, "request", &form),
        super::consent_page(
            &Asked { lasts: 0, ..asked(&scopes[1..]) },
            here,
            &Trust::Document("shop.example".into()),
            "request",
            &form,
        ),
        super::consent_page(
            &Asked { about: about(), lasts: 600, ..asked(&more) },
            here,
            &Trust::Verified,
            "request",
            &form,
        ),
        super::consent_page(
            &Asked { about: about(), lasts: 7_201, ..asked(&more[..1]) },
            here,
            &Trust::Itself,
            "request",
            &form,
        ),
        super::device(StatusCode::OK, None),
        super::device(StatusCode::NOT_FOUND, Some(DeviceAlert::Unknown)),
        super::device(StatusCode::TOO_MANY_REQUESTS, Some(DeviceAlert::TooMany)),
        super::device_consent_page(&asked(&scopes), "BCDF-GHJK"),
        super::notice(Notice::DeviceConnected),
        super::notice(Notice::DeviceDenied),
        super::notice(Notice::SignedOut),
        super::error(StatusCode::BAD_REQUEST, Problem::Malformed),
        super::form_post(here, &fields),
        super::log_out_page("ann", Some("Shop"), Some(here), "request"),
        super::log_out_page("ann", None, None, "request"),
        super::return_to("Shop", here),
        super::code_to_copy("Shop", "code"),
        super::start_again(Some("/authorize?client_id=shop")),
        super::start_again(None),
        super::go_on("/login?request=x"),
    ];
    let responses = responses.into_iter().chain(super::account::samples());
    responses.filter_map(|mut response| response.extensions_mut().remove::<Page>()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::branding::Branding;
    use super::super::renderer::{Renderer, TEMPLATES};
    use super::*;
    use crate::domain::language::Languages;

    #[test]
    fn every_page_can_be_said_in_every_language() {
        let renderer = Renderer::new(Branding::default(), Languages::all(), "auth.example").expect("ours are good");
        renderer.try_out(|_| None).unwrap_or_else(|error| panic!("{error}"));
        let whole = TEMPLATES.iter().filter(|(_, source)| source.starts_with("{% extends"));
        let sampled: BTreeSet<&str> = pages().iter().map(|page| page.template).collect();
        assert_eq!(sampled, whole.map(|(name, _)| *name).collect(), "there is a sample of every page");
    }
}
