//! How often passwords and client secrets may be guessed (RFC 6749 §2.3.1).
//!
//! Each guess draws on several budgets: that of the account at this address, that of the account wherever it is tried, that of the
//! address whatever it tries. A budget that is used up comes back evenly over the window. A browser in which the user signed in before has
//! a budget of its own and draws on no other, so nobody locks its user out. A guess is counted before it is looked at, and given back if
//! it was right: of any number at the same time, no more are looked at than the budgets have. A name that nobody has is counted
//! like any other.
//!
//! In this process alone: a restart forgets, and several servers have a budget each. In the database, each guess would be a write that
//! strangers can cause. The memory is fixed. A budget is known by four cells, each of them shared with others by chance, and is as full
//! as the fullest of the four: so nothing is ever forgotten, however many names and addresses come, and others are mistaken for
//! exhausted only when most of all cells are. Nobody outside can tell who shares cells with whom.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::{counter::Counter, family::Family};

use super::client_address::network;
use crate::domain::error::TooManyAttempts;
use crate::domain::timestamp::Timestamp;

/// A hash of 64 bits names a cell of each row.
const ROWS: usize = 4;
const CELLS: usize = 1 << 16;

/// How many guesses there may be in a window; 0: any number.
#[derive(Clone, Copy, Debug)]
pub struct AttemptLimits {
    /// In how many seconds a budget comes back.
    pub window: u32,
    pub per_account_and_address: u32,
    pub per_account: u32,
    pub per_address: u32,
    pub per_client_and_address: u32,
}

/// Guesses that were not looked at, by what they were guesses of.
pub type RefusedAttempts = Family<[(&'static str, &'static str); 1], Counter>;

/// A browser in which a user signed in before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct KnownBrowser(pub(super) [u8; 16]);

/// Whose budget it is.
#[derive(Hash)]
enum Holder<'a> {
    AccountAtAddress(&'a str, Option<u64>),
    Account(&'a str),
    Browser(KnownBrowser),
    ClientAtAddress(&'a str, Option<u64>),
    Address(u64),
}

/// What one guess takes of one budget.
struct Charge {
    cells: [usize; ROWS],
    /// In milliseconds: so much later is the budget whole again.
    price: i64,
}

/// The budgets of this process.
pub(super) struct Attempts {
    limits: AttemptLimits,
    hasher: RandomState,
    passwords: Table,
    secrets: Table,
    refused: RefusedAttempts,
}

/// The generic cell rate algorithm, over a sketch: of each cell, when it will be empty again, in milliseconds.
struct Table {
    empty_at: Mutex<Box<[i64]>>,
    /// In milliseconds.
    window: i64,
}

/// A guess, and the budgets that it draws on.
pub(super) struct Guess<'a> {
    table: &'a Table,
    charges: Vec<Charge>,
    now: i64,
    address: Option<IpAddr>,
    of: &'static str,
    refused: &'a RefusedAttempts,
}

/// A guess that counts, unless it is given back.
pub(super) struct Reserved<'a>(Guess<'a>);

impl Attempts {
    pub(super) fn new(limits: AttemptLimits, refused: RefusedAttempts) -> Self {
        let [passwords, secrets] = [Table::new(limits.window), Table::new(limits.window)];
        Self { limits, hasher: RandomState::new(), passwords, secrets, refused }
    }

    /// Whether it makes a difference that a browser is known.
    pub(super) fn tells_browsers_apart(&self) -> bool {
        self.limits.per_account_and_address > 0
    }

    /// A guess at the password of an account, in existence or not.
    pub(super) fn at_password(
        &self,
        username: &str,
        browser: Option<KnownBrowser>,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Guess<'_> {
        let (limits, from) = (&self.limits, address.map(network));
        let mut charges = Vec::with_capacity(3);
        if let Some(browser) = browser {
            charges.extend(self.charge(&Holder::Browser(browser), limits.per_account_and_address));
        } else {
            charges.extend(self.charge(&Holder::AccountAtAddress(username, from), limits.per_account_and_address));
            charges.extend(self.charge(&Holder::Account(username), limits.per_account));
            // Where a proxy does not say, everybody would have the same.
            charges.extend(from.and_then(|from| self.charge(&Holder::Address(from), limits.per_address)));
        }
        self.guess(&self.passwords, charges, address, "password", now)
    }

