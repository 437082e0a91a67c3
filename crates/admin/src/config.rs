//! The `admin` section of the configuration. Loopback needs no token; anything else does.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use postrider_types::units::duration;
use postrider_types::{AccountId, Fault, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::tokens;

/// The fewest characters of a token: 128 bits in base64.
const SHORTEST_TOKEN: usize = 22;

/// Where the API listens and who may use it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address and port to listen on; port 0 takes a free one.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Who may use the API. Health and metrics need no token.
    pub tokens: Vec<Token>,
    /// Host names that requests may carry beside the listener's own address; without a port, any port.
    pub allowed_hosts: Vec<String>,
    /// The local index of the results topic.
    pub logs: Logs,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            tokens: Vec::new(),
            allowed_hosts: Vec::new(),
            logs: Logs::default(),
        }
    }
}

/// One bearer token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Names its holder in the audit log.
    pub name: String,
    /// The secret itself, at least 22 characters; or `sha256:` and its digest in hex.
    pub token: Secret,
    /// What it allows.
    #[serde(default)]
    pub access: Access,
    /// The accounts it sees; empty means all.
    #[serde(default)]
    pub accounts: Vec<AccountId>,
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Looking.
    #[default]
    Read,
    /// Looking and changing.
    Write,
}

/// The local index of the results topic, which the logs view reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Logs {
    /// The index's file; null means no index and no logs view.
    pub path: Option<PathBuf>,
    /// Outcomes older than this are dropped.
    #[serde(with = "duration")]
    #[schemars(schema_with = "duration::schema")]
    pub max_age: Duration,
    /// The oldest outcomes above this number are dropped.
    pub max_rows: u64,
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            path: None,
            max_age: Duration::from_secs(7 * 24 * 3600),
            max_rows: 5_000_000,
        }
    }
}

impl Config {
    /// What is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = self.token_faults();
        if !self.listen.ip().is_loopback() && self.tokens.is_empty() {
            faults.push(Fault::new(
                "listen",
                format!(
                    "`{}` can be reached from other machines and admin.tokens is empty, so anyone could change \
                     webhooks; add a token or listen on 127.0.0.1",
                    self.listen
                ),
            ));
        }
        for (at, host) in self.allowed_hosts.iter().enumerate() {
            if !is_host(host) {
                let path = format!("allowed_hosts[{at}]");
                let reason = "is not a host name; write it like postrider.example or postrider.example:8080";
                faults.push(Fault::new(path, reason));
            }
        }
        faults.extend(self.logs.faults().into_iter().map(|fault| fault.under("logs")));
        faults
    }

    fn token_faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (at, token) in self.tokens.iter().enumerate() {
            let earlier = &self.tokens[..at];
            let own = token
                .faults()
                .into_iter()
                .map(|fault| fault.under(&format!("tokens[{at}]")));
            faults.extend(own);
            if earlier.iter().any(|other| other.name == token.name) {
                faults.push(Fault::new(format!("tokens[{at}].name"), "is used by another token"));
            }
            if earlier.iter().any(|other| token.is_same_as(other)) {
                faults.push(Fault::new(
                    format!("tokens[{at}].token"),
                    "is the same as another token's",
                ));
            }
        }
        faults
    }
}

impl Token {
    fn is_same_as(&self, other: &Self) -> bool {
        let digest = tokens::configured(&self.token);
        self.token == other.token || (digest.is_some() && digest == tokens::configured(&other.token))
    }

    fn faults(&self) -> Vec<Fault> {
        let secret = self.token.expose();
        let mut faults = Vec::new();
        if self.name.trim().is_empty() || self.name.chars().any(char::is_control) {
            faults.push(Fault::new("name", "is empty or holds control characters"));
        }
        if tokens::is_digest(&self.token) {
            let is_short = tokens::configured(&self.token).is_none();
            let reason = "is not `sha256:` and 64 hex digits; make them with `printf %s TOKEN | sha256sum`";
            faults.extend(is_short.then(|| Fault::new("token", reason)));
        } else if secret.len() < SHORTEST_TOKEN {
            let reason = format!(
                "is shorter than {SHORTEST_TOKEN} characters and could be guessed; make one with `openssl rand -hex 32`"
            );
            faults.push(Fault::new("token", reason));
        }
        if !secret.bytes().all(|b| b.is_ascii_graphic()) {
            let reason = "holds spaces or other characters that an Authorization header cannot carry";
            faults.push(Fault::new("token", reason));
        }
        faults
    }
}

