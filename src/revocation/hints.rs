//! Hints: what one server tells the others about a revocation at once, over PostgreSQL's `NOTIFY` and Redis. They may be lost, repeated
//! or late; then the log says the same a little later. What no server of this deployment wrote is ignored.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::domain::revocation::{LogEntry, Revocation};
use crate::domain::secret::MacKey;
use crate::facts::redis::SharedCache;
use crate::store::Store;

/// PostgreSQL carries 8,000 bytes at most.
const MAX_BYTES: usize = 7_000;
const TAG: usize = 16;
/// The channel in Redis.
const CHANNEL: &str = "revocations";

/// Where servers tell each other, and the key by which they know each other.
#[derive(Clone)]
pub struct Hints {
    seal: Seal,
    /// The database with its `NOTIFY`, if that is to be used.
    notify: Option<Store>,
    /// Redis, if there is one.
    shared: Option<Arc<SharedCache>>,
}

impl Hints {
    pub fn new(key: MacKey, notify: Option<Store>, shared: Option<Arc<SharedCache>>) -> Self {
        Self { seal: Seal(Arc::new(key)), notify: notify.filter(Store::is_shared), shared }
    }

    /// Tells the other servers of entries that were committed. It may fail: they read the log.
    pub(super) async fn tell(&self, entries: &[LogEntry]) {
        let message = self.seal.seal(entries);
        let by_redis = async {
            if let Some(shared) = &self.shared {
                shared.publish(CHANNEL, &message).await;
            }
        };
        let by_database = async {
            if let Some(store) = &self.notify
                && let Err(error) = store.notify(message.clone()).await
            {
                tracing::warn!(error = %error, cause = %error.cause, "other servers could not be told of a revocation; they read of it");
            }
        };
        tokio::join!(by_redis, by_database);
    }

    /// Hears what other servers tell, for ever. Nothing: some may have been lost.
    pub(super) async fn listen(&self, hear: impl Fn(Option<Vec<Revocation>>) + Send + Sync) {
        let by_redis = async {
            match &self.shared {
                Some(shared) => shared.subscribe(CHANNEL, |message| hear(Some(self.seal.open(&message)))).await,
                None => std::future::pending().await,
            }
        };
        let by_database = async {
            match &self.notify {
                Some(store) => store.listen(|message| hear(message.map(|message| self.seal.open(message)))).await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(by_redis, by_database);
    }
}

/// Seals messages and opens those of others.
#[derive(Clone)]
struct Seal(Arc<MacKey>);

impl Seal {
    /// The message that tells others of these entries, as many as fit: whoever gets one reads the log anyway. The newest come first.
    fn seal(&self, entries: &[LogEntry]) -> String {
        let mut text = String::new();
        for entry in entries.iter().rev() {
            let line = entry.revocation.to_string();
            // A name is outside data, and must not become a line of its own.
            if line.contains('\n') {
                continue;
            }
            if text.len() + line.len() > MAX_BYTES {
                break;
            }
            text.push_str(&line);
            text.push('\n');
        }
        let tag: [u8; TAG] = self.0.tag(&[text.as_bytes()]);
        BASE64_URL_SAFE_NO_PAD.encode_string(tag, &mut text);
        text
    }

    /// The entries of a message; none if it is not one of ours.
    fn open(&self, message: &str) -> Vec<Revocation> {
        let Some((lines, tag)) = message.rsplit_once('\n') else { return Vec::new() };
        let text = &message[..=lines.len()];
        let tag = BASE64_URL_SAFE_NO_PAD.decode(tag).ok().and_then(|tag| <[u8; TAG]>::try_from(tag).ok());
        match tag {
            Some(tag) if self.0.verifies(&[text.as_bytes()], &tag) => {
                lines.lines().filter_map(Revocation::parse).collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::grant::SubjectId;
    use crate::domain::revocation::{Chain, Target};
    use crate::domain::secret::MasterSecret;
    use crate::domain::timestamp::Timestamp;

    fn seal(byte: u8) -> Seal {
        let secret = base64::prelude::BASE64_STANDARD.encode([byte; 32]);
        Seal(Arc::new(MacKey::derive(&MasterSecret::from_base64(&secret).expect("32 bytes"), "hint")))
    }

    fn entries(number: u64) -> Vec<LogEntry> {
        let revocation = |seq| Revocation {
            seq,
            target: Target::Subject(SubjectId::new(format!("subject\u{20}{seq}"))),
            at: Timestamp::from_unix(0),
        };
        (1..=number).map(|seq| LogEntry { revocation: revocation(seq), chain: Chain::default() }).collect()
    }

    #[test]
    fn a_hint_says_what_was_sealed_into_it() {
        let opened = seal(1).open(&seal(1).seal(&entries(3)));
        assert_eq!(opened.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [3, 2, 1]);
        let long = seal(1).seal(&entries(10_000));
        assert!(long.len() < 8_000);
        assert_eq!(seal(1).open(&long)[0].seq, 10_000);
    }

    #[test]
    fn a_name_cannot_add_an_entry() {
        let mut entries = entries(2);
        entries[0].revocation.target = Target::Subject(SubjectId::new("x\n9 0 client 0 shop"));
        assert_eq!(seal(1).open(&seal(1).seal(&entries)).len(), 1);
    }

    #[test]
    fn what_another_deployment_sealed_or_somebody_changed_is_ignored() {
        let message = seal(1).seal(&entries(1));
        assert!(seal(2).open(&message).is_empty());
        for bad in ["", "\n", "x", &message.replace('1', "2"), &message[1..], &message[..message.len() - 1]] {
            assert!(seal(1).open(bad).is_empty(), "{bad}");
        }
    }
}
