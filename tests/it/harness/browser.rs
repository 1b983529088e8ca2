//! Just enough of a browser: cookies, redirects within the server, and forms as they stand.

use std::collections::BTreeMap;

use http::Method;

use super::{Http, PASSWORD, Reply, USERNAME, form};

/// A browser with its own cookies.
pub struct Browser {
    http: Http,
    pub cookies: BTreeMap<String, String>,
}

impl Browser {
    pub fn new(http: Http) -> Self {
        Self { http, cookies: BTreeMap::new() }
    }

    pub async fn get(&mut self, path: &str) -> Reply {
        self.send(Method::GET, path, "").await
    }

    pub async fn post(&mut self, path: &str, body: &str) -> Reply {
        self.send(Method::POST, path, body).await
    }

    /// Opens an authorization request and signs in; the consent page.
    pub async fn consent_page(&mut self, request: &str) -> Reply {
        let page = self.follow(&format!("/authorize?{request}")).await;
        if !page.body.contains("name=\"password\"") {
            return page;
        }
        let fields = [
            hidden_fields(&page.body),
            vec![("username".into(), USERNAME.into()), ("password".into(), PASSWORD.into())],
        ]
        .concat();
        let reply = self.post("/login", &encode(&fields)).await;
        self.follow(reply.header("location").unwrap_or_else(|| panic!("not signed in: {}", reply.body))).await
    }

    /// Signs in, keeps every scope and allows, if that is asked; where the browser is sent.
    pub async fn approve(&mut self, request: &str) -> String {
        let page = self.consent_page(request).await;
        if let Some(location) = page.header("location") {
            return location.to_owned();
        }
        let button = page.body.split("<button ").find(|tag| tag.contains("class=\"primary\"")).unwrap_or_default();
        let button = (attribute(button, "name"), attribute(button, "value"));
        let fields = [hidden_fields(&page.body), ticked_scopes(&page.body), vec![button]].concat();
        let action = page.body.split("<form ").nth(1).map(|form| attribute(form, "action")).unwrap_or_default();
        let reply = self.post(&action, &encode(&fields)).await;
        reply.header("location").unwrap_or_else(|| panic!("not allowed: {reply:?}")).to_owned()
    }

    async fn follow(&mut self, path: &str) -> Reply {
        let mut reply = self.get(path).await;
        while let Some(location) =
            reply.header("location").filter(|location| location.starts_with('/')).map(str::to_owned)
        {
            reply = self.get(&location).await;
        }
        reply
    }

    async fn send(&mut self, method: Method, path: &str, body: &str) -> Reply {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let headers = [("cookie", cookies.join("; ")), ("content-type", "application/x-www-form-urlencoded".into())];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = self.http.send(method, path, &headers, body).await;
        for cookie in reply.headers.get_all("set-cookie") {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(pair.0.into(), pair.1.into());
        }
        reply
    }
}

/// The hidden fields of the first form of a page.
pub fn hidden_fields(page: &str) -> Vec<(String, String)> {
    let first = page.split("</form>").next().unwrap();
    inputs(first)
        .filter(|input| input.contains("type=\"hidden\""))
        .map(|input| (attribute(input, "name"), attribute(input, "value")))
        .collect()
}

/// The scopes that are ticked on a consent page.
pub fn ticked_scopes(page: &str) -> Vec<(String, String)> {
    inputs(page)
        .filter(|input| input.contains(" checked"))
        .map(|input| (attribute(input, "name"), attribute(input, "value")))
        .collect()
}

pub fn encode(fields: &[(String, String)]) -> String {
    form(&fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>())
}

/// A parameter of a URI's query.
pub fn query_of(uri: &str, name: &str) -> Option<String> {
    let (_, query) = uri.split_once('?')?;
    form_urlencoded::parse(query.as_bytes()).find_map(|(key, value)| (key == name).then(|| value.into_owned()))
}

fn inputs(html: &str) -> impl Iterator<Item = &str> {
    html.split("<input ").skip(1).map(|rest| rest.split('>').next().unwrap())
}

fn attribute(tag: &str, name: &str) -> String {
    let value = tag.split(&format!("{name}=\"")).nth(1).map(|rest| rest.split('"').next().unwrap()).unwrap_or_default();
    [("&#x2f;", "/"), ("&quot;", "\""), ("&#x27;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")]
        .iter()
        .fold(value.to_owned(), |text, (entity, character)| text.replace(entity, character))
}