impl Logs {
    fn faults(&self) -> Vec<Fault> {
        let empty_path = self.path.as_ref().is_some_and(|path| path.as_os_str().is_empty());
        [
            empty_path.then(|| Fault::new("path", "is empty; name a file, or write null for no logs view")),
            self.max_age
                .is_zero()
                .then(|| Fault::new("max_age", "must be more than 0s, or the index keeps nothing")),
            (self.max_rows == 0).then(|| Fault::new("max_rows", "must be at least 1, or the index keeps nothing")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = |_| {
        de::Error::custom(format!(
            "`{text}` is no address with a port; write it like 127.0.0.1:8080"
        ))
    };
    text.parse().map_err(wrong)
}

/// Whether a text can be the host, with or without a port, of a Host header.
fn is_host(text: &str) -> bool {
    let (name, port) = text.rsplit_once(':').unwrap_or((text, "1"));
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let named = (1..=253).contains(&name.len()) && name.bytes().all(allowed) && port.parse::<u16>().is_ok();
    named || text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str, token: &str) -> Token {
        Token {
            name: name.to_owned(),
            token: Secret::new(token),
            access: Access::Read,
            accounts: Vec::new(),
        }
    }

    fn paths(config: &Config) -> Vec<String> {
        config.faults().into_iter().map(|fault| fault.path).collect()
    }

    #[test]
    fn the_defaults_are_without_fault() {
        assert_eq!(Config::default().faults(), []);
    }

    #[test]
    fn an_address_others_can_reach_needs_a_token() {
        for listen in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080"] {
            let mut config = Config {
                listen: listen.parse().unwrap(),
                ..Config::default()
            };
            assert_eq!(paths(&config), ["listen"], "{listen}");
            config.tokens = vec![token("ops", "0123456789abcdef012345")];
            assert_eq!(paths(&config), [""; 0], "{listen}");
        }
        let config = Config {
            listen: "[::1]:8080".parse().unwrap(),
            ..Config::default()
        };
        assert_eq!(paths(&config), [""; 0]);
    }

    #[test]
    fn every_fault_is_named_without_the_token() {
        let config = Config {
            tokens: vec![
                token("a", "short"),
                token("a", "short"),
                token(" ", "with spaces in it, many of them"),
            ],
            allowed_hosts: vec!["ok.example:80".into(), "[::1]".into(), "https://x".into(), "a b".into()],
            logs: Logs {
                path: Some(PathBuf::new()),
                max_age: Duration::ZERO,
                max_rows: 0,
            },
            ..Config::default()
        };
        assert_eq!(
            paths(&config),
            [
                "tokens[0].token",
                "tokens[1].token",
                "tokens[1].name",
                "tokens[1].token",
                "tokens[2].name",
                "tokens[2].token",
                "allowed_hosts[2]",
                "allowed_hosts[3]",
                "logs.path",
                "logs.max_age",
                "logs.max_rows",
            ]
        );
        assert!(!format!("{:?} {config:?}", config.faults()).contains("with spaces in it"));
    }

    #[test]
    fn a_digest_stands_for_its_token_and_has_its_own_length() {
        // `printf %s 0123456789abcdef012345 | sha256sum`
        const DIGEST: &str = "sha256:cda7f4918ec78ed571b271a6c8719a0a4e6f834380f2b6b545ff6d54e4165f96";
        let mut config = Config {
            tokens: vec![token("a", &DIGEST[..32])],
            ..Config::default()
        };
        assert_eq!(paths(&config), ["tokens[0].token"]);
        config.tokens = vec![token("a", "0123456789abcdef012345"), token("b", DIGEST)];
        assert_eq!(paths(&config), ["tokens[1].token"], "it is the same token");
        config.tokens.remove(0);
        assert_eq!(paths(&config), [""; 0]);
    }

    #[test]
    fn a_token_reads_and_sees_all_accounts_unless_told_otherwise() {
        let read: Token = serde_json::from_str(r#"{"name":"ops","token":"0123456789abcdef012345"}"#).unwrap();
        assert_eq!(read, token("ops", "0123456789abcdef012345"));
        assert!(serde_json::from_str::<Token>(r#"{"name":"ops","token":"x","access":"admin"}"#).is_err());
    }
}
