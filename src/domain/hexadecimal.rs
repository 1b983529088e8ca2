//! Names of 16 bytes that are written as 32 lower-case hexadecimal digits.

/// Text that is no such name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is 32 lower-case hexadecimal digits")]
pub struct MalformedName;

/// The bytes that 32 lower-case hexadecimal digits stand for.
pub(super) fn parse(text: &str) -> Result<[u8; 16], MalformedName> {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 32 || !text.bytes().all(digit) {
        return Err(MalformedName);
    }
    u128::from_str_radix(text, 16).map(u128::to_be_bytes).map_err(|_| MalformedName)
}

/// Gives a newtype over `[u8; 16]` its bytes and its text.
macro_rules! hexadecimal_name {
    ($name:ident) => {
        impl $name {
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:032x}", u128::from_be_bytes(self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::hexadecimal::MalformedName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::domain::hexadecimal::parse(text).map(Self)
            }
        }
    };
}
pub(super) use hexadecimal_name;
