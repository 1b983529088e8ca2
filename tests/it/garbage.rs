//! Garbage costs no lookup and leaves nothing behind.

use scopegate::proto::scopegate::v1 as api;
use scopegate::proto::scopegate::v1::batch_check_scopes_result::Result as Checked;
use scopegate::proto::scopegate::v1::batch_introspect_result::Result as Introspected;

use crate::harness::Sidecar;

#[tokio::test]
async fn i13_i19_what_no_key_signed_is_inactive_without_a_statement_or_a_cache_entry() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    assert!(sidecar.is_active(&tokens.access).await);
    let code = sidecar.code().await;
    let (operations, entries) = (sidecar.store_operations().await, sidecar.metric("scopegate_cache_entries").await);
    assert_eq!(entries, 1);

    let mut garbage = vec![code];
    for token in [&tokens.access, &tokens.refresh] {
        for position in 0..token.len() {
            for bit in 0..7 {
                let mut bytes = token.as_bytes().to_vec();
                bytes[position] ^= 1 << bit;
                garbage.push(String::from_utf8(bytes).unwrap());
            }
            garbage.extend([token[..position].to_owned(), token[position + 1..].to_owned()]);
        }
        garbage.extend(["A", "=", " ", ".", "\0", "\n"].map(|extra| format!("{token}{extra}")));
        garbage.extend([
            token.to_uppercase(),
            token.to_lowercase(),
            format!(" {token}"),
            token.repeat(2),
            token.repeat(100),
        ]);
    }
    garbage.push(tokens.access.replace("sg_at_", "sg_rt_"));
    garbage.push(tokens.refresh.replace("sg_rt_", "sg_at_"));
    garbage.retain(|token| !token.is_empty());

    let mut grpc = sidecar.grpc().await;
    for chunk in garbage.chunks(500) {
        let requests =
            chunk.iter().map(|token| api::CheckScopesRequest { token: token.clone(), ..Default::default() }).collect();
        let checked = grpc.batch_check_scopes(api::BatchCheckScopesRequest { requests }).await.unwrap().into_inner();
        for (token, result) in chunk.iter().zip(checked.results) {
            match result.result.unwrap() {
                Checked::Response(response) => {
                    assert_eq!(response.decision(), api::Decision::InactiveToken, "{token:?}");
                    assert_eq!(response.cache_status(), api::CacheStatus::Unspecified, "{token:?}");
                }
                Checked::Error(error) => panic!("{token:?}: {error:?}"),
            }
        }
        let requests =
            chunk.iter().map(|token| api::IntrospectRequest { token: token.clone(), ..Default::default() }).collect();
        let introspected = grpc.batch_introspect(api::BatchIntrospectRequest { requests }).await.unwrap().into_inner();
        for (token, result) in chunk.iter().zip(introspected.results) {
            match result.result.unwrap() {
                Introspected::Response(response) => assert!(!response.active, "{token:?}"),
                Introspected::Error(error) => panic!("{token:?}: {error:?}"),
            }
        }
    }
    for token in garbage.iter().skip(1).take(50) {
        grpc.revoke(api::RevokeRequest { token: token.clone(), ..Default::default() }).await.unwrap();
    }
    assert_eq!(sidecar.store_operations().await, operations, "no operation on the database");
    assert_eq!(sidecar.metric("scopegate_cache_entries").await, entries, "no entry in the cache");
    assert!(sidecar.is_active(&tokens.access).await);
}
