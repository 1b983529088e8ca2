//! The pages in a real Chromium: what people see and do, and what the browser makes of our headers. The scenarios are in
//! `tests/node/pages.js`.

use scopegate::domain::client::{ClientMetadata, GrantType, Introspects};
use scopegate::domain::consent::ConsentPolicy;
use scopegate::service::clients::NewClient;
use scopegate::store::ClientChanges;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Chromium, PASSWORD, Sidecar, USERNAME, VERIFIER, screenshots};

/// A server, and a client on the origin that Chromium can be sent back to.
struct World {
    sidecar: Sidecar,
    browser: &'static Chromium,
    client_id: String,
    secret: String,
}

impl World {
    async fn new(more: &str) -> Self {
        let (sidecar, browser) = (Sidecar::with(more).await, Chromium::get().await);
        let new = NewClient {
            name: "Blue Bottle Shop".into(),
            redirect_uris: vec![format!("{}/callback", browser.client).parse().unwrap()],
            scopes: "a b c openid profile".parse().unwrap(),
            public: false,
            introspects: Introspects::Own,
            metadata: ClientMetadata {
                grant_types: vec![GrantType::AuthorizationCode, GrantType::DeviceCode],
                ..ClientMetadata::default()
            },
        };
        let (client, secret) = sidecar.service.create_client(new).await.unwrap();
        let secret = secret.unwrap().expose().to_owned();
        Self { sidecar, browser, client_id: client.id.to_string(), secret }
    }

    fn issuer(&self) -> String {
        format!("http://{}", self.sidecar.addresses.http)
    }

    fn request(&self, client_id: &str, scope: &str) -> String {
        let redirect_uri = format!("{}/callback", self.browser.client);
        self.sidecar.request(&[("client_id", client_id), ("redirect_uri", &redirect_uri), ("scope", scope)])
    }

    /// Lets Chromium play a scenario, with `more` known.
    async fn play_with(&self, scenario: &str, more: Value) {
        let mut world = json!({
            "issuer": self.issuer(),
            "request": self.request(&self.client_id, "a b"),
            "username": USERNAME,
            "password": PASSWORD,
            "clientId": self.client_id,
            "secret": self.secret,
            "verifier": VERIFIER,
            "screenshots": screenshots(),
        });
        world.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.browser.play(scenario, &world).await;
    }

    async fn play(&self, scenario: &str) {
        self.play_with(scenario, json!({})).await;
    }

    /// A client whose users are asked once, with everything to say about itself.
    async fn remembering(&self) -> String {
        let new = NewClient {
            name: "Red Bottle Shop".into(),
            redirect_uris: vec![format!("{}/callback", self.browser.client).parse().unwrap()],
            scopes: "a b c".parse().unwrap(),
            public: false,
            introspects: Introspects::Own,
            metadata: ClientMetadata {
                consent: ConsentPolicy::Remember,
                required_scopes: vec!["b".parse().unwrap()],
                client_uri: Some("https://shop.example".into()),
                policy_uri: Some("https://shop.example/privacy".into()),
                tos_uri: Some("https://legal.shop.example/terms".into()),
                ..ClientMetadata::default()
            },
        };
        self.sidecar.service.create_client(new).await.unwrap().0.id.to_string()
    }

    /// The code that a device shows.
    async fn user_code(&self) -> String {
        let device = self.sidecar.register_for(&[GrantType::DeviceCode]).await;
        let reply = self.sidecar.http().post_as(&device, "/device_authorization", &[("scope", "a b")]).await;
        reply.json()["user_code"].as_str().unwrap().to_owned()
    }