    /// A guess at the secret of a client, in existence or not. There is no budget of a client wherever it is tried: its secret is random
    /// and long, and everybody knows its name, so the budget would be there for locking it out.
    pub(super) fn at_secret(&self, client: &str, address: Option<IpAddr>, now: Timestamp) -> Guess<'_> {
        let (limits, from) = (&self.limits, address.map(network));
        let mut charges = Vec::with_capacity(2);
        charges.extend(self.charge(&Holder::ClientAtAddress(client, from), limits.per_client_and_address));
        charges.extend(from.and_then(|from| self.charge(&Holder::Address(from), limits.per_address)));
        self.guess(&self.secrets, charges, address, "client_secret", now)
    }

    fn guess<'a>(
        &'a self,
        table: &'a Table,
        charges: Vec<Charge>,
        address: Option<IpAddr>,
        of: &'static str,
        now: Timestamp,
    ) -> Guess<'a> {
        Guess { table, charges, now: now.as_unix().saturating_mul(1_000), address, of, refused: &self.refused }
    }

    fn charge(&self, holder: &Holder<'_>, limit: u32) -> Option<Charge> {
        let hash = self.hasher.hash_one(holder).to_be_bytes();
        let cells = std::array::from_fn(|row| {
            row * CELLS + usize::from(u16::from_be_bytes([hash[2 * row], hash[2 * row + 1]]))
        });
        (limit > 0).then(|| Charge { cells, price: i64::from(self.limits.window) * 1_000 / i64::from(limit) })
    }
}

impl<'a> Guess<'a> {
    /// Counts it.
    pub(super) fn reserve(self) -> Result<Reserved<'a>, TooManyAttempts> {
        let mut cells = self.table.lock();
        self.affordable(&mut cells)?;
        self.pay(&mut cells);
        drop(cells);
        Ok(Reserved(self))
    }

    /// Whether it may be looked at, as far as can be said now. It is not counted.
    pub(super) fn check(&self) -> Result<(), TooManyAttempts> {
        self.affordable(&mut self.table.lock())
    }

    /// Looks at it and counts it if it was wrong, with nobody in between. For what is quick.
    pub(super) fn judge<T>(&self, look: impl FnOnce() -> Option<T>) -> Result<Option<T>, TooManyAttempts> {
        let mut cells = self.table.lock();
        self.affordable(&mut cells)?;
        let right = look();
        if right.is_none() {
            self.pay(&mut cells);
        }
        Ok(right)
    }

    fn affordable(&self, cells: &mut [i64]) -> Result<(), TooManyAttempts> {
        let latest = self.now + self.table.window;
        let late = self.charges.iter().map(|charge| {
            let emptiest = charge.cells.iter().map(|&cell| self.table.settle(&mut cells[cell], self.now)).min();
            emptiest.unwrap_or(self.now) + charge.price - latest
        });
        let late = late.max().unwrap_or_default();
        if late <= 0 {
            return Ok(());
        }
        self.refused.get_or_create(&[("of", self.of)]).inc();
        tracing::warn!(of = self.of, address = ?self.address, "too many guesses: one more is not looked at");
        Err(TooManyAttempts { retry_after: u32::try_from((late + 999) / 1_000).unwrap_or(u32::MAX) })
    }

    /// After [`Guess::affordable`], which settles them.
    fn pay(&self, cells: &mut [i64]) {
        for charge in &self.charges {
            for &cell in &charge.cells {
                cells[cell] += charge.price;
            }
        }
    }
}

impl Reserved<'_> {
    /// It was right, or nobody looked at it.
    pub(super) fn give_back(self) {
        let mut cells = self.0.table.lock();
        for charge in &self.0.charges {
            for &cell in &charge.cells {
                cells[cell] -= charge.price;
            }
        }
    }
}

impl Table {
    fn new(window: u32) -> Self {
        Self { empty_at: Mutex::new(vec![0; ROWS * CELLS].into_boxed_slice()), window: i64::from(window) * 1_000 }
    }

