//! What nobody means well by.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{ann, nobody};
use crate::harness::{REDIRECT_URI, Sidecar};

/// Each API, where it makes apps, and an app.
fn apis() -> [(&'static str, &'static str, Value); 4] {
    [
        (
            "fittrackee",
            "/api/oauth/apps",
            json!({"client_name": "A", "client_uri": "https://a.example", "redirect_uris": [REDIRECT_URI], "scope": "a"}),
        ),
        ("funkwhale", "/api/v1/oauth/apps/", json!({"name": "A", "redirect_uris": REDIRECT_URI, "scopes": "a"})),
        (
            "gancio",
            "/api/client",
            json!({"client_name": "A", "redirect_uris": REDIRECT_URI, "website": "https://a.example"}),
        ),
        ("forgejo", "/api/v1/user/applications/oauth2", json!({"name": "A", "redirect_uris": [REDIRECT_URI]})),
    ]
}

#[tokio::test]
async fn bad_redirect_uris_names_and_sites_are_refused_everywhere() {
    for (api, path, good) in apis() {
        let sidecar = Sidecar::with(&format!("[apps]\napi = '{api}'\nscopes = ['a']\nper_address = 1000\n")).await;
        let ann = ann(&sidecar).await;
        assert!(ann.post(path, &good).await.status.is_success(), "{api}");
        let is_list = good["redirect_uris"].is_array();
        for uri in [
            "http://evil.example/cb",
            "javascript:alert(1)",
            "data:text/html,x",
            "https://a.example/cb#f",
            "https://user@a.example/cb",
            "https://*.example/cb",
            "/cb",
            "https://a.example/<script>",
            "https://a.example/\u{202e}",
            &format!("https://a.example/{}", "x".repeat(2_100)),
        ] {
            let mut app = good.clone();
            app["redirect_uris"] = if is_list { json!([REDIRECT_URI, uri]) } else { json!(uri) };
            let reply = ann.post(path, &app).await;
            assert!(reply.status.is_client_error(), "{api}: {uri}: {reply:?}");
        }
        let many: Vec<String> = (0..21).map(|number| format!("https://a.example/{number}")).collect();
        let mut app = good.clone();
        app["redirect_uris"] = if is_list { json!(many) } else { json!(many.join(" ")) };
        assert!(ann.post(path, &app).await.status.is_client_error(), "{api}");
        let name = if good.get("name").is_some() { "name" } else { "client_name" };
        for text in ["a\u{0}b", "a\nb", "\u{202e}evil", "\u{200b}", &"x".repeat(201)] {
            let mut app = good.clone();
            app[name] = text.into();
            let reply = ann.post(path, &app).await;
            assert!(reply.status.is_client_error(), "{api}: {text:?}: {reply:?}");
        }
        for (member, value) in [
            ("client_uri", "javascript:alert(1)".to_owned()),
            ("client_uri", "https://user:password@a.example".into()),
            ("client_uri", format!("https://a.example/{}", "x".repeat(2_100))),
            ("website", "javascript:alert(1)".into()),
            ("client_description", "x".repeat(1_001)),
            ("client_description", "\u{202e}".into()),
        ] {
            let mut app = good.clone();
            app[member] = value.into();
            let is_read = match api {
                "fittrackee" => member.starts_with("client_"),
                "gancio" => member == "website",
                _ => false,
            };
            assert_eq!(ann.post(path, &app).await.status.is_client_error(), is_read, "{api}: {member}");
        }
    }
}

#[tokio::test]
async fn bodies_that_are_too_large_or_mean_nothing_change_nothing() {
    for (api, path, good) in apis() {
        let sidecar = Sidecar::with(&format!("[apps]\napi = '{api}'\nscopes = ['a']\nper_address = 1000\n")).await;
        let ann = ann(&sidecar).await;
        let mut large = good.clone();
        large["more"] = "x".repeat(70_000).into();
        assert_eq!(ann.post(path, &large).await.status, StatusCode::PAYLOAD_TOO_LARGE, "{api}");
        let deep = format!("{{\"name\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
        for body in ["null", "1", "[]", "[{}]", "{\"name\":", "\u{0}", &deep, "{\"name\":{\"name\":1}}"] {
            let reply = ann.send(Method::POST, path, body).await;
            assert!(reply.status.is_client_error(), "{api}: {reply:?}");
        }
        for kind in ["text/plain", "application/xml", "multipart/form-data", "multipart/form-data; boundary=x", ""] {
            let headers = [("cookie", ann.cookie.as_str()), ("content-type", kind)];
            let reply = sidecar.http().send(Method::POST, path, &headers, &good.to_string()).await;
            assert!(reply.status.is_client_error(), "{api}: {kind}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn names_in_paths_that_are_none_are_unknown() {
    for (api, path, _) in apis() {
        let sidecar = Sidecar::with(&format!("[apps]\napi = '{api}'\nscopes = ['a']\n")).await;
        let (ann, nobody) = (ann(&sidecar).await, nobody(&sidecar));
        let long = "x".repeat(4_000);
        for name in ["%00", "%2F..", "%22", "%F0%9F%8E%B5", "99999999999999999999999", "-1", "1e3", &long] {
            let path = format!("{}/{name}", path.trim_end_matches('/'));
            let reply = ann.get(&path).await;
            assert_eq!(reply.status, StatusCode::NOT_FOUND, "{api}: {name}: {reply:?}");
            assert!(nobody.delete(&path).await.status.is_client_error(), "{api}: {name}");
        }
        // Not text in any encoding.
        assert!(ann.get(&format!("{}/%FF", path.trim_end_matches('/'))).await.status.is_client_error());
    }
}
