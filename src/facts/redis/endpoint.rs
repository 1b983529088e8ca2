//! Where Redis is: one server, what a Sentinel names as the master, or a cluster.

use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::cluster::{ClusterClient, ClusterClientBuilder};
use ::redis::cluster_async::ClusterConnection;
use ::redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, RedisConnectionInfo, RedisResult,
    TlsCertificates, TlsMode, Value,
};

use super::link::BUDGET;

/// How long one attempt at one address may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a cluster sends a command on when it is told that another node has the key.
const REDIRECTIONS: u32 = 2;

/// Where Redis is and how to get in.
pub struct Endpoint {
    topology: Topology,
    certificates: Option<TlsCertificates>,
}

enum Topology {
    One(Client),
    Sentinel(Sentinels),
    Cluster { client: Box<ClusterClient>, seeds: Vec<Client> },
}

struct Sentinels {
    addresses: Vec<ConnectionAddr>,
    master: String,
    /// How to get in at the master. The Sentinels themselves are asked without a password.
    login: RedisConnectionInfo,
}

/// A URL, or a file of certificates, that names no Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedEndpoint {
    #[error(
        "this is redis://host:port, rediss:// with TLS, redis+unix:///path, redis+sentinel://host:port,host:port/master or \
         redis+cluster://host:port,host:port, each with user:password@ in front of the host if need be"
    )]
    Url,
    #[error("this is a file of PEM certificates")]
    Certificates,
}

/// A connection that many share.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Endpoint {
    /// Reads a URL. `authorities` are PEM certificates to trust with TLS in place of the system's.
    pub fn parse(url: &str, authorities: Option<Vec<u8>>) -> Result<Self, MalformedEndpoint> {
        // The client would take a file without any, and then trust nobody.
        if authorities.as_ref().is_some_and(|pem| !contains_certificate(pem)) {
            return Err(MalformedEndpoint::Certificates);
        }
        let certificates = authorities.map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem) });
        let (scheme, rest) = url.split_once("://").ok_or(MalformedEndpoint::Url)?;
        let topology = match scheme {
            "redis" | "rediss" | "redis+unix" | "unix" => Topology::One(client(url, certificates.as_ref())?),
            "redis+sentinel" => Topology::Sentinel(sentinels("redis", rest)?),
            "rediss+sentinel" => Topology::Sentinel(sentinels("rediss", rest)?),
            "redis+cluster" => cluster("redis", rest, certificates.as_ref())?,
            "rediss+cluster" => cluster("rediss", rest, certificates.as_ref())?,
            _ => return Err(MalformedEndpoint::Url),
        };
        let endpoint = Self { topology, certificates };
        if let Topology::Sentinel(sentinels) = &endpoint.topology {
            endpoint.ask_sentinels(sentinels).map_err(|_| MalformedEndpoint::Certificates)?;
        }
        Ok(endpoint)
    }

    pub(super) async fn connect(&self) -> RedisResult<Connection> {
        if let Topology::Cluster { client, .. } = &self.topology {
            return client.get_async_connection().await.map(Connection::Cluster);
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(BUDGET));
        let client = self.node(0).await?;
        client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::One)
    }

    /// A server to subscribe at. In a cluster every node will do, and each attempt tries another.
    pub(super) async fn node(&self, attempt: usize) -> RedisResult<Client> {
        match &self.topology {
            Topology::One(client) => Ok(client.clone()),
            Topology::Sentinel(sentinels) => self.ask_sentinels(sentinels)?.async_get_client().await,
            Topology::Cluster { seeds, .. } => Ok(seeds[attempt % seeds.len()].clone()),
        }
    }

    fn ask_sentinels(&self, sentinels: &Sentinels) -> RedisResult<SentinelClient> {
        let Sentinels { addresses, master, login } = sentinels;
        let mut builder = SentinelClientBuilder::new(addresses.clone(), master, SentinelServerType::Master)?
            .set_client_to_redis_db(login.db());
        if let Some(username) = login.username() {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = login.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if addresses.iter().any(|address| matches!(address, ConnectionAddr::TcpTls { .. })) {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
            if let Some(certificates) = &self.certificates {
                builder = builder
                    .set_client_to_redis_certificates(certificates.clone())
                    .set_client_to_sentinel_certificates(certificates.clone());
            }
        }
        builder.build()
    }
}

impl Connection {
    pub(super) async fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }
}

fn contains_certificate(pem: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    pem.windows(BEGIN.len()).any(|window| window == BEGIN)
}

fn client(url: &str, certificates: Option<&TlsCertificates>) -> Result<Client, MalformedEndpoint> {
    let info: ConnectionInfo = url.parse().map_err(|_| MalformedEndpoint::Url)?;
    match (info.addr(), certificates) {
        // The URL asked not to verify who answers.
        (ConnectionAddr::TcpTls { insecure: true, .. }, _) => Err(MalformedEndpoint::Url),
        (ConnectionAddr::TcpTls { .. }, Some(certificates)) => {
            Client::build_with_tls(info, certificates.clone()).map_err(|_| MalformedEndpoint::Certificates)
        }
        _ => Client::open(info).map_err(|_| MalformedEndpoint::Url),
    }
}

