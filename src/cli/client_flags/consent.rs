//! What users of a client are asked and told.

use clap::Args;

use super::Mask;
use crate::domain::consent::ConsentPolicy;
use crate::domain::outgoing::{MalformedUrl, OutgoingUrl};
use crate::domain::scope::Scope;
use crate::proto::scopegate::v1 as api;

/// A URL, or nothing.
fn url(text: &str) -> Result<String, MalformedUrl> {
    if !text.is_empty() {
        text.parse::<OutgoingUrl>()?;
    }
    Ok(text.to_owned())
}

#[derive(Args)]
pub(super) struct Asking {
    /// When its users are asked: as `configured`; unless they allowed as much before (`remember`); each time (`always-ask`); or never
    /// (`skip`). A public client whose answers go to the user's device is asked about each time in any case, and so is every device
    #[arg(long, value_name = "configured|remember|always-ask|skip")]
    consent: Option<ConsentPolicy>,
    /// It is an app of your own: signing in is enough. The same as `--consent skip`
    #[arg(long, conflicts_with = "consent")]
    first_party: bool,
    /// A scope that it is of no use without: users allow it or deny all; may be given several times, all of them
    #[arg(long, value_name = "SCOPE", conflicts_with = "no_required_scopes")]
    required_scope: Vec<Scope>,
    /// Users may leave out each of its scopes
    #[arg(long)]
    no_required_scopes: bool,
    /// The page where its users sign in, with `login.method = "challenge"`, in place of `login.url`. Empty: there
    #[arg(long, value_name = "URL", value_parser = url)]
    login_url: Option<String>,
    /// Its site, https; users see the host. Empty: none
    #[arg(long, value_name = "URL")]
    client_uri: Option<String>,
    /// What becomes of its users' data, https. Empty: none
    #[arg(long, value_name = "URL")]
    policy_uri: Option<String>,
    /// Its terms of use, https. Empty: none
    #[arg(long, value_name = "URL")]
    tos_uri: Option<String>,
}

impl Asking {
    /// What is not given stays.
    pub(super) fn over(self, client: &mut api::Client, mask: &mut Mask) {
        let policy = if self.first_party { Some(ConsentPolicy::Skip) } else { self.consent };
        mask.lay("consent", &mut client.consent, policy.map(|policy| policy.as_str().to_owned()));
        let required: Vec<String> = self.required_scope.iter().map(|scope| scope.as_str().to_owned()).collect();
        let required = Some(required).filter(|required| self.no_required_scopes || !required.is_empty());
        mask.lay("required_scopes", &mut client.required_scopes, required);
        mask.lay("login_url", &mut client.login_url, self.login_url);
        mask.lay("client_uri", &mut client.client_uri, self.client_uri);
        mask.lay("policy_uri", &mut client.policy_uri, self.policy_uri);
        mask.lay("tos_uri", &mut client.tos_uri, self.tos_uri);
    }
}
