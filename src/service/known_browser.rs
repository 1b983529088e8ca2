//! Browsers in which a user signed in before. A cookie says so, for one account alone, and opens nothing: whoever has it may try the
//! password at a time when others may not ([`super::attempts`]).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::Service;
use super::attempts::KnownBrowser;
use crate::domain::timestamp::Timestamp;

/// What the tag begins with. It stands where other tags of the same key have a hash or other words.
const LABEL: &[u8; 24] = b"scopegate/known-browser!";
const TAG: usize = 20;
const NAME: usize = 16;
const TIME: usize = 8;
/// For so long is a browser known, in seconds: 90 days.
pub const LIFETIME: u32 = 90 * 86_400;

impl Service {
    /// The browser that a cookie speaks of, if it is for this account.
    pub(super) fn known_browser(&self, cookie: Option<&str>, username: &str, now: Timestamp) -> Option<KnownBrowser> {
        let cookie: [u8; NAME + TIME + TAG] = BASE64_URL_SAFE_NO_PAD.decode(cookie?).ok()?.try_into().ok()?;
        let (said, tag) = cookie.split_at(NAME + TIME);
        if !self.form_key.verifies::<TAG>(&[LABEL, said, username.as_bytes()], &tag.try_into().ok()?) {
            return None;
        }
        let since = Timestamp::from_unix(i64::from_be_bytes(said[NAME..].try_into().ok()?));
        (now < since.plus(LIFETIME)).then_some(KnownBrowser(said[..NAME].try_into().ok()?))
    }

    /// The cookie for a browser in which the user of an account has just signed in.
    pub(super) fn introduce_browser(&self, username: &str, now: Timestamp) -> String {
        let mut cookie = Vec::with_capacity(NAME + TIME + TAG);
        cookie.extend(self.effects.random_bytes::<NAME>());
        cookie.extend(now.as_unix().to_be_bytes());
        let tag: [u8; TAG] = self.form_key.tag(&[LABEL, &cookie, username.as_bytes()]);
        cookie.extend(tag);
        BASE64_URL_SAFE_NO_PAD.encode(cookie)
    }
}