    /// Numbers are whole whoever panicked.
    fn lock(&self) -> MutexGuard<'_, Box<[i64]>> {
        self.empty_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a cell will be empty: now at the earliest, and within a window, because what is above is of nobody, and after a clock that
    /// was set back.
    fn settle(&self, empty_at: &mut i64, now: i64) -> i64 {
        *empty_at = (*empty_at).clamp(now, now + self.window);
        *empty_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: AttemptLimits = AttemptLimits {
        window: 900,
        per_account_and_address: 10,
        per_account: 100,
        per_address: 300,
        per_client_and_address: 20,
    };

    #[expect(clippy::unnecessary_wraps, reason = "an address may be unknown")]
    fn address(number: u32) -> Option<IpAddr> {
        Some(IpAddr::V4(number.into()))
    }

    fn attempts() -> Attempts {
        Attempts::new(LIMITS, RefusedAttempts::default())
    }

    /// How many of a thousand guesses are looked at.
    fn admitted(mut guess: impl FnMut() -> bool) -> usize {
        (0..1_000).filter(|_| guess()).count()
    }

    #[test]
    fn each_budget_has_its_limit_and_comes_back_evenly() {
        let attempts = attempts();
        let now = Timestamp::from_unix(1_000_000);
        let guess = |name: &str, from: u32, now| attempts.at_password(name, None, address(from), now).reserve().is_ok();
        assert_eq!(admitted(|| guess("ann", 1, now)), 10, "of an account at an address");
        let refused = attempts.at_password("ann", None, address(1), now).reserve().err();
        assert_eq!(refused, Some(TooManyAttempts { retry_after: 90 }));
        assert!(guess("ann", 2, now) && !guess("ann", 1, now.plus(89)) && guess("ann", 1, now.plus(90)));
        assert_eq!(admitted(|| guess("ann", 1, now.plus(2_000))), 10, "no more than the whole of it comes back");
        let mut from = 10;
        let elsewhere = admitted(|| {
            from += 1;
            guess("ben", from, now)
        });
        assert_eq!(elsewhere, 100, "of an account wherever it is tried");
        let mut number = 0;
        let spray = admitted(|| {
            number += 1;
            guess(&format!("user{number}"), 5, now)
        });
        assert_eq!(spray, 300, "of an address whatever it tries");
        assert!(attempts.at_password("ben", Some(KnownBrowser([1; 16])), address(5), now).reserve().is_ok());
        assert_eq!(attempts.refused.get_or_create(&[("of", "password")]).get(), 990 + 1 + 1 + 990 + 900 + 700);
    }

    #[test]
    fn what_was_right_is_given_back_and_a_refused_guess_costs_nothing() {
        let attempts = attempts();
        let now = Timestamp::from_unix(1_000_000);
        let guess = || attempts.at_password("ann", None, address(1), now);
        for _ in 0..1_000 {
            let Ok(reserved) = guess().reserve() else { panic!("it was given back") };
            reserved.give_back();
        }
        assert_eq!(admitted(|| guess().reserve().is_ok()), 10);
        assert!(guess().reserve().is_err());
        assert_eq!(admitted(|| attempts.at_password("ann", None, address(2), now).reserve().is_ok()), 10);
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_a_limit_of_none_is_none() {
        let attempts = attempts();
        let now = Timestamp::from_unix(1_000_000);
        let mut host = 0_u128;
        let from_one_network = admitted(|| {
            host += 1;
            let address = IpAddr::V6((0x2001_0db8_u128 << 96 | host).into());
            attempts.at_secret("shop", Some(address), now).reserve().is_ok()
        });
        assert_eq!(from_one_network, 20);
        let none = AttemptLimits {
            per_account_and_address: 0,
            per_account: 0,
            per_address: 0,
            per_client_and_address: 0,
            ..LIMITS
        };
        let unlimited = Attempts::new(none, RefusedAttempts::default());
        assert_eq!(admitted(|| unlimited.at_password("ann", None, address(1), now).reserve().is_ok()), 1_000);
    }

    #[test]
    fn rg53_of_guesses_at_the_same_time_no_more_pass_than_there_may_be() {
        let attempts = attempts();
        let now = Timestamp::from_unix(1_000_000);
        let guesses = |guess: &(dyn Fn() -> bool + Sync)| -> usize {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| admitted(guess))).collect();
                threads.into_iter().map(|thread| thread.join().expect("a thread that only counts")).sum()
            })
        };
        assert_eq!(guesses(&|| attempts.at_password("ann", None, address(1), now).reserve().is_ok()), 10);
        assert_eq!(guesses(&|| attempts.at_secret("shop", address(1), now).judge(|| None::<()>).is_ok()), 20);
    }

    #[test]
    fn a_million_names_and_addresses_take_no_more_memory_and_make_nobody_forgotten_or_mistaken() {
        let attempts = attempts();
        let size = attempts.passwords.lock().len();
        let begin = 1_000_000;
        let victim = |now| attempts.at_password("ann", None, address(1), now).reserve().is_ok();
        let mut now = Timestamp::from_unix(begin);
        while victim(now) {}
        // As fast as slow hashes are verified, and faster.
        for number in 0..1_000_000_u32 {
            now = Timestamp::from_unix(begin + i64::from(number / 400));
            let name = format!("user{number}");
            let _ = attempts.at_password(&name, None, address(1_000 + number), now).reserve();
            if number % 10_000 == 0 {
                while victim(now) {}
                assert!(!victim(now));
            }
        }
        assert!(!victim(Timestamp::from_unix(begin + 2_480)), "it is not forgotten");
        let others = (0..1_000).filter(|number| {
            attempts.at_password(&format!("other{number}"), None, address(*number), now).reserve().is_ok()
        });
        assert_eq!(others.count(), 1_000, "nobody is mistaken for it");
        assert_eq!(attempts.passwords.lock().len(), size);
    }

    #[test]
    fn a_clock_that_is_set_back_closes_it_for_a_window_at_most() {
        let attempts = attempts();
        let at = |unix| attempts.at_password("ann", None, address(1), Timestamp::from_unix(unix));
        while at(1_000_000).reserve().is_ok() {}
        assert!(at(1_000).reserve().is_err());
        assert!(at(1_000 + 900).reserve().is_ok());
    }
}