    /// Everything that it takes to come to every page.
    async fn every_page(&self) -> Value {
        let document = json!({
            "redirect_uris": [format!("{}/callback", self.browser.client)],
            // In one word, which no screen is wide enough for.
            "client_name": "Donaudampfschifffahrtsgesellschaftskapitänsmützenverleih",
            "token_endpoint_auth_method": "none",
        });
        let headers = [("content-type", "application/json")];
        let registered =
            self.sidecar.http().send(http::Method::POST, "/register", &headers, &document.to_string()).await;
        let unverified = registered.json()["client_id"].as_str().unwrap_or_else(|| panic!("{registered:?}")).to_owned();
        let more = self.remembering().await;
        self.sidecar.browser().approve(&self.request(&more, "a")).await;
        json!({
            "more": self.request(&more, "a b c"),
            "request": self.request(&self.client_id, "a b openid profile"),
            "unverified": self.request(&unverified, "a"),
            "impossible": self.request(&unverified, "nonsense"),
            "userCode": self.user_code().await,
        })
    }
}

const OPEN: &str = r#"
[registration]
mode = "open"
[scopes.catalogue.a]
en = "See your orders"
de = "Ihre Bestellungen sehen"
fr = "Voir vos commandes"
it = "Vedere i Suoi ordini"
es = "Ver sus pedidos"
[scopes.catalogue.b]
en = "Place, change and cancel orders"
de = "Bestellungen aufgeben, ändern und stornieren"
fr = "Passer, modifier et annuler des commandes"
it = "Effettuare, modificare e annullare ordini"
es = "Hacer, cambiar y cancelar pedidos"
[scopes.catalogue.c]
en = "See your addresses"
de = "Ihre Adressen sehen"
fr = "Voir vos adresses"
it = "Vedere i Suoi indirizzi"
es = "Ver sus direcciones"
"#;

#[tokio::test]
async fn c2_the_browser_follows_the_answer_of_the_form_to_the_client() {
    World::new("").await.play("allows").await;
}

#[tokio::test]
async fn c2_the_browser_follows_a_denial_to_the_client() {
    World::new("").await.play("denies").await;
}

#[tokio::test]
async fn c2_the_browser_posts_the_answer_to_the_client_with_scripts_and_without() {
    World::new("").await.play("postsTheAnswer").await;
}

#[tokio::test]
async fn c19_a_page_in_a_frame_of_another_site_stays_blank() {
    World::new("").await.play("isInAFrame").await;
}

#[tokio::test]
async fn a_wrong_password_can_be_typed_again() {
    World::new("").await.play("mistypes").await;
}

#[tokio::test]
async fn somebody_else_can_sign_in_from_the_consent_page() {
    World::new("").await.play("switchesAccounts").await;
}

#[tokio::test]
async fn what_was_allowed_is_not_asked_again_and_what_is_new_is_told_apart() {
    let world = World::new("").await;
    let client_id = world.remembering().await;
    let [request, more] = ["a b", "a b c"].map(|scope| world.request(&client_id, scope));
    world.play_with("isAskedForMore", json!({ "request": request, "more": more })).await;
}

#[tokio::test]
async fn two_tabs_decide_independently() {
    World::new("").await.play("hasTwoTabs").await;
}

#[tokio::test]
async fn c4_the_back_button_shows_nothing_old() {
    World::new("").await.play("goesBack").await;
}

#[tokio::test]
async fn everything_works_by_keyboard_and_the_focus_is_seen() {
    World::new("").await.play("usesTheKeyboard").await;
}

#[tokio::test]
async fn a_code_that_cannot_be_sent_to_the_app_is_shown_and_copied() {
    let world = World::new("[authorization]\nredirect_uri_schemes = ['http', 'urn']\nout_of_band = true").await;
    let redirect_uris = Some(vec!["urn:ietf:wg:oauth:2.0:oob".parse().unwrap()]);
    let changes = ClientChanges { redirect_uris, ..ClientChanges::default() };
    world.sidecar.service.update_client(world.client_id.parse().unwrap(), changes).await.unwrap();
    let parameters = [("client_id", &*world.client_id), ("redirect_uri", "urn:ietf:wg:oauth:2.0:oob")];
    let request = world.sidecar.request(&parameters);
    world.play_with("carriesTheCode", json!({ "request": request })).await;
}

