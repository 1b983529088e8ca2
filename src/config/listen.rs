//! Addresses to listen on.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Text that is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an address is ip:port, such as 127.0.0.1:50051, or unix:/path")]
pub struct MalformedAddress;

impl FromStr for ListenAddress {
    type Err = MalformedAddress;

    fn from_str(text: &str) -> Result<Self, MalformedAddress> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(MalformedAddress),
            None => text.parse().map(Self::Tcp).map_err(|_| MalformedAddress),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One or more addresses: in text separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddresses(Vec<ListenAddress>);

impl ListenAddresses {
    pub fn tcp(ip: [u8; 4], port: u16) -> Self {
        Self(vec![ListenAddress::Tcp((ip, port).into())])
    }

    pub fn iter(&self) -> impl Iterator<Item = &ListenAddress> {
        self.0.iter()
    }

    /// The address, if it is one TCP address.
    pub fn only_tcp(&self) -> Option<SocketAddr> {
        match self.0.as_slice() {
            [ListenAddress::Tcp(address)] => Some(*address),
            _ => None,
        }
    }
}

impl FromIterator<ListenAddress> for ListenAddresses {
    fn from_iter<I: IntoIterator<Item = ListenAddress>>(addresses: I) -> Self {
        Self(addresses.into_iter().collect())
    }
}

impl FromStr for ListenAddresses {
    type Err = MalformedAddress;

    fn from_str(text: &str) -> Result<Self, MalformedAddress> {
        text.split(',').map(|part| part.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for ListenAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, address) in self.0.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { "," })?;
            address.fmt(f)?;
        }
        Ok(())
    }
}

impl Serialize for ListenAddresses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ListenAddresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "an address is a text or a list of texts")]
        enum Written {
            Text(String),
            List(Vec<String>),
        }
        match Written::deserialize(deserializer)? {
            Written::Text(text) => text.parse().map_err(D::Error::custom),
            Written::List(list) if list.is_empty() => Err(D::Error::custom(MalformedAddress)),
            Written::List(list) => list.join(",").parse().map_err(D::Error::custom),
        }
    }
}
