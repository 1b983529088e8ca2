//! Telling clients that a user was signed out (OpenID Connect Back-Channel Logout 1.0): the token, and when to try again.

use serde::Serialize;

use super::timestamp::Timestamp;

/// `typ` of a logout token (§2.4). That of an ID token is another, so neither passes for the other.
pub const LOGOUT_TOKEN_TYPE: &str = "logout+jwt";
/// For how many seconds a logout token is good (§2.4 recommends two minutes at most). Each attempt makes another one.
const TOKEN_LIFETIME: u32 = 120;
/// The pause after the first attempt that failed, and the longest one, in seconds.
const FIRST_PAUSE: u32 = 10;
const LONGEST_PAUSE: u32 = 3_600;

/// The claims of a logout token (§2.4). There is no nonce: with one it would look like an ID token.
#[derive(Serialize)]
pub struct LogoutTokenClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
    sub: &'a str,
    /// The browser session, as ID tokens name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    events: Events,
}

#[derive(Default, Serialize)]
struct Events {
    #[serde(rename = "http://schemas.openid.net/event/backchannel-logout")]
    backchannel_logout: NoMembers,
}

#[derive(Default, Serialize)]
struct NoMembers {}

/// Whom a logout token is about, and for whom it is.
#[derive(Clone, Debug)]
pub struct LogoutOf<'a> {
    pub client: &'a str,
    pub subject: &'a str,
    pub session: Option<String>,
}

impl<'a> LogoutTokenClaims<'a> {
    /// `jti` is a name that no other token has.
    pub fn new(issuer: &'a str, of: LogoutOf<'a>, jti: String, now: Timestamp) -> Self {
        Self {
            iss: issuer,
            aud: of.client,
            iat: now.as_unix(),
            exp: now.plus(TOKEN_LIFETIME).as_unix(),
            jti,
            sub: of.subject,
            sid: of.session,
            events: Events::default(),
        }
    }
}

/// How many seconds to wait after so many attempts have failed: twice as long each time.
pub fn pause_after(attempts: u32) -> u32 {
    let doublings = attempts.saturating_sub(1).min(16);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claims_of_section_2_4() {
        let of = LogoutOf { client: "c", subject: "s", session: Some("id".into()) };
        let claims = LogoutTokenClaims::new("https://i", of, "j".into(), Timestamp::from_unix(1));
        assert_eq!(
            serde_json::to_string(&claims).expect("JSON"),
            r#"{"iss":"https://i","aud":"c","iat":1,"exp":121,"jti":"j","sub":"s","sid":"id","events":{"http://schemas.openid.net/event/backchannel-logout":{}}}"#
        );
    }

    #[test]
    fn pauses_double_up_to_an_hour() {
        let pauses = [0, 1, 2, 3, 9, 10, u32::MAX].map(pause_after);
        assert_eq!(pauses, [10, 10, 20, 40, 2_560, 3_600, 3_600]);
    }
}