#[tokio::test]
async fn a_device_is_connected_in_the_browser() {
    let world = World::new("").await;
    let user_code = world.user_code().await;
    world.play_with("connectsADevice", json!({ "userCode": user_code })).await;
}

#[tokio::test]
async fn a_browser_that_tells_no_more_than_its_origin_can_send_forms() {
    World::new("").await.play("comesWithAnOldBrowser").await;
}

#[tokio::test]
async fn every_page_is_whole_and_accessible_in_the_light() {
    let world = World::new(OPEN).await;
    world.play_with("seesEveryPageInTheLight", world.every_page().await).await;
}

#[tokio::test]
async fn every_page_is_whole_and_accessible_in_the_dark_on_the_smallest_screen() {
    let world = World::new(OPEN).await;
    world.play_with("seesEveryPageInTheDark", world.every_page().await).await;
}

#[tokio::test]
async fn every_page_is_whole_and_accessible_in_each_other_language_on_the_smallest_screen() {
    let world = World::new(OPEN).await;
    for language in ["de", "fr", "it", "es"] {
        let mut more = world.every_page().await;
        more["language"] = language.into();
        world.play_with("seesEveryPageIn", more).await;
    }
}

#[tokio::test]
async fn the_language_that_the_client_asks_for_stays_through_the_sign_in() {
    World::new("").await.play("isAskedInALanguage").await;
}

#[tokio::test]
async fn c16_an_app_of_ones_own_is_made_used_disconnected_and_deleted_in_the_browser() {
    let config = format!("{OPEN}[account]\nclients = true\n");
    for (name, locale, color_scheme, small) in [
        ("account-light", "en", "light", false),
        ("account-dark-320", "en", "dark", true),
        ("account-de-320", "de", "light", true),
        ("account-fr-320", "fr", "light", true),
        ("account-it-320", "it", "light", true),
        ("account-es-320", "es", "light", true),
    ] {
        let more = json!({ "name": name, "locale": locale, "colorScheme": color_scheme, "small": small });
        World::new(&config).await.play_with("managesApps", more).await;
    }
}

#[tokio::test]
async fn a_secret_can_be_copied_without_scripts_and_without_a_clipboard() {
    World::new(&format!("{OPEN}[account]\nclients = true\n")).await.play("copiesTheSecret").await;
}

/// What an operator may want, and one who is careless: a picture with a script in it.
fn branded(accent: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let logo = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 120 40'><style>text { font: bold 28px sans-serif }</style>\
                <rect width='120' height='40' rx='8' fill='#7a1fa2'/><text x='14' y='30' fill='#fff'>ACME</text>\
                <script>document.documentElement.setAttribute('data-ran', 'yes')</script></svg>";
    std::fs::write(directory.path().join("logo.svg"), logo).unwrap();
    let code = "{% set client_name = 'Blue Bottle Shop' %}{% set code = 'sg_ac_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV' %}\
                {% extends 'code.html' %}";
    std::fs::write(directory.path().join("error.html"), code).unwrap();
    let path = directory.path().display();
    let config = format!(
        "[pages]\nname = 'ACME accounts'\naccent_color = '{accent}'\nlogo = '{path}/logo.svg'\ntemplate_dir = '{path}'\n\
         support_url = 'https://acme.example/help'\nprivacy_url = 'https://acme.example/privacy'"
    );
    (directory, config)
}

#[tokio::test]
async fn an_operators_colour_can_be_read_in_the_light_and_in_the_dark_whatever_it_is() {
    for (name, accent) in [("purple", "#7a1fa2"), ("yellow", "#ffe94d"), ("grey", "#808080")] {
        let (_directory, config) = branded(accent);
        World::new(&config).await.play_with("looksAt", json!({ "name": name })).await;
    }
}

#[tokio::test]
async fn a_script_in_the_operators_picture_does_not_run() {
    let (_directory, config) = branded("#7a1fa2");
    World::new(&config).await.play("opensThePicture").await;
}
