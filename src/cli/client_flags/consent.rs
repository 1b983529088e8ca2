//! What users of a client are asked and told.

use clap::Args;

use crate::domain::client::ClientMetadata;
use crate::domain::consent::ConsentPolicy;
use crate::domain::outgoing::{MalformedUrl, OutgoingUrl};
use crate::domain::scope::Scope;

/// A URL, or that there is none.
#[derive(Clone)]
struct LoginUrl(Option<OutgoingUrl>);

fn login_url(text: &str) -> Result<LoginUrl, MalformedUrl> {
    if text.is_empty() { Ok(LoginUrl(None)) } else { text.parse().map(|url| LoginUrl(Some(url))) }
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
    #[arg(long, value_name = "URL", value_parser = login_url)]
    login_url: Option<LoginUrl>,
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
    pub(super) fn over(self, mut metadata: ClientMetadata) -> ClientMetadata {
        if self.first_party {
            metadata.consent = ConsentPolicy::Skip;
        } else if let Some(policy) = self.consent {
            metadata.consent = policy;
        }
        if self.no_required_scopes || !self.required_scope.is_empty() {
            metadata.required_scopes = self.required_scope;
        }
        if let Some(LoginUrl(given)) = self.login_url {
            metadata.login_url = given;
        }
        for (given, url) in [
            (self.client_uri, &mut metadata.client_uri),
            (self.policy_uri, &mut metadata.policy_uri),
            (self.tos_uri, &mut metadata.tos_uri),
        ] {
            if let Some(given) = given {
                *url = Some(given).filter(|given| !given.is_empty());
            }
        }
        metadata
    }
}
