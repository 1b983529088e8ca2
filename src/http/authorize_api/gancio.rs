//! `POST /oauth/authorize` of Gancio, as oauth2orize has it: `transaction_id`, and `cancel` from those who do not allow it.

use axum::extract::State;
use axum::response::Response;

use super::super::Context;
use super::super::extract::{PageForm, SessionCookie};
use super::super::pages::ConsentForm;
use super::{folded, take_folded};
use crate::service::authorization::Verdict;

const TRANSACTION: &str = "transaction_id";

pub(super) async fn decide(
    State(service): State<Context>,
    cookie: SessionCookie,
    PageForm(form): PageForm,
) -> Response {
    let verdict = if form.all("cancel").next().is_some() { Verdict::Deny } else { Verdict::Approve };
    take_folded(&service, TRANSACTION, Some(verdict), &form, &cookie).await
}

pub(super) fn page_form(action: String, ticket: &str, request: &str) -> ConsentForm {
    ConsentForm {
        action,
        hidden: vec![(TRANSACTION, folded(ticket, request))],
        approve: ("allow", "Allow"),
        deny: ("cancel", "Deny"),
    }
}