/// The URL of each node: they share what stands in front of the hosts and behind them.
fn nodes(scheme: &str, rest: &str, path: &str) -> Vec<String> {
    let authority = rest.split('/').next().unwrap_or_default();
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (format!("{login}@"), hosts),
        None => (String::new(), authority),
    };
    hosts.split(',').map(|host| format!("{scheme}://{login}{host}{path}")).collect()
}

fn sentinels(scheme: &str, rest: &str) -> Result<Sentinels, MalformedEndpoint> {
    let (_, path) = rest.split_once('/').ok_or(MalformedEndpoint::Url)?;
    let (master, database) = path.split_once('/').unwrap_or((path, ""));
    if master.is_empty() {
        return Err(MalformedEndpoint::Url);
    }
    let clients = nodes(scheme, rest, &format!("/{database}"))
        .iter()
        .map(|url| client(url, None))
        .collect::<Result<Vec<_>, _>>()?;
    let login = clients.first().ok_or(MalformedEndpoint::Url)?.get_connection_info().redis_settings().clone();
    let addresses = clients.iter().map(|client| client.get_connection_info().addr().clone()).collect();
    Ok(Sentinels { addresses, master: master.to_owned(), login })
}

fn cluster(scheme: &str, rest: &str, certificates: Option<&TlsCertificates>) -> Result<Topology, MalformedEndpoint> {
    if rest.trim_end_matches('/').contains('/') {
        return Err(MalformedEndpoint::Url);
    }
    let urls = nodes(scheme, rest, "");
    let seeds = urls.iter().map(|url| client(url, certificates)).collect::<Result<_, _>>()?;
    let mut builder = ClusterClientBuilder::new(urls.iter().map(String::as_str))
        .connection_timeout(CONNECT_TIMEOUT)
        .response_timeout(BUDGET)
        .retries(REDIRECTIONS);
    if let Some(certificates) = certificates.filter(|_| scheme == "rediss") {
        builder = builder.certs(certificates.clone());
    }
    let client = builder.build().map_err(|_| MalformedEndpoint::Url)?;
    Ok(Topology::Cluster { client: Box::new(client), seeds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_urls_name_a_redis() {
        for url in [
            "redis://localhost",
            "redis://localhost:6380/3",
            "redis://:secret@[::1]:6380",
            "rediss://user:p%40ss@redis.example.com:6380/1",
            "redis+unix:///run/redis.sock",
            "unix:///run/redis.sock",
            "redis+sentinel://a:26379,b:26379/mymaster",
            "rediss+sentinel://user:p%40ss@a,b/mymaster/2",
            "redis+cluster://a:7000,b:7001",
            "rediss+cluster://user:secret@a:7000,b:7001/",
        ] {
            assert_eq!(Endpoint::parse(url, None).err(), None, "{url}");
        }
        for url in [
            "localhost:6379",
            "http://localhost",
            "redis://",
            "redis://localhost:port",
            "redis://localhost/database",
            "rediss://localhost/#insecure",
            "redis+sentinel://a:26379",
            "redis+sentinel://a:26379/",
            "redis+sentinel:///mymaster",
            "redis+sentinel://a:x/mymaster",
            "redis+sentinel://a:26379/mymaster/database",
            "redis+cluster://",
            "redis+cluster://a:7000,",
            "redis+cluster://a:7000/1",
        ] {
            assert_eq!(Endpoint::parse(url, None).err(), Some(MalformedEndpoint::Url), "{url}");
        }
    }

    #[test]
    fn who_logs_in_at_the_master() {
        let endpoint = Endpoint::parse("redis+sentinel://ann:p%40ss@a:1,b/mymaster/2", None);
        let Ok(Endpoint { topology: Topology::Sentinel(sentinels), .. }) = endpoint else {
            panic!("this names a Sentinel");
        };
        assert_eq!(sentinels.master, "mymaster");
        assert_eq!(sentinels.addresses, [ConnectionAddr::Tcp("a".into(), 1), ConnectionAddr::Tcp("b".into(), 6379)]);
        let login = &sentinels.login;
        assert_eq!((login.username(), login.password(), login.db()), (Some("ann"), Some("p@ss"), 2));
    }

    #[test]
    fn authorities_that_are_no_certificates_are_refused() {
        for url in ["rediss://a", "rediss+sentinel://a/m", "rediss+cluster://a"] {
            for garbage in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
                let refused = Endpoint::parse(url, Some(garbage.into())).err();
                assert_eq!(refused, Some(MalformedEndpoint::Certificates), "{url} {garbage}");
            }
        }
    }
}
